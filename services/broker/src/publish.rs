//! Publishing what is not an event: messages whose repetition the broker recognises by their id.
//!
//! Owns the wait for a definite answer. A publish that was not answered is sent again with the same id.

use async_nats::HeaderMap;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;

use crate::Broker;
use crate::append::Backoff;

/// Why a message is not stored.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The message is larger than the broker takes.
    #[error("the message on `{subject}` of {bytes} bytes is larger than the broker takes")]
    TooLarge {
        /// Where it would have gone.
        subject: String,
        /// Its size.
        bytes: usize,
    },
    /// Something stands where nothing was expected.
    #[error("the subject `{0}` holds a message already")]
    Occupied(String),
    /// It cannot be written as JSON.
    #[error("the message cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Headers with nothing but an id by which the broker knows a repetition.
pub(crate) fn identified(id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(MESSAGE_ID, id);
    headers
}

impl Broker {
    /// Publishes until the broker says what came of it.
    pub(crate) async fn publish_surely(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAck, PublishError> {
        let mut wait = Backoff::new();
        loop {
            let sent = self
                .jetstream
                .publish_with_headers(subject.to_owned(), headers.clone(), payload.clone())
                .await;
            let error = match sent {
                Ok(ack) => match ack.await {
                    Ok(ack) => return Ok(ack),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match error.kind() {
                PublishErrorKind::MaxPayloadExceeded => {
                    return Err(PublishError::TooLarge { subject: subject.to_owned(), bytes: payload.len() });
                }
                PublishErrorKind::WrongLastSequence => {
                    return Err(PublishError::Occupied(subject.to_owned()));
                }
                _ => wait.pause(&error).await,
            }
        }
    }
}
