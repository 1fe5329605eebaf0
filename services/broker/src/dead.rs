//! Dead letters: what a consumer could not handle, kept with the reason.
//!
//! Owns the way in, the list, and the way back. A letter keeps the message as it was; handling it again is the consumer's,
//! which reads it from its own subject.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::{Config, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use bytes::Bytes;
use events::{Timestamp, subject};
use futures::StreamExt;

use crate::append::{Backoff, ReadError};
use crate::publish::{MESSAGE_ID, PublishError, identified};
use crate::streams::{DEAD, EVENTS, REPORTS};
use crate::{Broker, Message};

const STREAM: &str = "Dead-Stream";
const SEQUENCE: &str = "Dead-Sequence";
const SUBJECT: &str = "Dead-Subject";
const REASON: &str = "Dead-Reason";

/// A message that a consumer could not handle.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its place in the stream of dead letters: how it is named when it is to be handled again.
    pub id: u64,
    /// Who could not handle it.
    pub consumer: String,
    /// The stream that it came from.
    pub stream: String,
    /// Its place there.
    pub sequence: u64,
    /// Its subject there.
    pub subject: String,
    /// Why it could not be handled.
    pub reason: String,
    /// When it was set aside.
    pub time: Timestamp,
    /// Its payload.
    pub payload: Bytes,
}

