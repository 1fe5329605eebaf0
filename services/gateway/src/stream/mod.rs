//! Streams: what GraphQL cannot carry byte-exact.
//!
//! Owns how a stream ends. One that came to its end ends in order; one that is cut off, because the gateway stops or
//! something fails, ends as a broken transfer, so that its reader knows and can go on from where it was. Invariant: memory
//! is bounded, however long the stream and however slow its reader.

pub(crate) mod archive;
pub(crate) mod blob;
pub(crate) mod events;
pub(crate) mod log;
pub(crate) mod plain;
pub(crate) mod sealed;

use std::io;

use axum::body::{Body, Bytes};
use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;

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
