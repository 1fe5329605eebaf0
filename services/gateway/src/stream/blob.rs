//! Blobs: patches as `git apply` reads them, and archives as they were sent.

use std::pin::Pin;

use axum::body::Bytes;
use broker::{BlobError, Broker};
use events::blob::BlobRef;
use futures::stream::{self, Stream};
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::task::JoinHandle;

use crate::fault::Fault;

/// How much of one waits for a slow reader.
const BUFFER_BYTES: usize = 1024 * 1024;

/// The bytes of a blob. What comes after a fault, such as a wrong digest at the end, is an error, never an early end.
pub(crate) async fn read(
    broker: &Broker,
    blob: BlobRef,
) -> Result<impl Stream<Item = Result<Bytes, Fault>> + Send + use<>, Fault> {
    if !broker.has_blob(&blob).await? {
        return Err(BlobError::Missing(blob).into());
    }
    let (mut to, from) = tokio::io::duplex(BUFFER_BYTES);
    let broker = broker.clone();
    let copy = tokio::spawn(async move { broker.get_blob_to(&blob, &mut to).await });
    Ok(stream::try_unfold((from, Copy(copy)), |(mut from, mut copy)| async move {
        let part = copy.next(&mut from).await?;
        Ok((!part.is_empty()).then_some((part, (from, copy))))
    }))
}

/// The task that reads the blob; ends with its reader.
struct Copy(JoinHandle<Result<(), BlobError>>);

impl Copy {
    async fn next(&mut self, from: &mut DuplexStream) -> Result<Bytes, Fault> {
        let mut part = Vec::with_capacity(64 * 1024);
        let read = from.read_buf(&mut part).await.map_err(Fault::ours)?;
        if read == 0 {
            Pin::new(&mut self.0).await.map_err(Fault::ours)??;
        }
        Ok(part.into())
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.0.abort();
    }
}
