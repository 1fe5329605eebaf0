//! Streams: what GraphQL cannot carry byte-exact, and what its subscriptions carry.
//!
//! Owns how a stream ends. One that came to its end ends in order; one that is cut off, because the gateway stops or
//! something fails, ends as a broken transfer, so that its reader knows and can go on from where it was. Invariant: memory
//! is bounded, however long the stream and however slow its reader.

pub(crate) mod archive;
pub(crate) mod blob;
pub(crate) mod events;
pub(crate) mod find;
pub(crate) mod lines;
pub(crate) mod log;
pub(crate) mod log_lines;
pub(crate) mod plain;
pub(crate) mod sealed;
pub(crate) mod selection;

use std::io;
use std::sync::Arc;

use ::events::rejection::Code;
use axum::body::{Body, Bytes};
use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;

/// How many streams may be open at once; each has a consumer at the broker.
const STREAMS: usize = 1_000;

/// How many more streams may be opened. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Permits(Arc<Semaphore>);

impl Default for Permits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS)))
    }
}

impl Permits {
    /// How many streams are open.
    pub(crate) fn taken(&self) -> usize {
        STREAMS.saturating_sub(self.0.available_permits())
    }

    /// Takes one, for as long as a stream is open.
    ///
    /// # Errors
    /// A rejection [`Code::Busy`] when there are none.
    pub(crate) fn take(&self) -> Result<OwnedSemaphorePermit, Fault> {
        self.0.clone().try_acquire_owned().map_err(|_| {
            Fault::new(Code::Busy, "too many streams are open", "Close some, or try again in a moment.")
        })
    }
}

/// A response's body that is cut off when the gateway stops. Holds the permit as long as it is read.
pub(crate) fn body(
    stream: impl Stream<Item = Result<Bytes, Fault>> + Send + 'static,
    stop: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> Body {
    let state = Some((Box::pin(stream), stop, permit));
    let cut = stream::unfold(state, |state| async move {
        let (mut stream, stop, permit) = state?;
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => Some(Err(io::Error::other("the gateway stops"))),
            next = stream.next() => next.map(|part| part.map_err(|fault| io::Error::other(fault.parts().0))),
        };
        match next? {
            Ok(bytes) => Some((Ok(bytes), Some((stream, stop, permit)))),
            Err(error) => Some((Err(error), None)),
        }
    });
    // Whoever packs it asks once more at the end.
    Body::from_stream(cut.fuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_was_closed_makes_room_for_another() {
        let permits = Permits::default();
        let mut open: Vec<_> = (0..STREAMS).map_while(|_| permits.take().ok()).collect();
        assert_eq!(open.len(), STREAMS);
        assert!(
            matches!(permits.take(), Err(Fault::Rejected { rejection, .. }) if rejection.code == Code::Busy)
        );
        open.pop();
        assert!(permits.take().is_ok());
    }
}
