//! A part of a sealed log, by bytes.
//!
//! Owns going on where it was once the broker is there again. Reads the frames that the part stands in and no others.

use std::ops::Range;

use axum::body::Bytes;
use broker::{SealedLog, SealedLogError};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};

use super::log::{REOPEN_AFTER, REOPENINGS, is_passing};
use crate::fault::Fault;

struct Reader {
    log: SealedLog,
    bytes: BoxStream<'static, Result<Bytes, SealedLogError>>,
    /// What is still to come.
    left: Range<u64>,
    reopened: u32,
}

/// The bytes of a part that is within the log.
pub(crate) fn read(
    log: SealedLog,
    part: Range<u64>,
) -> impl Stream<Item = Result<Bytes, Fault>> + Send + use<> {
    let reader = Reader { bytes: log.range(part.clone()), log, left: part, reopened: 0 };
    stream::try_unfold(reader, |mut reader| async move {
        let part = reader.next().await?;
        Ok(part.map(|part| (part, reader)))
    })
}

impl Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            match self.bytes.next().await {
                None => return Ok(None),
                Some(Ok(part)) => {
                    self.left.start += part.len() as u64;
                    return Ok(Some(part));
                }
                Some(Err(error)) if is_passing(&error) && self.reopened < REOPENINGS => {
                    self.reopened += 1;
                    tokio::time::sleep(REOPEN_AFTER).await;
                    self.bytes = self.log.range(self.left.clone());
                }
                Some(Err(error)) => return Err(error.into()),
            }
        }
    }
}
