//! Usage: what folders take on a disk.
//!
//! Owns the walk over what steps write while they write it, and its pace (ADR 20). Never follows a link and never opens
//! a file. Invariant: a walk ends soon after it has seen more than was asked for, however much there is.

mod watch;

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::{Errno, Result};

pub(crate) use watch::Watch;

/// How deep folders may nest for the walk: each level takes two open files.
const DEPTH: usize = 128;

/// The unit of a file's blocks, whatever the file system's is.
const BLOCK: u64 = 512;

/// What a file takes at least, an empty one too: its name and its inode are used up as well.
const LEAST: u64 = 4096;

/// When it is first looked: the kernel sends no message when a folder grows, and most steps end within the first second.
pub(crate) const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How soon it is looked again at most.
const AGAIN: Duration = Duration::from_millis(500);

/// How much longer the pause is than the look before it: looking takes a twentieth of a processor.
const PAUSE: u32 = 19;

/// How long to wait after a look that took so long.
pub(crate) fn pause_after(look: Duration) -> Duration {
    AGAIN.max(look * PAUSE)
}

/// What folders take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    /// Files, folders and whatever else has a name.
    pub(crate) files: u64,
}

impl Usage {
    /// More than any folder takes.
    pub(crate) const ANY: Self = Self { bytes: u64::MAX, files: u64::MAX };
}

/// The same as [`measure`], for those who must not block.
pub(crate) async fn measured(folder: &Path, most: Usage) -> anyhow::Result<Result<Usage>> {
    let folder = folder.to_owned();
    tokio::task::spawn_blocking(move || measure(&folder, most)).await.context("a look at a folder failed")
}

/// Measures what is in a folder, until it is more than `most`.
///
/// # Errors
/// `NAMETOOLONG` when folders nest too deep to be looked at.
pub(crate) fn measure(folder: &Path, most: Usage) -> Result<Usage> {
    let mut walk = Walk { usage: Usage::default(), most, linked: HashSet::new() };
    match openat(CWD, folder, folder_flags(), Mode::empty()) {
        Ok(folder) => walk.folder(&folder, DEPTH)?,
        // It is not there yet, or not any more.
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error),
    }
    Ok(walk.usage)
}

struct Walk {
    usage: Usage,
    most: Usage,
    /// Files with several names, which take their space once.
    linked: HashSet<u64>,
}

impl Walk {
    fn folder(&mut self, folder: &OwnedFd, depth: usize) -> Result<()> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error),
            };
            self.add(&stat);
            if self.usage.bytes > self.most.bytes || self.usage.files > self.most.files {
                return Ok(());
            }
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                match openat(folder, name, folder_flags(), Mode::empty()) {
                    Ok(_) if depth == 0 => return Err(Errno::NAMETOOLONG),
                    Ok(below) => self.folder(&below, depth - 1)?,
                    // It went away, or something else took its place.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    // A step of another user than the runner's keeps it to itself.
                    Err(Errno::ACCESS) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, stat: &Stat) {
        self.usage.files += 1;
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_folder || stat.st_nlink <= 1 || self.linked.insert(stat.st_ino) {
            let blocks = u64::try_from(stat.st_blocks).unwrap_or_default();
            self.usage.bytes = self.usage.bytes.saturating_add(blocks.saturating_mul(BLOCK).max(LEAST));
        }
    }
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::fs;

    use super::*;

    #[test]
    fn files_take_their_blocks_once_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir_all(folder.join("a/b")).unwrap();
        fs::write(dir.path().join("outside"), vec![1; 1 << 20]).unwrap();
        fs::write(folder.join("a/file"), vec![1; 64 << 10]).unwrap();
        fs::hard_link(folder.join("a/file"), folder.join("a/b/same")).unwrap();
        std::os::unix::fs::symlink(dir.path(), folder.join("up")).unwrap();
        let usage = measure(&folder, Usage::ANY).unwrap();
        assert_eq!(usage.files, 5);
        assert!((64 << 10..128 << 10).contains(&usage.bytes), "{usage:?}");
        assert_eq!(measure(&dir.path().join("none"), Usage::ANY).unwrap(), Usage::default());
    }

    #[test]
    fn the_walk_ends_when_it_has_seen_enough() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..100 {
            fs::write(dir.path().join(number.to_string()), "x").unwrap();
        }
        let most = Usage { files: 7, ..Usage::ANY };
        assert_eq!(measure(dir.path(), most).unwrap().files, 8);
        let most = Usage { bytes: 1, ..Usage::ANY };
        assert_eq!(measure(dir.path(), most).unwrap().files, 1);
    }

    #[test]
    fn what_nests_too_deep_is_said_to() {
        let dir = tempfile::tempdir().unwrap();
        let deep = |depth| (0..depth).fold(dir.path().to_owned(), |path, _| path.join("d"));
        fs::create_dir_all(deep(DEPTH)).unwrap();
        assert_eq!(measure(dir.path(), Usage::ANY).unwrap().files, DEPTH as u64);
        fs::create_dir_all(deep(DEPTH + 2)).unwrap();
        assert_eq!(measure(dir.path(), Usage::ANY).unwrap_err(), Errno::NAMETOOLONG);
    }
}
