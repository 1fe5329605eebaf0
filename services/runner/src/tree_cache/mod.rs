//! The cache of checked-out trees, one for each (repository, branch, commit, folder).
//!
//! Owns what a tree is and how it gets its name in the cache of folders. Jobs see a tree through an overlay or as a copy,
//! so that it stays as it was prepared.

mod prepare;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use events::git::{BranchRef, Oid};
use sha2::{Digest as _, Sha256};

use crate::cache::{Folder, FolderCache};
use crate::git::Git;

/// What a tree is a checkout of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Commit {
    pub(crate) repository: String,
    /// What `HEAD` of the steps' own repository points at.
    pub(crate) base_ref: BranchRef,
    pub(crate) base_oid: Oid,
    /// The one folder of which the files are there, with those by which git ignores and treats them; absent: all files.
    pub(crate) only: Option<String>,
}

impl Commit {
    /// The name of its folder: fixed length, whatever the repository is called.
    fn key(&self) -> String {
        let mut digest = Sha256::new();
        let only = self.only.as_deref();
        let parts = [self.repository.as_str(), self.base_ref.as_str(), self.base_oid.as_str()];
        for part in parts.into_iter().chain(only) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        hex::encode(&digest.finalize()[..16])
    }
}

/// The trees in the cache of folders.
pub(crate) struct TreeCache {
    folders: Arc<FolderCache>,
}

/// A checked-out tree. It stays on disk at least as long as somebody holds it.
#[derive(Clone)]
pub(crate) struct Tree(Arc<Folder>);

impl Tree {
    /// The files, with a small `.git` that is for steps only.
    pub(crate) fn files(&self) -> PathBuf {
        self.0.path().join(prepare::FILES)
    }

    /// The pristine repository: the commit's objects, and an index without any file times.
    pub(crate) fn git(&self) -> Git {
        Git::at(self.0.path().join(prepare::GIT))
    }
}

impl TreeCache {
    /// Keeps trees in a cache of folders.
    pub(crate) const fn over(folders: Arc<FolderCache>) -> Self {
        Self { folders }
    }

    /// The tree of a commit. `fetch` writes the commit's packfile to the path that it is given.
    pub(crate) async fn get<F, Fut>(&self, commit: &Commit, fetch: F) -> Result<Tree>
    where
        F: FnOnce(PathBuf) -> Fut,
        Fut: Future<Output = Result<()>>,
    {
        let about = format!("{} {}", commit.repository, commit.base_oid);
        let prepare = |dir: PathBuf| async move { prepare::prepare(commit, &dir, fetch).await };
        self.folders.get(commit.key(), &about, prepare).await.map(Tree)
    }
}
