//! Patches: what a job changed, as `git apply` reads it.
//!
//! Owns the way from a workspace to a diff that equals `git add -A && git diff --cached` of a plain checkout, without
//! looking at files that nobody touched. Never reads a `.git` that a step could write, and never changes the pristine
//! repository: the index is copied, and new objects go to a folder that is thrown away. Invariant: only paths that
//! `touched` returned are ever given to git.

mod apply;
mod secrets;
mod stat;
#[cfg(test)]
mod tests;
mod touched;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use events::git::Oid;
use events::job::DiffStat;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

pub(crate) use apply::apply;
pub(crate) use touched::LeftOut;
use touched::Touched;

use crate::git;
use crate::mask::Masker;
use crate::workspace::Workspace;

/// How git writes each diff.
const PLAIN: [&str; 5] =
    ["--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"];

/// How it writes one that is to be applied.
const PATCH: [&str; 3] = ["--binary", "--full-index", "--no-renames"];

/// What a job changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    /// Empty when nothing changed.
    pub(crate) bytes: Vec<u8>,
    pub(crate) stat: DiffStat,
    /// What was touched and cannot be part of a patch.
    pub(crate) left_out: Vec<LeftOut>,
}

/// Paths by what happened to them, for templates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FileLists {
    pub(crate) added: Vec<String>,
    pub(crate) modified: Vec<String>,
    pub(crate) deleted: Vec<String>,
    /// By their new names.
    pub(crate) renamed: Vec<String>,
}

/// Why there is no patch.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The job's doing: folders nested deeper than a path can name.
    #[error("a step nested folders too deep: {0} cannot be opened")]
    TooDeep(String),
    /// The job's doing: more than a changeset could ever hold.
    #[error("the changes make a patch of more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    /// The job's doing: a secret would be there for all who can read the repository.
    #[error("the patch would hold the secret `{name}`, in the file {path}")]
    Secret { name: String, path: String },
    #[error(transparent)]
    Ours(#[from] anyhow::Error),
}

/// Computes the patch of a workspace in which nothing runs any more.
pub(crate) async fn compute(
    workspace: &Workspace,
    base: &Oid,
    limit_bytes: u64,
    masker: &Masker,
) -> Result<Patch, Error> {
    let mut touched = touched(workspace).await?;
    let left_out = std::mem::take(&mut touched.left_out);
    if touched.is_empty() {
        return Ok(Patch { left_out, ..Patch::default() });
    }
    let direct = touched.only_known_files(&workspace.tree().files());
    let staged = Staged::new(workspace).prepare()?;
    let diff = match &direct {
        Some(paths) => staged.direct_diff(base, paths),
        None => {
            staged.stage(touched).await?;
            let mut diff = staged.diff(base);
            diff.args(PATCH);
            diff
        }
    };
    let mut bytes = read_limited(diff, limit_bytes).await?;
    if !masker.is_empty() {
        let paths = match direct {
            Some(paths) => paths,
            None => staged.changed_paths(base).await?,
        };
        bytes = secrets::refuse(workspace.files(), paths, bytes, masker.clone()).await?;
    }
    let stat = stat::of(&bytes);
    Ok(Patch { bytes, stat, left_out })
}

/// Lists what changed so far. The caller sees to it that nothing moves meanwhile.
pub(crate) async fn file_lists(workspace: &Workspace, base: &Oid) -> Result<FileLists, Error> {
    let touched = touched(workspace).await?;
    if touched.is_empty() {
        return Ok(FileLists::default());
    }
    let staged = Staged::new(workspace).prepare()?;
    staged.stage(touched).await?;
    let mut diff = staged.diff(base);
    diff.args(["--name-status", "--find-renames", "-z"]);
    let output = git::output(diff, b"").await.context("the changed files cannot be listed")?;
    Ok(sort_by_status(&output))
}

/// A private index that holds the changes.
struct Staged<'a> {
    workspace: &'a Workspace,
    index: PathBuf,
    objects: PathBuf,
}

/// Finds what was touched.
async fn touched(workspace: &Workspace) -> Result<Touched, Error> {
    let (written, files, below) = (workspace.written(), workspace.files(), workspace.tree().files());
    let found = tokio::task::spawn_blocking(move || {
        let found = match written {
            Some(upper) => touched::in_layer(&upper, &below),
            None => touched::in_copy(&files, &below),
        }?;
        clear_the_way(&files, &found.left_out)?;
        Ok(found)
    });
    found.await.context("the search ended early")?
}

/// The files that git reads by itself. It waits for ever for somebody to write into a named pipe.
const READ_BY_GIT: [&str; 3] = [".gitattributes", ".gitignore", ".gitmodules"];

