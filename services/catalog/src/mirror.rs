//! Mirrors: bare, shallow repositories that hold the newest pinned commit of each branch.
//!
//! Owns their folders. A mirror saves a host from sending what was sent before, and nothing else: one that is damaged, for
//! whatever reason, is removed and made again. Its name is final once it is whole. At most one caller uses a mirror at
//! a time.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use events::git::Oid;
use events::location::Remote;

use crate::git::{self, Io, Output};
use crate::heads::Pin;
use crate::remote::trouble;
use crate::trouble::Trouble;

/// How long a fetch may take. A host that goes silent is given up much earlier where git can tell.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// After this many fetches what no branch needs is thrown away.
const MOST_PACKS: usize = 16;

/// A repository's mirror, which may not exist yet.
pub(crate) struct Mirror {
    dir: PathBuf,
    /// Where a new one is prepared.
    scratch: PathBuf,
}

impl Mirror {
    /// The mirror for commits with ids like this one, under `stem`.
    pub(crate) fn new(stem: &Path, scratch: &Path, oid: &Oid) -> Self {
        // A repository that changed its object format gets another mirror.
        let ending = if oid.as_str().len() == 64 { "sha256.git" } else { "git" };
        Self { dir: stem.with_extension(ending), scratch: scratch.to_owned() }
    }

    /// Fetches commits. Returns the folder that holds them.
    pub(crate) async fn fetch(&self, remote: &Remote, pins: &[Pin]) -> Result<&Path, Trouble> {
        let is_new = self.make(pins)?;
        let mut output = self.try_fetch(remote, pins).await?;
        if !output.success && !output.lacks_resources() && !is_new {
            // A lock or half a pack of a process that was killed may be in the way.
            tracing::debug!(url = remote.url, complaint = output.complaint, "a mirror is made again");
            self.remove()?;
            self.make(pins)?;
            output = self.try_fetch(remote, pins).await?;
        }
        if !output.success {
            return Err(trouble(remote, &output));
        }
        self.tidy(remote).await?;
        Ok(&self.dir)
    }

    /// Removes it.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).context("cannot remove a mirror")
            }
            _ => Ok(()),
        }
    }

    /// Makes an empty one unless there is one: its whole content is two small files, and `git init` would be one more
    /// process.
    fn make(&self, pins: &[Pin]) -> anyhow::Result<bool> {
        if self.dir.exists() {
            return Ok(false);
        }
        let format = match pins.first() {
            Some((_, oid)) if oid.as_str().len() == 64 => {
                "\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n"
            }
            _ => "\trepositoryformatversion = 0\n",
        };
        let make = || {
            let new = tempfile::Builder::new().prefix("mirror-").tempdir_in(&self.scratch)?;
            std::fs::create_dir_all(new.path().join("objects/pack"))?;
            std::fs::create_dir(new.path().join("refs"))?;
            std::fs::write(new.path().join("config"), format!("[core]\n\tbare = true\n{format}"))?;
            std::fs::write(new.path().join("HEAD"), "ref: refs/heads/none\n")?;
            std::fs::rename(new.keep(), &self.dir)
        };
        make().with_context(|| format!("cannot make the mirror {}", self.dir.display()))?;
        Ok(true)
    }

    async fn try_fetch(&self, remote: &Remote, pins: &[Pin]) -> anyhow::Result<Output> {
        let mut command = git::remote(remote, Some(&self.dir), "fetch");
        command.args([
            "--quiet",
            "--depth=1",
            "--update-shallow",
            "--no-tags",
            "--no-write-fetch-head",
            "--force",
        ]);
        command.args(["--no-show-forced-updates", "--end-of-options", &remote.url]);
        // By commit, so that a branch that moved since the look does not change what was pinned.
        command
            .args(pins.iter().map(|(branch, oid)| format!("{oid}:refs/pinned/{}", digits(branch.as_str()))));
        git::run(command, Io::default(), PATIENCE).await
    }

    /// Throws away what no pinned commit needs, every now and then.
    async fn tidy(&self, remote: &Remote) -> anyhow::Result<()> {
        let packs = std::fs::read_dir(self.dir.join("objects/pack")).context("cannot read a mirror")?;
        let packs = packs
            .filter_map(Result::ok)
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "pack"));
        if packs.count() <= MOST_PACKS {
            return Ok(());
        }
        let mut command = git::local(&self.dir, "gc");
        command.args(["--quiet", "--prune=now"]);
        let output = git::run(command, Io::default(), PATIENCE).await?;
        if !output.success {
            // It holds all that is needed now; it is tidied, or made again, another time.
            tracing::warn!(url = remote.url, complaint = output.complaint, "a mirror cannot be tidied");
        }
        Ok(())
    }
}

/// A branch's name as one component of a reference's: two branches of which one is the other's folder, in turn, must not be
/// in each other's way.
fn digits(branch: &str) -> String {
    branch.bytes().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
