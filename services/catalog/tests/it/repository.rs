//! Git repositories as people have them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs git as a person would, without that person's configuration.
pub(crate) fn git(dir: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(["-c", "core.quotePath=false", "-c", "gc.auto=0", "-c", "protocol.file.allow=always"])
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A work tree.
pub(crate) struct Repository {
    pub(crate) path: PathBuf,
}

impl Repository {
    /// Without a commit.
    pub(crate) fn empty(path: &Path) -> Self {
        std::fs::create_dir_all(path).unwrap();
        git(path, &["init", "-q"]);
        Self { path: path.to_owned() }
    }

    /// With one commit.
    pub(crate) fn new(path: &Path) -> Self {
        let repository = Self::empty(path);
        repository.commit("README", "hello\n");
        repository
    }

    pub(crate) fn commit(&self, file: &str, content: &str) -> String {
        let file = self.path.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        self.commit_all()
    }

    pub(crate) fn commit_all(&self) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "change"]);
        self.oid("HEAD")
    }

    pub(crate) fn oid(&self, revision: &str) -> String {
        String::from_utf8(self.git(&["rev-parse", revision])).unwrap().trim().to_owned()
    }

    pub(crate) fn git(&self, args: &[&str]) -> Vec<u8> {
        git(&self.path, args)
    }

    pub(crate) fn text(&self) -> String {
        crate::world::text(&self.path)
    }
}
