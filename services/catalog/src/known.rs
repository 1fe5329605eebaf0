//! What is known of a repository's newest commits: their packs and the roots of workspaces in them, so that nothing is made
//! twice.
//!
//! Owns a small file for each repository, beside its mirror. It is a cache: one that cannot be read is as good as none, and
//! what it names is asked for at the broker before it is used.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use events::blob::BlobRef;
use events::git::{BranchRef, Oid};
use serde::{Deserialize, Serialize};

/// What a commit is good for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// Its pack.
    Pack(BlobRef),
    /// Nothing: a `.batchignore` keeps the repository out.
    Ignored,
    /// Jobs, once it is packed: it was looked at for a preview alone.
    Unpacked,
}

/// The newest commit of each branch that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    branches: BTreeMap<BranchRef, (Oid, Source)>,
    /// The folders that hold a file of a name, for the commits above.
    #[serde(default)]
    roots: BTreeMap<Oid, BTreeMap<String, Vec<String>>>,
}

impl Known {
    /// Reads the file, if there is one that makes sense.
    pub(crate) fn load(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        let next = path.with_extension("next");
        let text = serde_json::to_vec(self)?;
        let written = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    /// What is known of a commit, whichever branch it was on.
    pub(crate) fn get(&self, oid: &Oid) -> Option<&Source> {
        let known = self.branches.values().filter(|(known, _)| known == oid).map(|(_, source)| source);
        known.max_by_key(|source| **source != Source::Unpacked)
    }

    /// Notes the newest commit of a branch. Says whether that is news.
    pub(crate) fn set(&mut self, branch: &BranchRef, oid: &Oid, source: &Source) -> bool {
        let new = (oid.clone(), source.clone());
        let is_news = self.branches.insert(branch.clone(), new.clone()).as_ref() != Some(&new);
        if is_news {
            let Self { branches, roots } = self;
            roots.retain(|oid, _| branches.values().any(|(known, _)| known == oid));
        }
        is_news
    }

    /// The folders of a commit that hold a file of this name, if that was looked for.
    pub(crate) fn roots(&self, oid: &Oid, file: &str) -> Option<&[String]> {
        self.roots.get(oid)?.get(file).map(Vec::as_slice)
    }

    /// Notes them.
    pub(crate) fn set_roots(&mut self, oid: &Oid, file: &str, roots: &[String]) {
        self.roots.entry(oid.clone()).or_default().insert(file.to_owned(), roots.to_vec());
    }
}

/// Marks a repository as used. A failure costs a cache that is dropped too early, and nothing else.
pub(crate) fn mark_used(path: &Path) -> io::Result<()> {
    std::fs::File::options().append(true).open(path)?.set_modified(std::time::SystemTime::now())
}
