//! The journal: which attempts a runner has taken on, on disk.
//!
//! Owns the runner's folder: its lock, a folder for each attempt in hand, and the names of those that ended last, by which
//! a ticket that comes again is known. Invariant: an attempt's folder goes away only after the broker has its end, or its
//! scheduler wants to hear nothing of it.

mod ended;

use std::fs::{File, Permissions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use events::beat::Running;
use events::ticket::Ticket;
use rustix::fs::FlockOperation;

use ended::Ended;

/// The name of the file in an attempt's folder that says all there is to know of it after a crash: its ticket, and below
/// it what it reports, a JSON document a line. One file, because a file system takes longer to make a file than to write
/// a line.
pub(crate) const ATTEMPT: &str = "attempt.jsonl";

/// A runner's folder, for as long as this lives.
pub(crate) struct Journal {
    root: PathBuf,
    ended: Ended,
    _lock: File,
}

/// An attempt that an earlier process left.
pub(crate) struct Leftover {
    pub(crate) folder: PathBuf,
    pub(crate) ticket: Ticket,
}

/// The attempt that a ticket is for.
pub(crate) const fn attempt_of(ticket: &Ticket) -> Running {
    Running { job: ticket.job, attempt: ticket.attempt }
}

fn name(attempt: &Running) -> String {
    format!("{}.{}", attempt.job.token(), attempt.attempt)
}

impl Journal {
    /// Opens a runner's folder.
    ///
    /// # Errors
    /// When it cannot be written, or another process has it.
    pub(crate) fn open(root: &Path) -> Result<Self> {
        let written = || format!("the runner's folder {} cannot be written", root.display());
        std::fs::create_dir_all(root.join("attempts")).with_context(written)?;
        let lock = File::options().create(true).append(true).open(root.join("lock")).with_context(written)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!(
                "another runner works in {}: stop it, or give this one a folder of its own",
                root.display()
            );
        }
        // A step may leave a program of root's that runs as root for whoever reaches it.
        std::fs::set_permissions(root, Permissions::from_mode(0o700)).with_context(written)?;
        // An engine wants to be told absolute paths.
        let root = root.canonicalize().with_context(written)?;
        let ended = Ended::open(&root).context("the journal cannot be read")?;
        Ok(Self { root, ended, _lock: lock })
    }

    /// The runner's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of an attempt.
    pub(crate) fn folder(&self, attempt: &Running) -> PathBuf {
        self.root.join("attempts").join(name(attempt))
    }

    /// Whether an attempt has ended here.
    pub(crate) fn has_ended(&self, attempt: &Running) -> bool {
        self.ended.contains(&name(attempt))
    }

    /// Takes an attempt on: a process that is started after a crash finds it. It is not synced, as nothing of an attempt
    /// is. A power failure may take it away, and with it the attempt, which its scheduler then counts as lost; one that
    /// stayed could only be given back.
    pub(crate) fn begin(&self, ticket: &Ticket) -> Result<PathBuf> {
        let folder = self.folder(&attempt_of(ticket));
        let write = || -> io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            let mut line = serde_json::to_vec(ticket)?;
            line.push(b'\n');
            File::create(folder.join(ATTEMPT))?.write_all(&line)
        };
        write().with_context(|| format!("the ticket cannot be written below {}", self.root.display()))?;
        Ok(folder)
    }

    /// Forgets an attempt whose end is told, except its name. Its workspace must be gone.
    pub(crate) fn end(&self, attempt: &Running) -> Result<()> {
        // A full disk costs the memory of this attempt: its ticket coming again would run it again, for nobody.
        if let Err(error) = self.ended.add(name(attempt)) {
            tracing::warn!(%error, "the end of an attempt cannot be noted");
        }
        let folder = self.folder(attempt);
        gone(std::fs::remove_dir_all(&folder)).with_context(|| format!("cannot remove {}", folder.display()))
    }

    /// What an earlier process left: the attempts in its hands. What is not one of them is removed; their workspaces must
    /// be gone.
    pub(crate) fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut leftovers = Vec::new();
        for entry in std::fs::read_dir(self.root.join("attempts")).context("the journal cannot be read")? {
            let folder = entry.context("the journal cannot be read")?.path();
            match ticket(&folder.join(ATTEMPT)) {
                Some(ticket)
                    if self.folder(&attempt_of(&ticket)) == folder
                        && !self.has_ended(&attempt_of(&ticket)) =>
                {
                    leftovers.push(Leftover { folder, ticket });
                }
                // It was never taken on, or its end was told and only its files are left.
                _ => std::fs::remove_dir_all(&folder)
                    .with_context(|| format!("cannot remove {}", folder.display()))?,
            }
        }
        Ok(leftovers)
    }

    /// The folders of attempts, whatever is in them.
    pub(crate) fn folders(&self) -> Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(self.root.join("attempts")).context("the journal cannot be read")?;
        entries.map(|entry| Ok(entry.context("the journal cannot be read")?.path())).collect()
    }
}

/// The ticket of an attempt that was taken on.
fn ticket(path: &Path) -> Option<Ticket> {
    let mut line = Vec::new();
    BufReader::new(File::open(path).ok()?).read_until(b'\n', &mut line).ok()?;
    serde_json::from_slice(line.strip_suffix(b"\n")?).ok()
}

/// Appends a line, or nothing: half a line would spoil the next one.
pub(crate) fn append(mut file: &File, line: &[u8]) -> io::Result<()> {
    let end = file.metadata()?.len();
    file.write_all(line).inspect_err(|_| {
        let _ = file.set_len(end);
    })
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;
    use crate::tests::ticket_for;

    #[test]
    fn an_attempt_is_remembered_until_its_end_is_told_and_known_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let ticket = ticket_for(1);
        let attempt = attempt_of(&ticket);
        let journal = Journal::open(dir.path()).unwrap();
        journal.begin(&ticket).unwrap();
        drop(journal);

        let journal = Journal::open(dir.path()).unwrap();
        let leftovers = journal.leftovers().unwrap();
        assert_eq!(leftovers.len(), 1);
        assert_eq!(leftovers[0].ticket, ticket);
        assert!(!journal.has_ended(&attempt));
        journal.end(&attempt).unwrap();
        drop(journal);

        let journal = Journal::open(dir.path()).unwrap();
        assert!(journal.leftovers().unwrap().is_empty());
        assert!(journal.has_ended(&attempt));
        journal.end(&attempt).unwrap();
    }

    #[test]
    fn a_folder_without_a_whole_ticket_was_never_taken_on() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let folder = journal.begin(&ticket_for(1)).unwrap();
        let whole = std::fs::read(folder.join(ATTEMPT)).unwrap();
        for cut in [0, 1, whole.len() - 1] {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(ATTEMPT), &whole[..cut]).unwrap();
            assert!(journal.leftovers().unwrap().is_empty(), "cut at {cut}");
            assert!(!folder.exists());
        }
    }

    #[test]
    fn a_folder_has_one_runner() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let error = Journal::open(dir.path()).err().unwrap();
        assert!(error.to_string().contains("another runner works in"), "{error:#}");
        drop(journal);
        assert!(Journal::open(dir.path()).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = format!("{:#}", Journal::open(&file.join("runner")).err().unwrap());
        assert!(error.contains("cannot be written") && error.contains("file/runner"), "{error}");
    }
}
