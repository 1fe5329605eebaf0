//! Packs: one commit with its trees and blobs, as a runner unpacks it.
//!
//! Owns what is in a pack: everything of the commit and nothing of its history. Reads repositories and never writes to them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use events::git::Oid;
use tempfile::NamedTempFile;

use crate::git::{self, Io, Output};
use crate::trouble::{Skip, Trouble};

/// How long packing may take.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// Whether a `.batchignore` at the root of a commit keeps its repository out.
pub(crate) async fn is_ignored(git_dir: &Path, oid: &Oid) -> Result<bool, Trouble> {
    let mut command = git::local(git_dir, "ls-tree");
    command.args(["--full-tree", oid.as_str(), "--", ".batchignore"]);
    let output = git::run(command, Io::default(), PATIENCE).await?;
    check(&output, oid)?;
    // Only a regular file, as git's mode says.
    Ok(output.stdout.starts_with(b"100"))
}

/// Packs a commit into a file in `folder` that vanishes with its holder.
pub(crate) async fn pack(git_dir: &Path, oid: &Oid, folder: &Path) -> Result<NamedTempFile, Trouble> {
    let file = NamedTempFile::new_in(folder).context("cannot write a packfile")?;
    let mut command = git::local(git_dir, "pack-objects");
    command.args(["--revs", "--stdout", "--delta-base-offset", "--quiet"]);
    // Made shallow for this process alone, the commit has no parents.
    let stdin = format!("--shallow {oid}\n{oid}\n");
    let stdout = Some(file.reopen().context("cannot write a packfile")?);
    let output = git::run(command, Io { stdin: stdin.as_bytes(), stdout }, PATIENCE).await?;
    check(&output, oid)?;
    Ok(file)
}

/// Says what is wrong with a commit that git cannot read.
pub(crate) fn check(output: &Output, oid: &Oid) -> Result<(), Trouble> {
    if output.success {
        return Ok(());
    }
    if output.lacks_resources() {
        return Err(anyhow!("commit {oid} cannot be packed: {}", output.complaint).into());
    }
    let hint = "Check the repository with `git fsck`; a partial clone lacks files that a job needs.";
    Err(Skip::unreachable(format!("Commit {oid} cannot be read: {}. {hint}", output.complaint)).into())
}
