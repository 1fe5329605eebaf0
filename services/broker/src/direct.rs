//! Direct gets: reading stored messages by subject or sequence without a consumer.
//!
//! Owns the one request that the client has no call for: a batch of the messages that match a filter.

use std::time::Duration;

use async_nats::StatusCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use bytes::Bytes;
use futures::StreamExt;

use crate::{Broker, Message, ReadError};

/// How many messages one request may bring. A history longer than that takes another request.
const BATCH: usize = 1_000;

/// How long the next message of a batch may take.
const PATIENCE: Duration = Duration::from_secs(5);

impl Broker {
    /// A handle on a stream; makes no request.
    pub(crate) async fn stream(&self, name: &str) -> Result<Stream<()>, ReadError> {
        self.jetstream.get_stream_no_info(name).await.map_err(ReadError::from_source)
    }

    /// The message at a sequence, if there is one.
    pub(crate) async fn get(&self, stream: &str, sequence: u64) -> Result<Option<Message>, ReadError> {
        found(self.stream(stream).await?.direct_get(sequence).await)
    }

    /// The newest message under a subject or filter, if there is one.
    pub(crate) async fn get_last(&self, stream: &str, filter: &str) -> Result<Option<Message>, ReadError> {
        found(self.stream(stream).await?.direct_get_last_for_subject(filter).await)
    }

    /// Every message under a filter, oldest first.
    pub(crate) async fn get_all(&self, stream: &str, filter: &str) -> Result<Vec<Message>, ReadError> {
        let mut messages: Vec<Message> = Vec::new();
        loop {
            let from = messages.last().map_or(1, |last| last.sequence + 1);
            let (page, whole) = self.get_page(stream, filter, from).await?;
            messages.extend(page);
            if whole {
                return Ok(messages);
            }
        }
    }

    /// Up to [`BATCH`] messages under a filter from a sequence on, and whether these are all.
    async fn get_page(
        &self,
        stream: &str,
        filter: &str,
        from: u64,
    ) -> Result<(Vec<Message>, bool), ReadError> {
        let inbox = self.client.new_inbox();
        let mut replies = self.client.subscribe(inbox.clone()).await.map_err(ReadError::from_source)?;
        let request = serde_json::json!({ "seq": from, "next_by_subj": filter, "batch": BATCH });
        let subject = format!("$JS.API.DIRECT.GET.{stream}");
        let payload = Bytes::from(request.to_string());
        self.client.publish_with_reply(subject, inbox, payload).await.map_err(ReadError::from_source)?;
        let mut page = Vec::new();
        loop {
            let reply =
                tokio::time::timeout(PATIENCE, replies.next()).await.map_err(ReadError::from_source)?;
            let reply = reply.ok_or(ReadError::Closed)?;
            match reply.status {
                Some(StatusCode::NOT_FOUND) => return Ok((page, true)),
                // The end of the batch: 204, with how many more there are.
                Some(status) if status.as_u16() == 204 => {
                    let pending = reply.headers.as_ref().and_then(|h| h.get("Nats-Num-Pending"));
                    let whole = pending.is_none_or(|pending| pending.as_str() == "0");
                    return Ok((page, whole));
                }
                Some(StatusCode::NO_RESPONDERS) => return Err(ReadError::Unavailable),
                Some(status) => return Err(ReadError::Refused(status.to_string())),
                None => {
                    let message = StreamMessage::try_from(reply).map_err(ReadError::from_source)?;
                    page.push(Message::stored(message));
                }
            }
        }
    }
}

fn found(
    result: Result<StreamMessage, async_nats::jetstream::stream::DirectGetError>,
) -> Result<Option<Message>, ReadError> {
    match result {
        Ok(message) => Ok(Some(Message::stored(message))),
        Err(error) if error.kind() == DirectGetErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReadError::from_source(error)),
    }
}
