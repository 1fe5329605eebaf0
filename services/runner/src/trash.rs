//! The trash: how folders that steps wrote in go away.
//!
//! Owns deletion. A step can nest folders deeper than a path can name or a recursion can follow: what is deeper than any
//! ordinary tree is left to `rm`, which handles both, and saved a process otherwise. Invariant: what was discarded is out
//! of sight at once, and a crash half-way leaves it in the trash, which is emptied at the next start.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;
use tokio::process::Command;
use uuid::Uuid;

/// How deep the walk goes before it is left to `rm`.
const DEPTH: usize = 64;

/// A folder on the same file system as all that is thrown into it.
#[derive(Clone, Debug)]
pub(crate) struct Trash {
    dir: PathBuf,
}

impl Trash {
    /// Opens the trash, empty or with what a crash left in it.
    pub(crate) fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Moves a folder out of sight. A folder that is not there is gone already.
    pub(crate) fn throw(&self, path: &Path) -> Result<Option<Thrown>> {
        let grave = self.dir.join(Uuid::now_v7().to_string());
        match std::fs::rename(path, &grave) {
            Ok(()) => Ok(Some(Thrown(grave))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot move {} away", path.display())),
        }
    }

    /// Deletes what an earlier process left.
    pub(crate) async fn empty(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.dir).context("cannot read the trash")? {
            Thrown(entry?.path()).delete().await?;
        }
        Ok(())
    }
}

/// A folder that is out of sight and still takes space.
pub(crate) struct Thrown(PathBuf);

impl Thrown {
    /// Gives its space back without anybody waiting for it.
    pub(crate) fn delete_later(self) {
        tokio::spawn(async move {
            if let Err(error) = self.delete().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "what was thrown away stays until the next start"
                );
            }
        });
    }

    /// Gives its space back.
    pub(crate) async fn delete(self) -> Result<()> {
        let path = self.0.clone();
        if tokio::task::spawn_blocking(move || remove(&path)).await.is_ok_and(|removed| removed.is_ok()) {
            return Ok(());
        }
        let output = Command::new("rm")
            .args(["-rf", "--one-file-system", "--"])
            .arg(&self.0)
            .stdin(Stdio::null())
            .output()
            .await
            .context("`rm` cannot be started")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("cannot delete {}: {}", self.0.display(), said.lines().next().unwrap_or_default());
        }
        Ok(())
    }
}

/// Deletes a folder, unless it is too deep or something is mounted in it. Never follows a link, also not one that takes
/// a folder's place meanwhile.
fn remove(path: &Path) -> rustix::io::Result<()> {
    let folder = openat(CWD, path, folder_flags(), Mode::empty())?;
    let device = fstat(&folder)?.st_dev;
    empty(folder, device, DEPTH)?;
    unlinkat(CWD, path, AtFlags::REMOVEDIR)
}

fn empty(folder: OwnedFd, device: u64, depth: usize) -> rustix::io::Result<()> {
    let mut entries = Dir::new(folder)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let folder = entries.fd()?;
        if entry.file_type() != FileType::Directory {
            unlinkat(folder, name, AtFlags::empty())?;
            continue;
        }
        // Most are empty: those are not looked into.
        if unlinkat(folder, name, AtFlags::REMOVEDIR).is_ok() {
            continue;
        }
        let below = openat(folder, name, folder_flags(), Mode::empty())?;
        if depth == 0 || fstat(&below)?.st_dev != device {
            return Err(Errno::XDEV);
        }
        empty(below, device, depth - 1)?;
        unlinkat(folder, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[tokio::test]
    async fn what_is_thrown_away_goes_whatever_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let trash = Trash::open(dir.path().join("trash")).unwrap();
        let kept = dir.path().join("kept");
        std::fs::write(&kept, "x").unwrap();
        for depth in [3, DEPTH + 40] {
            let folder = dir.path().join("folder");
            let deep = (0..depth).fold(folder.clone(), |path, _| path.join("d"));
            std::fs::create_dir_all(&deep).unwrap();
            std::os::unix::fs::symlink(dir.path(), deep.join("link")).unwrap();
            std::fs::write(deep.join("file"), "x").unwrap();
            trash.throw(&folder).unwrap().unwrap().delete().await.unwrap();
            assert!(!folder.exists() && kept.exists());
            assert_eq!(std::fs::read_dir(dir.path().join("trash")).unwrap().count(), 0);
        }
    }
}