/// Removes what no patch can hold where git would open it.
fn clear_the_way(files: &Path, left_out: &[LeftOut]) -> Result<()> {
    let in_the_way = |left_out: &&LeftOut| {
        left_out.path.file_name().is_some_and(|name| READ_BY_GIT.iter().any(|read| name == *read))
    };
    for LeftOut { path, .. } in left_out.iter().filter(in_the_way) {
        std::fs::remove_file(files.join(path))
            .with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

impl<'a> Staged<'a> {
    fn new(workspace: &'a Workspace) -> Self {
        let scratch = workspace.scratch();
        Self { workspace, index: scratch.join("index"), objects: scratch.join("objects") }
    }

    /// Copies the index, and makes a place for new objects from which the pristine ones are found.
    fn prepare(self) -> Result<Self> {
        let git = self.workspace.tree().git();
        std::fs::copy(git.dir().join("index"), &self.index).context("the index cannot be copied")?;
        let info = self.objects.join("info");
        std::fs::create_dir_all(&info).context("cannot make a place for objects")?;
        let mut alternates = git.dir().join("objects").as_os_str().as_bytes().to_owned();
        alternates.push(b'\n');
        std::fs::write(info.join("alternates"), alternates).context("cannot make a place for objects")?;
        Ok(self)
    }

    /// Stages what was touched.
    async fn stage(&self, touched: Touched) -> Result<()> {
        let Touched { mut changed, created, removed, .. } = touched;
        changed.extend(self.without_ignored(created).await?);
        self.update(&["--force-remove"], &removed).await?;
        self.update(&["--add", "--replace"], &changed).await
    }

    fn command(&self, subcommand: &str) -> Command {
        let mut command = self.workspace.tree().git().command_in(&self.workspace.files(), subcommand);
        command.env("GIT_INDEX_FILE", &self.index).env("GIT_OBJECT_DIRECTORY", &self.objects);
        command
    }

    /// New files that `.gitignore` does not name. Files that the commit holds are never ignored.
    async fn without_ignored(&self, created: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        if created.is_empty() {
            return Ok(created);
        }
        let mut command = self.command("check-ignore");
        command.args(["-z", "--stdin", "--no-index"]);
        let output = git::run(command, &joined(&created)).await?;
        // 1: none of them is ignored.
        if !matches!(output.status.code(), Some(0 | 1)) {
            anyhow::bail!(
                "git check-ignore ended with {}: {}",
                output.status,
                git::complaint(&output.stderr)
            );
        }
        let ignored: std::collections::HashSet<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        Ok(created.into_iter().filter(|path| !ignored.contains(path.as_os_str().as_bytes())).collect())
    }

    async fn update(&self, how: &[&str], paths: &[PathBuf]) -> Result<()> {
        if paths.is_empty() {
            return Ok(());
        }
        let mut command = self.command("update-index");
        command.args(how).args(["-z", "--stdin"]);
        git::output(command, &joined(paths)).await.context("the changes cannot be staged")?;
        Ok(())
    }

    /// The paths that the patch is about.
    async fn changed_paths(&self, base: &Oid) -> Result<Vec<PathBuf>> {
        let mut diff = self.diff(base);
        diff.args(["--no-renames", "--name-only", "-z"]);
        let output = git::output(diff, b"").await.context("the changed files cannot be listed")?;
        let paths = output.split(|byte| *byte == 0).filter(|path| !path.is_empty());
        Ok(paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())
    }

    fn diff(&self, base: &Oid) -> Command {
        let mut command = self.command("diff");
        command.arg("--cached").args(PLAIN).arg(base.as_str());
        command
    }

    /// The patch of files that the commit holds, without staging them: one process instead of two.
    fn direct_diff(&self, base: &Oid, paths: &[PathBuf]) -> Command {
        let mut command = self.command("diff");
        command.env("GIT_LITERAL_PATHSPECS", "1");
        command.args(PLAIN).args(PATCH).arg(base.as_str()).arg("--").args(paths);
        command
    }
}

/// Paths as git reads them with `-z --stdin`.
fn joined(paths: &[PathBuf]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for path in paths {
        bytes.extend_from_slice(path.as_os_str().as_bytes());
        bytes.push(0);
    }
    bytes
}

/// Reads what a process prints, and gives up at the limit instead of filling the memory.
async fn read_limited(mut command: Command, limit_bytes: u64) -> Result<Vec<u8>, Error> {
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().context("git cannot be started")?;
    let stdout = child.stdout.take().context("git has no output")?;
    let mut bytes = Vec::new();
    stdout.take(limit_bytes + 1).read_to_end(&mut bytes).await.context("the patch cannot be read")?;
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::TooLarge { limit_bytes });
    }
    let end = child.wait_with_output().await.context("git cannot be waited for")?;
    if !end.status.success() {
        let complaint = git::complaint(&end.stderr);
        return Err(anyhow::anyhow!("git diff ended with {}: {complaint}", end.status).into());
    }
    Ok(bytes)
}

fn sort_by_status(output: &[u8]) -> FileLists {
    let mut lists = FileLists::default();
    let mut fields = output.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned());
    while let (Some(status), Some(path)) = (fields.next(), fields.next()) {
        match status.as_bytes().first() {
            Some(b'A') => lists.added.push(path),
            Some(b'D') => lists.deleted.push(path),
            // Two paths follow: the old one and the new one.
            Some(b'R') => lists.renamed.extend(fields.next()),
            _ => lists.modified.push(path),
        }
    }
    lists
}
