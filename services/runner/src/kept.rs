//! Kept folders: what steps keep between the jobs of one repository.
//!
//! Owns which there are on disk and when one has to make room. Never looks into them but to measure. Invariant: a folder
//! that a job uses stays; the others go, least recently used first, as soon as all together are too large.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::trash::{Thrown, Trash};
use crate::usage::{Usage, measure};

/// The kept folders of a runner.
pub(crate) struct Kept {
    dir: PathBuf,
    limit_bytes: u64,
    trash: Trash,
    folders: Mutex<HashMap<String, Entry>>,
}

struct Entry {
    /// What it takes; unknown until a job of this process has used it, or all were measured.
    bytes: Option<u64>,
    last_used: SystemTime,
    users: u32,
}

/// A folder that a job uses.
pub(crate) struct KeptFolder {
    kept: Arc<Kept>,
    name: String,
    /// What it took when the last job was done with it, if that is known.
    before: Option<u64>,
}

impl KeptFolder {
    pub(crate) fn path(&self) -> PathBuf {
        self.kept.dir.join(&self.name)
    }

    /// What it took before.
    pub(crate) const fn before(&self) -> Option<u64> {
        self.before
    }
}

impl Kept {
    /// Opens what earlier processes left.
    pub(crate) fn open(dir: PathBuf, limit_bytes: u64, trash: Trash) -> Result<Arc<Self>> {
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let mut folders = HashMap::new();
        for entry in std::fs::read_dir(&dir).context("cannot read what is kept for steps")? {
            let entry = entry?;
            // When a folder was used last is when it was changed last: a job's end says so.
            let last_used = entry.metadata()?.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let name = entry.file_name().to_string_lossy().into_owned();
            folders.insert(name, Entry { bytes: None, last_used, users: 0 });
        }
        Ok(Arc::new(Self { dir, limit_bytes, trash, folders: Mutex::new(folders) }))
    }

    /// Takes a folder into use; it is made if it is not there.
    pub(crate) fn take(self: &Arc<Self>, name: String) -> Result<KeptFolder> {
        let mut folders = self.lock();
        let entry = folders.entry(name.clone()).or_insert_with(|| Entry {
            bytes: Some(0),
            last_used: SystemTime::now(),
            users: 0,
        });
        std::fs::create_dir_all(self.dir.join(&name))
            .context("a folder that is kept for a repository cannot be made")?;
        entry.users += 1;
        let before = entry.bytes;
        Ok(KeptFolder { kept: Arc::clone(self), name, before })
    }

    /// Measures a folder after a job, and makes room.
    fn settle(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        let bytes = weigh(&path);
        let now = SystemTime::now();
        let touched = File::open(&path).and_then(|folder| folder.set_modified(now));
        touched.context("a kept folder cannot be marked as used")?;
        let unknown: Vec<String> = {
            let mut folders = self.lock();
            if let Some(entry) = folders.get_mut(name) {
                entry.bytes = Some(bytes);
                entry.last_used = now;
            }
            folders.iter().filter(|(_, entry)| entry.bytes.is_none()).map(|(name, _)| name.clone()).collect()
        };
        for name in unknown {
            let bytes = weigh(&self.dir.join(&name));
            if let Some(entry) = self.lock().get_mut(&name) {
                entry.bytes.get_or_insert(bytes);
            }
        }
        self.make_room()?.into_iter().for_each(Thrown::delete_later);
        Ok(())
    }

    /// Takes folders that nobody uses away until the rest fits.
    fn make_room(&self) -> Result<Vec<Thrown>> {
        let mut folders = self.lock();
        let mut total: u64 = folders.values().filter_map(|entry| entry.bytes).sum();
        let mut thrown = Vec::new();
        while total > self.limit_bytes {
            let free = folders.iter().filter(|(_, entry)| entry.users == 0);
            let Some(name) = free.min_by_key(|(_, entry)| entry.last_used).map(|(name, _)| name.clone())
            else {
                // Everything is in use: the limit is passed until a job ends.
                break;
            };
            if let Some(entry) = folders.remove(&name) {
                total = total.saturating_sub(entry.bytes.unwrap_or_default());
                thrown.extend(self.trash.throw(&self.dir.join(&name))?);
            }
        }
        Ok(thrown)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // No code panics while it holds the lock half-way through a change.
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for KeptFolder {
    fn drop(&mut self) {
        let (kept, name) = (Arc::clone(&self.kept), std::mem::take(&mut self.name));
        if let Some(entry) = kept.lock().get_mut(&name) {
            entry.users -= 1;
        }
        tokio::task::spawn_blocking(move || {
            if let Err(error) = kept.settle(&name) {
                tracing::warn!(error = format!("{error:#}"), "what is kept for steps cannot be measured");
            }
        });
    }
}

/// What a folder takes. One that cannot be walked, because a step nested it too deep, is too large for any limit.
fn weigh(folder: &Path) -> u64 {
    measure(folder, Usage::ANY).map_or(u64::MAX / 2, |usage| usage.bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[tokio::test]
    async fn the_least_recently_used_make_room_and_those_in_use_stay() {
        let dir = tempfile::tempdir().unwrap();
        let trash = Trash::open(dir.path().join("trash")).unwrap();
        let open = || Kept::open(dir.path().join("kept"), 100 << 10, trash.clone()).unwrap();
        let kept = open();
        let fill = |name: &str| {
            let folder = kept.take(name.to_owned()).unwrap();
            std::fs::write(folder.path().join("file"), vec![1; 60 << 10]).unwrap();
            folder
        };
        let there = |name: &str| dir.path().join("kept").join(name).exists();
        let settle = |folder: KeptFolder| {
            let (kept, name) = (Arc::clone(&folder.kept), folder.name.clone());
            kept.lock().get_mut(&name).unwrap().users -= 1;
            std::mem::forget(folder);
            kept.settle(&name).unwrap();
        };
        settle(fill("old"));
        assert!(there("old"));
        let held = fill("held");
        settle(fill("new"));
        assert!(!there("old") && there("held"), "what is in use is not counted against the newest");
        drop(held);
        // Another process finds them by what is on disk.
        let again = open();
        let folder = again.take("held".to_owned()).unwrap();
        assert_eq!(folder.before(), None);
        again.settle("held").unwrap();
        assert!(there("held") && !there("new"));
    }
}
