//! What is left unread of a request that was answered before its end.
//!
//! Owns reading it to its end, and throwing it away. A server that closes a connection on whoever still sends takes the
//! answer with it; and a client that has sent everything believes that it may use the connection again. Invariant: an
//! answer never waits for this.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes, HttpBody as _};
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::Response;
use futures::{Stream, StreamExt as _};
use tokio::runtime::Handle;

/// How much is read at most: more than anybody sends by mistake, and than waits in the buffers between two machines.
const BYTES: usize = 256 << 20;

/// How long that may take, and how long the sender may be silent.
const PATIENCE: Duration = Duration::from_secs(60);
const SILENCE: Duration = Duration::from_secs(5);

/// Lets a request be answered at any time.
pub(super) async fn read_to_end(request: Request, next: Next) -> Response {
    // Whoever waits to be told to send has sent nothing, and is told by the answer that nothing is wanted.
    if request.body().is_end_stream() || request.headers().contains_key(header::EXPECT) {
        return next.run(request).await;
    }
    next.run(request.map(|body| Body::from_stream(Unread(Some(body.into_data_stream()))))).await
}

/// A body that is read to its end, by whoever wants it or for nothing.
struct Unread(Option<BodyDataStream>);

impl Stream for Unread {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let part = ready!(body.poll_next_unpin(context));
        if !matches!(part, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(part)
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if let (Some(rest), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(PATIENCE, discard(rest)));
        }
    }
}

async fn discard(mut rest: BodyDataStream) {
    let mut left = BYTES;
    while let Ok(Some(Ok(part))) = tokio::time::timeout(SILENCE, rest.next()).await {
        match left.checked_sub(part.len()) {
            Some(less) => left = less,
            None => return,
        }
    }
}