/// Why a letter was not taken up again.
#[derive(Debug, thiserror::Error)]
pub enum RetryError {
    /// There is no such letter.
    #[error("there is no dead letter {0}: `patchwave dead list` shows the ones there are")]
    NotFound(u64),
    /// It cannot be read.
    #[error("the dead letter cannot be read")]
    Read(#[from] ReadError),
    /// It cannot be sent again.
    #[error("the dead letter cannot be sent again")]
    Publish(#[from] PublishError),
}

/// An event that is to be handled again. It comes again unless it is said to be done.
pub struct Retry {
    /// The event, as it stands in the log.
    pub event: Message,
    message: jetstream::Message,
}

impl Retry {
    /// Says that it was handled, or set aside anew. If the broker does not answer, it comes again.
    pub async fn done(&self) {
        if let Err(error) = self.message.double_ack().await {
            tracing::debug!(%error, "a retry comes again");
        }
    }
}

/// Events that a consumer is to handle again.
pub struct Retries {
    broker: Broker,
    consumer: String,
    messages: Option<Messages>,
    /// The one that is being looked up. Kept here, because whoever waits may stop waiting at any time, and the broker gives
    /// out a message again only after a while.
    taken: Option<jetstream::Message>,
}

impl Broker {
    /// Sets a message aside, once per consumer and message.
    ///
    /// # Errors
    /// When it is larger than a message may be.
    pub async fn bury(&self, consumer: &str, message: &Message, reason: &str) -> Result<(), PublishError> {
        self.bury_as("first", consumer, message, reason).await
    }

    /// Sets an event aside anew that could not be handled this time either, once per retry.
    ///
    /// # Errors
    /// When it is larger than a message may be.
    pub async fn bury_again(&self, consumer: &str, retry: &Retry, reason: &str) -> Result<(), PublishError> {
        // An id of its own: the letter that was retried may be so young that its id would make this one a repetition.
        let sequence =
            Message::delivered(retry.message.clone()).map_or(0, |delivered| delivered.message.sequence);
        self.bury_as(&format!("retry-{sequence}"), consumer, &retry.event, reason).await
    }

    async fn bury_as(
        &self,
        occasion: &str,
        consumer: &str,
        message: &Message,
        reason: &str,
    ) -> Result<(), PublishError> {
        let stream = if message.subject.starts_with("report.") { REPORTS } else { EVENTS };
        let mut headers = identified(&format!("{consumer}.{stream}.{}.{occasion}", message.sequence));
        for (name, value) in message.headers().filter(|(name, _)| !name.starts_with("Nats-")) {
            headers.append(name.as_str(), value.as_str());
        }
        headers.insert(STREAM, stream);
        headers.insert(SEQUENCE, message.sequence.to_string());
        headers.insert(SUBJECT, message.subject.as_str());
        headers.insert(REASON, reason.replace(['\r', '\n'], " "));
        self.publish_surely(&subject::dead(consumer), headers, message.payload.clone()).await.map(drop)
    }

    /// Every dead letter, oldest first.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn dead_letters(&self) -> Result<Vec<DeadLetter>, ReadError> {
        Ok(self.get_all(DEAD, "dead.>").await?.iter().map(letter).collect())
    }

    /// Sends a letter's message to be handled again and removes the letter.
    ///
    /// A report goes back to the scheduler's queue; an event goes to the consumer that could not handle it.
    ///
    /// # Errors
    /// When there is no such letter, or the broker does not answer.
    pub async fn retry_dead(&self, id: u64) -> Result<DeadLetter, RetryError> {
        let message = self.get(DEAD, id).await?.filter(|message| message.subject.starts_with("dead."));
        let message = message.ok_or(RetryError::NotFound(id))?;
        let letter = letter(&message);
        let to = if letter.stream == REPORTS {
            letter.subject.clone()
        } else {
            format!("retry.{}", letter.consumer)
        };
        // An id of its own: the first delivery's would make this one a repetition.
        let mut headers = identified(&format!("retry.{id}"));
        for (name, value) in message.headers().filter(|(name, _)| name != MESSAGE_ID) {
            headers.append(name.as_str(), value.as_str());
        }
        self.publish_surely(&to, headers, message.payload.clone()).await?;
        self.stream(DEAD).await?.delete_message(id).await.map_err(ReadError::from_source)?;
        Ok(letter)
    }

    /// The events that a consumer is to handle again.
    pub fn retries(&self, consumer: &str) -> Retries {
        Retries { broker: self.clone(), consumer: consumer.to_owned(), messages: None, taken: None }
    }
}

fn letter(message: &Message) -> DeadLetter {
    let header = |name: &str| message.header(name).unwrap_or_default().to_owned();
    DeadLetter {
        id: message.sequence,
        consumer: message.subject.strip_prefix("dead.").unwrap_or_default().to_owned(),
        stream: header(STREAM),
        sequence: header(SEQUENCE).parse().unwrap_or_default(),
        subject: header(SUBJECT),
        reason: header(REASON),
        time: message.stored,
        payload: message.payload.clone(),
    }
}

impl Retries {
    /// Waits for an event that is to be handled again. Safe to cancel.
    pub async fn next(&mut self) -> Retry {
        let mut wait = Backoff::new();
        loop {
            let message = match &self.taken {
                Some(message) => message.clone(),
                None => {
                    self.take(&mut wait).await;
                    continue;
                }
            };
            let sequence =
                Message::delivered(message.clone()).map(|delivered| letter(&delivered.message).sequence);
            match self.broker.event_at(sequence.unwrap_or_default()).await {
                Ok(Some(event)) => {
                    self.taken = None;
                    return Retry { event, message };
                }
                Ok(None) => {
                    tracing::warn!("a retry names no event of the log and is dropped");
                    if let Err(error) = message.ack().await {
                        tracing::debug!(%error, "a retry comes again");
                    }
                    self.taken = None;
                }
                Err(error) => wait.pause(&error).await,
            }
        }
    }

    /// Waits for the next message.
    async fn take(&mut self, wait: &mut Backoff) {
        let messages = match &mut self.messages {
            Some(messages) => messages,
            None => match self.open().await {
                Ok(messages) => self.messages.insert(messages),
                Err(error) => return wait.pause(&error).await,
            },
        };
        match messages.next().await {
            Some(Ok(message)) => self.taken = Some(message),
            _ => self.messages = None,
        }
    }

    async fn open(&self) -> Result<Messages, ReadError> {
        let config = Config {
            durable_name: Some(self.consumer.clone()),
            filter_subject: format!("retry.{}", self.consumer),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: Duration::from_secs(30),
            ..Config::default()
        };
        let stream = self.broker.stream(DEAD).await?;
        let consumer = stream.create_consumer(config).await.map_err(ReadError::from_source)?;
        consumer
            .stream()
            .heartbeat(Duration::from_secs(5))
            .expires(Duration::from_secs(60))
            .messages()
            .await
            .map_err(ReadError::from_source)
    }
}
