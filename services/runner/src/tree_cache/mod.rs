//! The cache of checked-out trees, one for each (repository, branch, commit).
//!
//! Owns which trees are on disk and when one has to make room. A tree is never written to after it was prepared: jobs
//! see it through an overlay or as a copy. Invariant: a folder under its final name is complete, because it got there
//! by a rename, and was not cut short by a power failure, because trees of an earlier boot are dropped.

mod prepare;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use events::git::{BranchRef, Oid};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::git::Git;
use crate::trash::{Thrown, Trash};

/// What a tree is a checkout of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) repository: String,
    /// What `HEAD` of the steps' own repository points at.
    pub(crate) base_ref: BranchRef,
    pub(crate) base_oid: Oid,
}

impl Commit {
    /// The name of its folder: fixed length, whatever the repository is called.
    fn key(&self) -> String {
        let mut digest = Sha256::new();
        for part in [self.repository.as_str(), self.base_ref.as_str(), self.base_oid.as_str()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        hex::encode(&digest.finalize()[..16])
    }
}

/// The cache. Shared by all attempts of a runner.
pub(crate) struct TreeCache {
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
    tree: Arc<Tree>,
    last_used: u64,
}

/// A checked-out tree. It stays on disk at least as long as somebody holds it.
pub(crate) struct Tree {
    dir: PathBuf,
    /// How many bytes it takes on disk; unset until it is prepared.
    bytes: OnceCell<u64>,
}

impl Tree {
    /// The files, with a small `.git` that is for steps only.
    pub(crate) fn files(&self) -> PathBuf {
        self.dir.join(prepare::FILES)
    }

    /// The pristine repository: the commit's objects, and an index without any file times.
    pub(crate) fn git(&self) -> Git {
        Git::at(self.dir.join(prepare::GIT))
    }
}

impl TreeCache {
    /// Opens the cache with the trees that an earlier process of this boot left in it.
    pub(crate) fn open(dir: impl Into<PathBuf>, limit_bytes: u64, trash: Trash) -> Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&dir).context("cannot read the cache of trees")? {
            let path = entry?.path();
            match prepare::complete(&path) {
                Some((used, bytes)) => found.push((used, path, bytes)),
                None => drop(trash.throw(&path)?),
            }
        }
        found.sort();
        let mut entries = Entries::default();
        for (_, dir, bytes) in found {
            let Some(key) = dir.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            entries.clock += 1;
            let tree = Arc::new(Tree { dir, bytes: OnceCell::new_with(Some(bytes)) });
            entries.by_key.insert(key, Entry { tree, last_used: entries.clock });
        }
        Ok(Self { dir, limit_bytes, trash, entries: Mutex::new(entries) })
    }

    /// The tree of a commit. Many may ask at the same time: one prepares it and the others wait. `fetch` writes the
    /// commit's packfile to the path that it is given.
    pub(crate) async fn get<F, Fut>(&self, commit: &Commit, fetch: F) -> Result<Arc<Tree>>
    where
        F: FnOnce(PathBuf) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let tree = self.entry(commit.key());
        tree.bytes.get_or_try_init(|| self.prepare(commit, &tree.dir, fetch)).await?;
        prepare::mark_used(&tree.dir);
        self.make_room()?.into_iter().for_each(Thrown::delete_later);
        Ok(tree)
    }

    async fn prepare<F, Fut>(&self, commit: &Commit, to: &Path, fetch: F) -> Result<u64>
    where
        F: FnOnce(PathBuf) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let dir = self.dir.join(format!("new-{}", Uuid::now_v7()));
        let unfinished = Unfinished { dir, trash: self.trash.clone() };
        let bytes = prepare::prepare(commit, &unfinished.dir, fetch).await?;
        std::fs::rename(&unfinished.dir, to).context("cannot move a prepared tree into place")?;
        Ok(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // No code panics while it holds the lock half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, key: String) -> Arc<Tree> {
        let mut entries = self.lock();
        entries.clock += 1;
        let last_used = entries.clock;
        let dir = self.dir.join(&key);
        let entry = entries.by_key.entry(key).or_insert_with(|| {
            let tree = Arc::new(Tree { dir, bytes: OnceCell::new() });
            Entry { tree, last_used }
        });
        entry.last_used = last_used;
        Arc::clone(&entry.tree)
    }

    /// Takes the trees that nobody holds out of the cache, least recently used first, until the rest fits.
    fn make_room(&self) -> Result<Vec<Thrown>> {
        let mut entries = self.lock();
        let mut total: u64 = entries.by_key.values().filter_map(|entry| entry.tree.bytes.get()).sum();
        let mut thrown = Vec::new();
        while total > self.limit_bytes {
            let free = entries.by_key.iter().filter(|(_, entry)| Arc::strong_count(&entry.tree) == 1);
            let Some(key) = free.min_by_key(|(_, entry)| entry.last_used).map(|(key, _)| key.clone()) else {
                // Everything is in use: the limit is passed until a job ends.
                break;
            };
            if let Some(entry) = entries.by_key.remove(&key) {
                total -= entry.tree.bytes.get().copied().unwrap_or_default();
                thrown.extend(self.trash.throw(&entry.tree.dir)?);
            }
        }
        Ok(thrown)
    }
}

/// A tree on its way. What is not moved into place goes to the trash, also when the job that wanted it is gone.
struct Unfinished {
    dir: PathBuf,
    trash: Trash,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        match self.trash.throw(&self.dir) {
            Ok(thrown) => thrown.into_iter().for_each(Thrown::delete_later),
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "an unfinished tree stays until the next start")
            }
        }
    }
}
