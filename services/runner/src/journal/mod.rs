//! The journal: which attempts a runner has taken on, on disk.
//!
//! Owns the runner's folder: its lock, a folder for each attempt in hand, and the names of those that ended last, by which
//! a ticket that comes again is known. Invariant: an attempt's folder goes away only after the broker has its end, or its
//! scheduler wants to hear nothing of it.

use std::collections::VecDeque;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use events::beat::Running;
use events::ticket::Ticket;
use rustix::fs::FlockOperation;

/// How many ended attempts are remembered: far more than the scheduler can have forgotten to have sent.
const REMEMBERED: usize = 1_000;

const TICKET: &str = "ticket.json";

/// A runner's folder, for as long as this lives.
pub(crate) struct Journal {
    root: PathBuf,
    ended: Mutex<VecDeque<String>>,
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
        for folder in ["attempts", "ended"] {
            std::fs::create_dir_all(root.join(folder)).with_context(written)?;
        }
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
        let mut ended = Vec::new();
        for entry in std::fs::read_dir(root.join("ended")).context("the journal cannot be read")? {
            let entry = entry.context("the journal cannot be read")?;
            let time =
                entry.metadata().and_then(|meta| meta.modified()).context("the journal cannot be read")?;
            ended.push((time, entry.file_name().to_string_lossy().into_owned()));
        }
        ended.sort();
        let ended = Mutex::new(ended.into_iter().map(|(_, name)| name).collect());
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
        let name = name(attempt);
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).contains(&name)
    }

    /// Takes an attempt on: a process that is started after a crash finds it. It is not synced, as nothing of an attempt
    /// is. A power failure may take it away, and with it the attempt, which its scheduler then counts as lost; one that
    /// stayed could only be given back.
    pub(crate) fn begin(&self, ticket: &Ticket) -> Result<PathBuf> {
        let folder = self.folder(&attempt_of(ticket));
        let write = || -> io::Result<()> {
            std::fs::create_dir_all(&folder)?;
            let next = folder.join("ticket.next");
            std::fs::write(&next, serde_json::to_vec(ticket)?)?;
            std::fs::rename(&next, folder.join(TICKET))
        };
        write().with_context(|| format!("the ticket cannot be written below {}", self.root.display()))?;
        Ok(folder)
    }

    /// Forgets an attempt whose end is told, except its name. Its workspace must be gone.
    pub(crate) fn end(&self, attempt: &Running) -> Result<()> {
        let name = name(attempt);
        // A full disk costs the memory of this attempt: its ticket coming again would run it again, for nobody.
        if let Err(error) = File::create(self.root.join("ended").join(&name)) {
            tracing::warn!(%error, "the end of an attempt cannot be noted");
        }
        let outdated = {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            ended.push_back(name);
            if ended.len() > REMEMBERED { ended.pop_front() } else { None }
        };
        if let Some(outdated) = outdated {
            gone(std::fs::remove_file(self.root.join("ended").join(outdated)))?;
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
            let ticket = std::fs::read(folder.join(TICKET)).ok();
            match ticket.and_then(|text| serde_json::from_slice::<Ticket>(&text).ok()) {
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
        std::fs::write(folder.join(TICKET), "{").unwrap();
        assert!(journal.leftovers().unwrap().is_empty());
        assert!(!folder.exists());
    }

    #[test]
    fn the_memory_of_ended_attempts_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        for number in 1..=REMEMBERED as u32 + 5 {
            journal.end(&attempt_of(&ticket_for(number))).unwrap();
        }
        assert!(!journal.has_ended(&attempt_of(&ticket_for(5))));
        assert!(journal.has_ended(&attempt_of(&ticket_for(6))));
        assert_eq!(std::fs::read_dir(dir.path().join("ended")).unwrap().count(), REMEMBERED);
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
