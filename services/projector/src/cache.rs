//! Rows in memory: what a batch changes, and what later batches will probably want again.
//!
//! Owns how many rows are kept. Invariant: a row here is the row of the database with the changes of this batch, because
//! nobody else writes to the generation.

use std::collections::{HashMap, HashSet};

use crate::rows::Row;

/// How many rows of a table are kept before the older half goes.
const KEPT: usize = 30_000;

/// The rows of a table that events change one after the other.
pub(crate) struct Cached<R: Row> {
    recent: HashMap<R::Key, R>,
    older: HashMap<R::Key, R>,
    changed: HashSet<R::Key>,
}

/// The rows of a table that are written whole and never read.
pub(crate) struct Fresh<R: Row>(HashMap<R::Key, R>);

impl<R: Row> Default for Cached<R> {
    fn default() -> Self {
        Self { recent: HashMap::new(), older: HashMap::new(), changed: HashSet::new() }
    }
}

impl<R: Row> Cached<R> {
    /// Whether the row is here; a row that is wanted in this batch stays for it.
    pub(crate) fn want(&mut self, key: &R::Key) -> bool {
        if self.recent.contains_key(key) {
            return true;
        }
        self.older.remove(key).is_some_and(|row| self.recent.insert(key.clone(), row).is_none())
    }

    /// Takes in a row as the database has it.
    pub(crate) fn load(&mut self, row: R) {
        self.recent.insert(row.key(), row);
    }

    /// Puts a row in place of whatever stood there.
    pub(crate) fn put(&mut self, row: R) {
        let key = row.key();
        self.older.remove(&key);
        self.changed.insert(key.clone());
        self.recent.insert(key, row);
    }

    /// Whether there is such a row. It must have been wanted.
    pub(crate) fn has(&self, key: &R::Key) -> bool {
        self.recent.contains_key(key)
    }

    /// Forgets a row, which goes from the database as well. Whether there was one; it must have been wanted.
    pub(crate) fn forget(&mut self, key: &R::Key) -> bool {
        self.older.remove(key);
        self.changed.remove(key);
        self.recent.remove(key).is_some()
    }

    /// A row to change, if there is one.
    pub(crate) fn change(&mut self, key: &R::Key) -> Option<&mut R> {
        let row = self.recent.get_mut(key)?;
        if !self.changed.contains(key) {
            self.changed.insert(key.clone());
        }
        Some(row)
    }

    /// The rows that this batch changed.
    pub(crate) fn changed(&self) -> Vec<&R> {
        self.changed.iter().filter_map(|key| self.recent.get(key)).collect()
    }

    /// Everything that was changed is written.
    pub(crate) fn settle(&mut self) {
        self.changed.clear();
        if self.recent.len() > KEPT {
            self.older = std::mem::take(&mut self.recent);
        }
    }
}

impl<R: Row> Default for Fresh<R> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<R: Row> Fresh<R> {
    /// Puts a row in place of whatever stood there.
    pub(crate) fn put(&mut self, row: R) {
        self.0.insert(row.key(), row);
    }

    /// Forgets rows that were put.
    pub(crate) fn retain(&mut self, keep: impl Fn(&R) -> bool) {
        self.0.retain(|_, row| keep(row));
    }

    /// The rows that this batch made.
    pub(crate) fn changed(&self) -> Vec<&R> {
        self.0.values().collect()
    }

    /// Everything is written.
    pub(crate) fn settle(&mut self) {
        self.0.clear();
    }
}
