//! The disk under the streams.
//!
//! Owns one observation: that it was full and has room again. nats-server gives a stream up for good when one of its
//! writes meets a full disk, and takes no message for it until it is started anew.

use std::path::Path;
use std::time::Duration;

/// How often to look: the system tells nobody when a disk fills, and asking costs a call.
const LOOK: Duration = Duration::from_secs(1);

/// With less than this, the next blob's chunk may not fit.
const FULL_BYTES: u64 = 2 * 1024 * 1024;

/// With this much, it is worth going on.
const ROOM_BYTES: u64 = 16 * 1024 * 1024;

/// Returns when the disk was full and has room again.
pub(super) async fn was_full(folder: &Path) {
    while free_bytes(folder) >= FULL_BYTES {
        tokio::time::sleep(LOOK).await;
    }
    tracing::warn!(
        folder = %folder.display(),
        "the disk under the streams is full: nothing can be stored until some of it is freed"
    );
    while free_bytes(folder) < ROOM_BYTES {
        tokio::time::sleep(LOOK).await;
    }
}

/// How large the disk under a folder is. One that cannot be asked is not taken for a small one.
pub fn disk_bytes(folder: &Path) -> u64 {
    let folder = folder.ancestors().find(|folder| folder.exists()).unwrap_or(folder);
    rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_blocks.saturating_mul(disk.f_frsize))
}

/// A disk that cannot be asked is not taken for a full one.
fn free_bytes(folder: &Path) -> u64 {
    rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}
