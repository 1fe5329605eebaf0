//! The last file of a cached folder: that it is complete, and how large it is.
//!
//! Owns that file alone. Nothing in the cache is synced to disk, so a folder is worth nothing after a power failure: the
//! file says of which boot it is.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

const COMPLETE: &str = "complete";

/// What it says.
#[derive(Serialize, Deserialize)]
struct Complete {
    /// What is in the folder, for operators who look into the cache.
    about: String,
    bytes: u64,
    boot: String,
}

/// Measures a folder and declares it complete. Returns how many bytes it takes on disk.
pub(super) async fn write(dir: &Path, about: &str) -> Result<u64> {
    let (dir, about) = (dir.to_owned(), about.to_owned());
    tokio::task::spawn_blocking(move || {
        let bytes = disk_bytes(&dir)?;
        let complete = Complete { about, bytes, boot: boot()? };
        std::fs::write(dir.join(COMPLETE), serde_json::to_vec(&complete)?)?;
        Ok(bytes)
    })
    .await?
}

/// When a folder was used last and how large it is; none if it is not complete, or not of this boot.
pub(super) fn read(dir: &Path) -> Option<(SystemTime, u64)> {
    let path = dir.join(COMPLETE);
    let complete: Complete = serde_json::from_slice(&std::fs::read(&path).ok()?).ok()?;
    let used = path.metadata().and_then(|meta| meta.modified()).ok()?;
    (complete.boot == boot().ok()?).then_some((used, complete.bytes))
}

/// Notes the use for the next process. A failure costs a better choice of what makes room, and nothing else.
pub(super) fn mark_used(dir: &Path) {
    let file = std::fs::File::options().append(true).open(dir.join(COMPLETE));
    if let Err(error) = file.and_then(|file| file.set_modified(SystemTime::now())) {
        tracing::debug!(%error, "the use of a folder could not be noted");
    }
}

/// Identifies the boot of this host.
fn boot() -> Result<String> {
    let id =
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("this host has no boot id")?;
    Ok(id.trim().to_owned())
}

/// The space that a folder takes, without following links.
fn disk_bytes(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let mut total = 0;
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).context("cannot measure a folder")? {
            let entry = entry?;
            let meta = entry.metadata()?;
            // Hard links count once for each name: too much rather than too little.
            total += meta.blocks() * 512;
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(total)
}
