//! The machine that the scheduler runs on: its clocks and its disk.
//!
//! Owns how time passes in a history, and the one snapshot. A history has a thread to itself, and so has its machine.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::time::Duration;

use broker::Checkpoint;
use events::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

thread_local! {
    static CLOCK: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    static DISK: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The clock that never goes back.
pub(crate) fn now() -> Instant {
    let (start, passed) = CLOCK.get().expect("a history has begun");
    start + passed
}

/// The clock on the wall.
pub(crate) fn time() -> Timestamp {
    let (_, passed) = CLOCK.get().expect("a history has begun");
    chrono::DateTime::UNIX_EPOCH + passed
}

/// Lets time pass.
pub(super) fn pass(time: Duration) {
    let (start, passed) = CLOCK.get().expect("a history has begun");
    CLOCK.set(Some((start, passed + time)));
}

/// A new machine: nothing is on its disk, and its clocks begin.
pub(super) fn begin() {
    CLOCK.set(Some((Instant::now(), Duration::from_secs(1_000_000))));
    wipe();
}

/// Takes away what is on the disk.
pub(super) fn wipe() {
    DISK.take();
}

/// The one snapshot of a history.
pub(crate) struct SnapshotFile;

impl SnapshotFile {
    pub(crate) fn new(_folder: &Path, _service: &str) -> Self {
        Self
    }

    pub(crate) fn load<S: DeserializeOwned>(&self) -> Option<(Checkpoint, S)> {
        DISK.with_borrow(|disk| {
            disk.as_ref().map(|text| serde_json::from_slice(text).expect("it was saved so"))
        })
    }

    pub(crate) fn save<S: Serialize>(&self, checkpoint: &Checkpoint, state: &S) -> std::io::Result<()> {
        let text = serde_json::to_vec(&(checkpoint, state))?;
        DISK.set(Some(text));
        Ok(())
    }
}
