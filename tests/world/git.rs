//! Repositories for scenarios: real ones, made by real git, the same on every run.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs git in a folder with nothing of the machine's own configuration.
pub fn git(folder: &Path, args: &[&str]) -> Output {
    let output = command(folder).args(args).output().expect("git is installed");
    assert!(
        output.status.success(),
        "git {args:?} in {}: {}",
        folder.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// A git command whose result depends on the folder alone.
pub fn command(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null").env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        command
            .env(format!("GIT_{who}_NAME"), "Scenario")
            .env(format!("GIT_{who}_EMAIL"), "scenario@example.com");
        command.env(format!("GIT_{who}_DATE"), "2026-01-02T03:04:05Z");
    }
    command.arg("-C").arg(folder).args(["-c", "init.defaultBranch=main", "-c", "core.autocrlf=false"]);
    command
}

/// A repository with a work tree.
pub struct Repository {
    /// Where it is.
    pub path: PathBuf,
}

impl Repository {
    /// Makes a repository without commits.
    pub fn empty(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).expect("a folder for the repository");
        git(&path, &["init", "--quiet"]);
        Self { path }
    }

    /// Writes a file; commit it afterwards.
    pub fn file(self, name: impl AsRef<OsStr>, content: impl AsRef<[u8]>) -> Self {
        let path = self.path.join(name.as_ref());
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder for the file");
        std::fs::write(path, content).expect("a file");
        self
    }

    /// Makes a file executable.
    pub fn executable(self, name: &str) -> Self {
        let path = self.path.join(name);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a file to change");
        self
    }

    /// Makes a symbolic link.
    pub fn symlink(self, name: &str, target: &str) -> Self {
        std::os::unix::fs::symlink(target, self.path.join(name)).expect("a link");
        self
    }

    /// Commits everything there is, ignored or not.
    pub fn commit(self) -> Self {
        git(&self.path, &["add", "--all", "--force"]);
        git(&self.path, &["commit", "--quiet", "--message", "Start", "--allow-empty"]);
        self
    }

    /// The name that users see: the last part of its path.
    pub fn name(&self) -> String {
        self.path.file_name().expect("a name").to_str().expect("a plain name").to_owned()
    }

    /// The commit that the work tree stands on.
    pub fn head(&self) -> String {
        String::from_utf8(git(&self.path, &["rev-parse", "HEAD"]).stdout)
            .expect("an object id")
            .trim()
            .to_owned()
    }

    /// A fresh copy of the commit, to try a patch on.
    pub fn checkout(&self, to: &Path) -> Repository {
        git(
            &self.path,
            &["worktree", "add", "--quiet", "--detach", to.to_str().expect("a plain path"), "HEAD"],
        );
        Repository { path: to.to_owned() }
    }

    /// What git says has changed: the oracle for every patch.
    pub fn diff(&self) -> Vec<u8> {
        git(&self.path, &["add", "--all"]);
        let options =
            ["--cached", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv"];
        let plain =
            ["-c", "core.quotePath=false", "diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"];
        git(&self.path, &[&plain[..], &options[..]].concat()).stdout
    }

    /// Applies a patch, which must fit.
    pub fn apply(&self, patch: &Path) {
        let patch = patch.to_str().expect("a plain path");
        git(&self.path, &["apply", "--check", "--index", patch]);
        git(&self.path, &["apply", "--index", patch]);
    }

    /// The tree that the index holds: equal trees are equal byte for byte.
    pub fn tree(&self) -> String {
        String::from_utf8(git(&self.path, &["write-tree"]).stdout).expect("an object id").trim().to_owned()
    }
}
