//! Reading a live log to its end, together with what was sealed of it before.
//!
//! Owns the order: chunks come once and by number, whichever of the two holds them.

use broker::sealed_log::{SealedLog, SealedLogError};
use broker::{Broker, FollowError, LogFollower};
use events::beat::Running;
use events::log::Chunk;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};

/// The chunks of an attempt that nothing more is expected of.
pub(crate) struct Chunks {
    sealed: BoxStream<'static, Result<Chunk, SealedLogError>>,
    live: Live,
    next_sealed: Option<Chunk>,
    next_live: Option<Chunk>,
}

/// A live log, read up to what is its end now.
struct Live {
    follower: LogFollower,
    ready: std::vec::IntoIter<Chunk>,
    ended: bool,
    through: Option<u64>,
}

/// Why the chunks cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The live log.
    #[error("the live log cannot be read")]
    Live(#[from] FollowError),
    /// What was sealed before.
    #[error("the earlier seal cannot be read")]
    Sealed(#[from] SealedLogError),
}

impl Chunks {
    /// Reads an attempt's chunks, from the earlier seal, if there is one, and from what came since.
    pub(crate) async fn open(
        broker: &Broker,
        attempt: &Running,
        sealed: Option<&SealedLog>,
    ) -> Result<Self, ReadError> {
        // Without a gap in the seal nothing up to its end is of interest any more; with one, what fills it may come.
        let after = sealed.filter(|log| log.last_chunk() == log.chunks()).map_or(0, SealedLog::chunks);
        let follower = broker.follow_log(attempt, after);
        let live = Live { follower, ready: Vec::new().into_iter(), ended: false, through: None };
        let sealed = sealed.map_or_else(|| futures::stream::empty().boxed(), |log| log.chunks_after(0));
        let mut chunks = Self { sealed, live, next_sealed: None, next_live: None };
        chunks.next_sealed = chunks.sealed.try_next().await?;
        chunks.next_live = chunks.live.next().await?;
        Ok(chunks)
    }

    /// The next chunk by number; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, ReadError> {
        let (sealed, live) = (number(&self.next_sealed), number(&self.next_live));
        if sealed == live && live.is_some() {
            self.next_live = self.live.next().await?;
        }
        let from_live = match (sealed, live) {
            (Some(sealed), Some(live)) => live < sealed,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if from_live {
            let next = self.live.next().await?;
            Ok(std::mem::replace(&mut self.next_live, next))
        } else {
            let next = self.sealed.try_next().await?;
            Ok(std::mem::replace(&mut self.next_sealed, next))
        }
    }

    /// Up to where the live log was read; absent when there was none.
    pub(crate) const fn through(&self) -> Option<u64> {
        self.live.through
    }
}

fn number(chunk: &Option<Chunk>) -> Option<u64> {
    chunk.as_ref().map(|chunk| chunk.number)
}

impl Live {
    async fn next(&mut self) -> Result<Option<Chunk>, FollowError> {
        loop {
            if let Some(chunk) = self.ready.next() {
                return Ok(Some(chunk));
            }
            if self.ended {
                return Ok(None);
            }
            let batch = self.follower.next().await?;
            self.through = (batch.through > 0).then_some(batch.through);
            let mut chunks = batch.chunks;
            if batch.pending == 0 {
                // Nothing more is on its way: a gap stays one.
                let rest = self.follower.rest();
                self.ended = rest.pending == 0;
                chunks.extend(rest.chunks);
            }
            self.ready = chunks.into_iter();
        }
    }
}
