//! The shipper: from the spool to the broker.
//!
//! Owns how far the broker has the log. It reads the spool and nothing else, so that what waits for the broker waits on
//! disk: the memory is bounded by the chunks under way, and a step never waits for the broker. Invariant: the place that is
//! noted down is behind stored chunks only.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use broker::{Broker, Connection};
use events::beat::Running;
use events::id::RunnerId;
use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::sync::watch;

use super::spool::{self, Place};

/// How many chunks may be under way: 4 MiB at most.
const IN_FLIGHT: usize = 64;

/// How far the spool is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let first = self.written.wait_for(|written| written.complete || written.end != Place::START).await;
        if first.context("the log's writer is gone")?.end == Place::START {
            return Ok(());
        }
        let mut sent = Sent::open(&spool, self.found).context("the log's spool cannot be read")?;
        let mut connection = self.broker.connection();
        loop {
            // Chunks that wait for a broker that is away belong on disk, not into the client's memory.
            if connection.wait_for(|connection| connection.up).await.is_err() {
                anyhow::bail!("the connection to the broker is closed for good");
            }
            if let Stretch::Complete = self.stretch(&mut sent, &mut connection).await? {
                return Ok(());
            }
        }
    }

    async fn stretch(
        &mut self,
        sent: &mut Sent,
        connection: &mut watch::Receiver<Connection>,
    ) -> Result<Stretch> {
        let mut under_way = FuturesOrdered::new();
        let mut next = sent.stored;
        loop {
            let written = *self.written.borrow_and_update();
            while next.chunks < written.end.chunks && under_way.len() < IN_FLIGHT {
                let (chunk, after) = spool::read(&sent.file, next)?.context("the log's spool is damaged")?;
                let sending = self.broker.send_chunk(&self.runner, &self.attempt, &chunk).await;
                under_way.push_back(async move { sending.stored().await.map(|()| after) });
                next = after;
            }
            if under_way.is_empty() && written.complete && next == written.end {
                return Ok(Stretch::Complete);
            }
            tokio::select! {
                Some(stored) = under_way.next() => sent.advance(stored?),
                changed = self.written.changed(), if under_way.len() < IN_FLIGHT && !written.complete => {
                    changed.context("the log's writer is gone")?;
                }
                _ = connection.changed() => return Ok(Stretch::Reconnected),
            }
        }
    }
}

/// How far the broker has the log.
struct Sent {
    file: File,
    stored: Place,
}

impl Sent {
    fn open(spool: &Path, found: Place) -> std::io::Result<Self> {
        let file = File::options().read(true).write(true).open(spool)?;
        let stored = spool::stored(&file)?;
        // A note may outlive a power failure that the records before it did not.
        let stored = if stored.chunks > found.chunks { Place::START } else { stored };
        Ok(Self { file, stored })
    }

    fn advance(&mut self, stored: Place) {
        self.stored = stored;
        if let Err(error) = spool::note_stored(&self.file, stored) {
            tracing::debug!(%error, "how far the log is sent cannot be noted");
        }
    }
}
