//! A commit as a runner gets it, and a plain checkout of it to compare with.
//!
//! Owns the throw-away folders of a test. Uses git with its defaults, not with the runner's settings: what the tests
//! compare with must not share the runner's mistakes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is the test's failure")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use events::job::DiffStat;

use crate::cache::FolderCache;
use crate::mask::Masker;
use crate::patch::{self, Patch};
use crate::trash::Trash;
use crate::tree_cache::{Commit, Tree, TreeCache};
use crate::workspace::{self, Mode, Workspace};

/// A repository with one commit.
pub(crate) struct Fixture {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) commit: Commit,
    pub(crate) pack: PathBuf,
    pub(crate) trash: Trash,
    pub(crate) cache: TreeCache,
}

/// What a definition's text says.
pub(crate) fn definition(text: &str) -> spec::Definition {
    let given = spec::Given::default();
    let source = spec::Source {
        file_name: "n.batch.yaml",
        text,
        given: &given,
        command_image: spec::DEFAULT_COMMAND_IMAGE,
    };
    spec::parse(&source).unwrap().definition
}

/// Runs git as a person would, without that person's configuration.
pub(crate) fn git(dir: &Path, args: &[&str]) -> Vec<u8> {
    git_fed(dir, args, b"")
}

fn git_fed(dir: &Path, args: &[&str], stdin: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"])
        .args(["-c", "core.quotePath=false", "-c", "gc.auto=0"])
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

impl Fixture {
    /// A repository whose only commit holds what `fill` writes into the folder.
    pub(crate) fn new(fill: impl FnOnce(&Path)) -> Self {
        Self::with_format("sha1", fill)
    }

    pub(crate) fn with_format(format: &str, fill: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let origin = dir.path().join("origin");
        std::fs::create_dir(&origin).unwrap();
        git(&origin, &["init", "-q", "--object-format", format]);
        fill(&origin);
        git(&origin, &["add", "-A"]);
        git(&origin, &["commit", "-q", "--allow-empty", "-m", "base"]);
        let oid = String::from_utf8(git(&origin, &["rev-parse", "HEAD"])).unwrap();
        let pack = dir.path().join("source.pack");
        let packed = git_fed(&origin, &["pack-objects", "-q", "--revs", "--stdout"], oid.as_bytes());
        std::fs::write(&pack, packed).unwrap();
        let commit = Commit {
            repository: "example.org/fixture".to_owned(),
            base_ref: "refs/heads/main".parse().unwrap(),
            base_oid: oid.trim().parse().unwrap(),
            only: None,
        };
        let trash = Trash::open(dir.path().join("trash")).unwrap();
        let folders = FolderCache::open(dir.path().join("cache"), u64::MAX, trash.clone()).unwrap();
        let cache = TreeCache::over(Arc::new(folders));
        Self { dir, commit, pack, trash, cache }
    }

    pub(crate) async fn tree(&self) -> Tree {
        let copy = |to: PathBuf| async move {
            std::fs::copy(&self.pack, to)?;
            Ok(())
        };
        self.cache.get(&self.commit, copy).await.unwrap()
    }

    pub(crate) async fn workspace(&self, mode: Mode) -> Workspace {
        let root = self.dir.path().join(format!("jobs/{}", uuid::Uuid::now_v7()));
        Workspace::reserve(&root).unwrap();
        Workspace::open(&root, self.tree().await, mode).await.unwrap()
    }

    /// The patch that the runner makes of these changes.
    pub(crate) async fn patch(&self, mode: Mode, change: impl FnOnce(&Path)) -> Patch {
        let workspace = self.workspace(mode).await;
        change(&workspace.files());
        let patch = patch::compute(&workspace, &self.commit.base_oid, 1 << 30, &Masker::default()).await;
        workspace::discard(workspace.scratch(), &self.trash).unwrap();
        patch.unwrap()
    }

    /// The patch that git makes of the same changes in a plain checkout, which it can apply, and its size.
    pub(crate) fn oracle(&self, change: impl FnOnce(&Path)) -> (Vec<u8>, DiffStat) {
        let (plain, patch, stat) = self.plain_patch(change);
        if !patch.is_empty() {
            git(&plain, &["reset", "-q", "--hard"]);
            git_fed(&plain, &["apply", "--index"], &patch);
        }
        (patch, stat)
    }

    /// A plain checkout with these changes, the patch that git makes of them, and its size.
    pub(crate) fn plain_patch(&self, change: impl FnOnce(&Path)) -> (PathBuf, Vec<u8>, DiffStat) {
        let plain = self.dir.path().join(format!("plain-{}", uuid::Uuid::now_v7()));
        git(self.dir.path(), &["clone", "-q", "origin", plain.to_str().unwrap()]);
        change(&plain);
        git(&plain, &["add", "-A"]);
        let mut diff = vec!["diff", "--cached", "--binary", "--full-index", "--no-renames", "--no-color"];
        let patch = git(&plain, &diff);
        diff.extend(["--numstat", "-z"]);
        let stat = numstat(&git(&plain, &diff));
        (plain, patch, stat)
    }

    /// Asserts that the runner and git agree, over overlays and over copies. Returns the patch.
    pub(crate) async fn agree(&self, change: impl Fn(&Path)) -> String {
        let (expected, stat) = self.oracle(&change);
        for mode in modes() {
            let patch = self.patch(mode, &change).await;
            let start = |bytes: &[u8]| shown(&bytes[..bytes.len().min(4_000)]);
            assert_eq!(start(&patch.bytes), start(&expected), "{mode:?}");
            assert!(patch.bytes == expected, "{mode:?}: the patches differ after a while");
            assert_eq!(patch.stat, stat, "{mode:?}");
        }
        shown(&expected)
    }
}

/// How this host can give jobs their files: copies, and overlays if the test runs as root.
pub(crate) fn modes() -> Vec<Mode> {
    let dir = tempfile::tempdir().unwrap();
    let best = workspace::probe(dir.path()).unwrap();
    if best == Mode::Copy { vec![Mode::Copy] } else { vec![best, Mode::Copy] }
}

pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn numstat(output: &[u8]) -> DiffStat {
    // `--numstat` before `--binary`'s patch: each record ends with a NUL, and an empty one ends the list.
    let mut stat = DiffStat::default();
    for record in output.split(|byte| *byte == 0).take_while(|record| !record.is_empty()) {
        let text = String::from_utf8_lossy(record);
        let mut fields = text.split('\t');
        let mut number = || fields.next().unwrap().parse::<u64>().unwrap_or(0);
        stat.files += 1;
        stat.insertions += number();
        stat.deletions += number();
    }
    stat
}
