//! The cache of folders that jobs share: checked-out trees, and the files of actions.
//!
//! Owns which folders are on disk and when one has to make room; never what is in them. A folder is never written to after
//! it was prepared. Invariant: a folder under its final name is complete, because it got there by a rename, and was not cut
//! short by a power failure, because folders of an earlier boot are dropped.

mod complete;

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::trash::{Thrown, Trash};

/// The cache. Shared by all attempts of a runner.
pub(crate) struct FolderCache {
    dir: PathBuf,
    limit_bytes: u64,
    trash: Trash,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<String, Entry>,
    /// Counts uses, so that the entry with the lowest number was used longest ago.
    clock: u64,
}

struct Entry {
    folder: Arc<Folder>,
    last_used: u64,
}

/// A folder. It stays on disk at least as long as somebody holds it.
pub(crate) struct Folder {
    dir: PathBuf,
    /// How many bytes it takes on disk; unset until it is prepared.
    bytes: OnceCell<u64>,
}

impl Folder {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// How many bytes it takes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get().copied().unwrap_or_default()
    }
}

impl FolderCache {
    /// Opens the cache with the folders that an earlier process of this boot left in it.
    pub(crate) fn open(dir: impl Into<PathBuf>, limit_bytes: u64, trash: Trash) -> Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&dir).context("cannot read the cache")? {
            let path = entry?.path();
            match complete::read(&path) {
                Some((used, bytes)) => found.push((used, path, bytes)),
                None => drop(trash.throw(&path)?),
            }
        }
        found.sort();
        let mut entries = Entries::default();
        for (_, dir, bytes) in found {
            let Some(key) = dir.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            entries.clock += 1;
            let folder = Arc::new(Folder { dir, bytes: OnceCell::new_with(Some(bytes)) });
            entries.by_key.insert(key, Entry { folder, last_used: entries.clock });
        }
        Ok(Self { dir, limit_bytes, trash, entries: Mutex::new(entries) })
    }

    /// The folder of a key, which is a file's name. Many may ask at the same time: one prepares it and the others wait.
    /// `prepare` makes the folder at the path that it is given; `about` tells operators what is in it.
    pub(crate) async fn get<F, Fut>(&self, key: String, about: &str, prepare: F) -> Result<Arc<Folder>>
    where
        F: FnOnce(PathBuf) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let folder = self.entry(key);
        folder.bytes.get_or_try_init(|| self.prepare(about, &folder.dir, prepare)).await?;
        complete::mark_used(&folder.dir);
        self.make_room()?.into_iter().for_each(Thrown::delete_later);
        Ok(folder)
    }

    async fn prepare<F, Fut>(&self, about: &str, to: &Path, prepare: F) -> Result<u64>
    where
        F: FnOnce(PathBuf) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let dir = self.dir.join(format!("new-{}", Uuid::now_v7()));
        let unfinished = Unfinished { dir, trash: self.trash.clone() };
        prepare(unfinished.dir.clone()).await?;
        let bytes = complete::write(&unfinished.dir, about).await?;
        std::fs::rename(&unfinished.dir, to).context("cannot move a prepared folder into place")?;
        Ok(bytes)
    }

    /// The most bytes that are kept.
    pub(crate) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // No code panics while it holds the lock half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, key: String) -> Arc<Folder> {
        let mut entries = self.lock();
        entries.clock += 1;
        let last_used = entries.clock;
        let dir = self.dir.join(&key);
        let entry = entries.by_key.entry(key).or_insert_with(|| {
            let folder = Arc::new(Folder { dir, bytes: OnceCell::new() });
            Entry { folder, last_used }
        });
        entry.last_used = last_used;
        Arc::clone(&entry.folder)
    }

    /// Takes the folders that nobody holds out of the cache, least recently used first, until the rest fits.
    fn make_room(&self) -> Result<Vec<Thrown>> {
        let mut entries = self.lock();
        let mut total: u64 = entries.by_key.values().filter_map(|entry| entry.folder.bytes.get()).sum();
        let mut thrown = Vec::new();
        while total > self.limit_bytes {
            let free = entries.by_key.iter().filter(|(_, entry)| Arc::strong_count(&entry.folder) == 1);
            let Some(key) = free.min_by_key(|(_, entry)| entry.last_used).map(|(key, _)| key.clone()) else {
                // Everything is in use: the limit is passed until a job ends.
                break;
            };
            if let Some(entry) = entries.by_key.remove(&key) {
                total -= entry.folder.bytes.get().copied().unwrap_or_default();
                thrown.extend(self.trash.throw(&entry.folder.dir)?);
            }
        }
        Ok(thrown)
    }
}

/// A folder on its way. What is not moved into place goes to the trash, also when the job that wanted it is gone.
struct Unfinished {
    dir: PathBuf,
    trash: Trash,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        match self.trash.throw(&self.dir) {
            Ok(thrown) => thrown.into_iter().for_each(Thrown::delete_later),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "an unfinished folder stays until the next start"
                )
            }
        }
    }
}
