//! Snapshots: what a fold knew at a place in the log.
//!
//! Owns the file. A snapshot is a cache: one that cannot be read is as good as none, and its holder reads the log from the
//! start. It is replaced in one step, so that a crash leaves the old one or the new one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::append::Checkpoint;

/// A service's snapshot file.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    /// Another format means another build: its state may have another meaning.
    format: String,
}

#[derive(Serialize, Deserialize)]
struct Content<S> {
    format: String,
    checkpoint: Checkpoint,
    state: S,
}

impl SnapshotFile {
    /// The snapshot of a service in a folder.
    pub fn new(folder: &Path, service: &str) -> Self {
        let path = folder.join(format!("{service}.snapshot.json"));
        Self { path, format: format!("{service} {}", env!("CARGO_PKG_VERSION")) }
    }

    /// Reads the snapshot, if there is one that this build can use.
    pub fn load<S: DeserializeOwned>(&self) -> Option<(Checkpoint, S)> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the snapshot cannot be read; reading the whole log");
                return None;
            }
        };
        match serde_json::from_slice::<Content<S>>(&text) {
            Ok(content) if content.format == self.format => Some((content.checkpoint, content.state)),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the snapshot is of no use; reading the whole log");
                None
            }
        }
    }

    /// Replaces the snapshot.
    ///
    /// # Errors
    /// When the file cannot be written; the old one stands then.
    pub fn save<S: Serialize>(&self, checkpoint: &Checkpoint, state: &S) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let content = Content { format: self.format.clone(), checkpoint: *checkpoint, state };
        let text = serde_json::to_vec(&content).map_err(io::Error::other)?;
        let next = self.path.with_extension("next");
        let mut file = File::create(&next)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&next, &self.path)?;
        File::open(folder)?.sync_all()
    }
}
