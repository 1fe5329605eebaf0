//! From a packfile to a checked-out tree.
//!
//! Owns what is inside a tree's folder: `git/`, the pristine repository that the host uses, and `files/`, what jobs see.
//! Invariant: the host's index holds no file times. Git takes a file whose size and times
//! match the index for unchanged, and a step can restore both within the second that the index can tell apart.

use std::future::Future;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Commit;
use crate::git::{self, Git};

pub(super) const GIT: &str = "git";
pub(super) const FILES: &str = "files";

/// Checks a commit out into a folder that does not exist yet.
pub(super) async fn prepare<F, Fut>(commit: &Commit, dir: &Path, fetch: F) -> Result<()>
where
    F: FnOnce(PathBuf) -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let git = Git::at(dir.join(GIT));
    let files = dir.join(FILES);
    let pack = lay_out(git.dir(), commit)?;
    fetch(pack.clone()).await.context("the repository's files cannot be fetched")?;

    let mut index_pack = git.command("index-pack");
    index_pack.arg("--no-rev-index").arg(&pack);
    git::output(index_pack, b"").await.context("the repository's packfile is damaged")?;

    // Objects are found by their digest: that the commit is there proves that it is the right one.
    let mut read_tree = git.command("read-tree");
    read_tree.arg(commit.base_oid.as_str());
    git::output(read_tree, b"").await.context("the repository's packfile lacks the commit")?;

    lay_out_for_steps(&files, &pack, commit)?;
    let mut check_out = Git::at(files.join(".git")).command_in(&files, "read-tree");
    check_out.args(["--reset", "-u", commit.base_oid.as_str()]);
    git::output(check_out, b"").await.context("the repository's files cannot be checked out")?;
    Ok(())
}

/// Makes an empty repository by hand: its whole content is four small files, and `git init` would be one more process.
fn lay_out(git_dir: &Path, commit: &Commit) -> Result<PathBuf> {
    let packs = git_dir.join("objects/pack");
    let made = std::fs::create_dir_all(&packs).and_then(|()| std::fs::create_dir_all(git_dir.join("refs")));
    made.context("cannot make a repository")?;
    describe(git_dir, commit, true)?;
    Ok(packs.join("pack-source.pack"))
}

/// What a repository says of itself: its format, that history ends at the commit, and the branch it is on.
fn describe(git_dir: &Path, commit: &Commit, bare: bool) -> Result<()> {
    let oid = &commit.base_oid;
    let format = match oid.as_str().len() {
        64 => "\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n",
        _ => "\trepositoryformatversion = 0\n",
    };
    let sparse = if commit.only.is_some() && !bare { "\tsparseCheckout = true\n" } else { "" };
    for (name, text) in [
        ("config", format!("[core]\n\tbare = {bare}\n\tfilemode = true\n{sparse}{format}")),
        ("shallow", format!("{oid}\n")),
        ("packed-refs", format!("# pack-refs with: sorted\n{oid} {}\n", commit.base_ref)),
        ("HEAD", format!("ref: {}\n", commit.base_ref)),
    ] {
        std::fs::write(git_dir.join(name), text).with_context(|| format!("cannot write git's {name}"))?;
    }
    Ok(())
}

/// Gives the steps a repository of their own, so that they can use git. It shares the pack's bytes; a job sees it
/// through its overlay, so that not even a step that runs as root can change the host's.
fn lay_out_for_steps(files: &Path, pack: &Path, commit: &Commit) -> Result<()> {
    let own = files.join(".git");
    let packs = own.join("objects/pack");
    let made = std::fs::create_dir_all(&packs).and_then(|()| std::fs::create_dir_all(own.join("refs")));
    made.context("cannot make the steps' repository")?;
    describe(&own, commit, false)?;
    if let Some(folder) = &commit.only {
        let info = own.join("info");
        let written = std::fs::create_dir(&info)
            .and_then(|()| std::fs::write(info.join("sparse-checkout"), patterns(folder)));
        written.context("cannot write which files are to be there")?;
    }
    for extension in ["pack", "idx"] {
        let from = pack.with_extension(extension);
        let to = packs.join("pack-source").with_extension(extension);
        std::fs::hard_link(&from, &to).context("cannot share the packfile with the steps' repository")?;
    }
    Ok(())
}

/// What git takes for the files below a folder, and for what says in the folders above which files are ignored and how they are
/// treated.
fn patterns(folder: &str) -> String {
    let mut patterns = String::new();
    let mut above = String::from("/");
    for name in folder.split('/') {
        for read in [".gitignore", ".gitattributes"] {
            patterns.push_str(&format!("{above}{read}\n"));
        }
        for symbol in name.chars() {
            if matches!(symbol, '*' | '?' | '[' | '\\' | ' ') {
                above.push('\\');
            }
            above.push(symbol);
        }
        above.push('/');
    }
    patterns + &above + "\n"
}
