//! The shipper: from the spool to the broker.
//!
//! Owns how far the broker has the log. It reads the spool and nothing else, so that what waits for the broker waits on
//! disk: the memory is bounded by the chunks under way, and a step never waits for the broker. Invariant: the place that is
//! noted down is behind stored chunks only.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use broker::{Broker, Connection};
use events::beat::Running;
use events::id::RunnerId;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::sync::watch;

use super::spool::{Place, read};

/// How many chunks may be under way: 4 MiB at most.
const IN_FLIGHT: usize = 64;

/// How far the spool is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) end: Place,
    /// Nothing more will come.
    pub(super) complete: bool,
}

/// Sends one attempt's log.
pub(super) struct Shipper {
    pub(super) broker: Broker,
    pub(super) runner: RunnerId,
    pub(super) attempt: Running,
    /// What the spool held when it was opened.
    pub(super) found: Place,
    pub(super) written: watch::Receiver<Written>,
}

/// What stopped a stretch of sending.
enum Stretch {
    Complete,
    /// The connection is another one: what was under way may be lost.
    Reconnected,
}

impl Shipper {
    /// Sends what the broker does not have yet, until the spool is complete and all of it is stored.
    pub(super) async fn run(mut self, spool: PathBuf) -> Result<()> {
        let file = File::open(&spool).context("the log's spool cannot be read")?;
        let mut note = Note::open(&spool.with_extension("sent")).context("the log's spool cannot be read")?;
        if note.stored.chunks > self.found.chunks {
            // It outlived a power failure that the records before it did not.
            note.stored = Place::default();
        }
        let mut connection = self.broker.connection();
        loop {
            // Chunks that wait for a broker that is away belong on disk, not into the client's memory.
            if connection.wait_for(|connection| connection.up).await.is_err() {
                anyhow::bail!("the connection to the broker is closed for good");
            }
            if let Stretch::Complete = self.stretch(&file, &mut note, &mut connection).await? {
                return Ok(());
            }
        }
    }

    async fn stretch(
        &mut self,
        file: &File,
        note: &mut Note,
        connection: &mut watch::Receiver<Connection>,
    ) -> Result<Stretch> {
        let mut under_way = FuturesOrdered::new();
        let mut next = note.stored;
        loop {
            let written = *self.written.borrow_and_update();
            while next.chunks < written.end.chunks && under_way.len() < IN_FLIGHT {
                let (chunk, after) = read(file, next)?.context("the log's spool is damaged")?;
                let sending = self.broker.send_chunk(&self.runner, &self.attempt, &chunk).await;
                under_way.push_back(async move { sending.stored().await.map(|()| after) });
                next = after;
            }
            if under_way.is_empty() && written.complete && next == written.end {
                return Ok(Stretch::Complete);
            }
            tokio::select! {
                Some(stored) = under_way.next() => note.advance(stored?),
                changed = self.written.changed(), if under_way.len() < IN_FLIGHT && !written.complete => {
                    changed.context("the log's writer is gone")?;
                }
                _ = connection.changed() => return Ok(Stretch::Reconnected),
            }
        }
    }
}

/// How far the broker has the log, for the next process. A note that is behind costs chunks that are sent twice.
struct Note {
    file: File,
    stored: Place,
}

impl Note {
    fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = [0; 16];
        let stored = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => {
                let [chunks, offset] = [&bytes[..8], &bytes[8..]]
                    .map(|half| half.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)));
                Place { chunks, offset }
            }
            Err(_) => Place::default(),
        };
        Ok(Self { file, stored })
    }

    fn advance(&mut self, stored: Place) {
        self.stored = stored;
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&stored.chunks.to_le_bytes());
        bytes[8..].copy_from_slice(&stored.offset.to_le_bytes());
        if let Err(error) = self.file.write_all_at(&bytes, 0) {
            tracing::debug!(%error, "how far the log is sent cannot be noted");
        }
    }
}
