//! A message of a stream, as all readers see it.
//!
//! Owns the way from the client's message to ours. Never decodes more than it is asked to.

use async_nats::HeaderMap;
use async_nats::jetstream;
use bytes::Bytes;
use events::envelope::{self, Recorded};
use events::id::EventId;
use events::{Timestamp, Undecodable};

/// A stored message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its place in the stream.
    pub sequence: u64,
    /// Where it was published.
    pub subject: String,
    /// What it says beside the payload.
    pub(crate) headers: HeaderMap,
    /// The payload.
    pub payload: Bytes,
    /// When the broker stored it.
    pub stored: Timestamp,
}

impl Message {
    /// A header's value, if there is one.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.as_str())
    }

    /// Every header, in order.
    pub fn headers(&self) -> impl Iterator<Item = (String, String)> {
        self.headers.iter().flat_map(|(name, values)| {
            values.iter().map(move |value| (name.to_string(), value.as_str().to_owned()))
        })
    }

    /// Reads it as an event.
    ///
    /// # Errors
    /// When it is none, or one that this build does not know.
    pub fn event(&self) -> Result<Recorded, Undecodable> {
        Recorded::from_message(self.sequence, &self.subject, |name| self.header(name), &self.payload)
    }

    /// The form in which it is shown: an event document, or what can be said of a message that this build cannot read.
    pub fn document(&self) -> serde_json::Value {
        let shown = self.event().map_err(|error| error.to_string());
        let shown = shown.and_then(|event| {
            let document = event.document().and_then(serde_json::to_value);
            document.map_err(|error| error.to_string())
        });
        shown.unwrap_or_else(|why| {
            serde_json::json!({
                "sequence": self.sequence,
                "subject": self.subject,
                "unknown": why,
                "data": serde_json::from_slice::<serde_json::Value>(&self.payload).ok(),
            })
        })
    }

    /// The event's id, without reading its payload.
    pub fn event_id(&self) -> Option<EventId> {
        envelope::message_id(|name| self.header(name))
    }

    /// Takes over a message that a consumer delivered.
    pub(crate) fn delivered(message: jetstream::Message) -> Result<Delivered, async_nats::Error> {
        let info = message.info()?;
        let (number, pending) = (info.consumer_sequence, info.pending);
        let (sequence, stored) = (info.stream_sequence, info.published);
        let async_nats::Message { subject, headers, payload, .. } = message.message;
        let (subject, headers) = (subject.to_string(), headers.unwrap_or_default());
        let message = Self { sequence, subject, headers, payload, stored };
        Ok(Delivered { message, number, pending })
    }

    /// Takes over a message that was got directly.
    pub(crate) fn stored(message: jetstream::message::StreamMessage) -> Self {
        Self {
            sequence: message.sequence,
            subject: message.subject.to_string(),
            headers: message.headers,
            payload: message.payload,
            stored: message.time,
        }
    }
}

/// A message from a consumer.
pub(crate) struct Delivered {
    pub(crate) message: Message,
    /// Counts the consumer's deliveries from 1: a jump means that one was lost on the way.
    pub(crate) number: u64,
    /// How many more the consumer had when it sent this one.
    pub(crate) pending: u64,
}
