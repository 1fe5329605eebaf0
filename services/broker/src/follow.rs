//! Following a stream: every message from a place on, in order, without a gap.
//!
//! Owns the consumer behind it, which is thrown away and made again whenever it may have missed something. Never
//! acknowledges: where a follower stands is its reader's to keep.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use async_nats::jetstream::stream::ConsumerErrorKind;
use events::Timestamp;
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;

use crate::append::{Backoff, chain};
use crate::message::Delivered;
use crate::streams::EVENTS;
use crate::{Broker, Connection, Message};

/// How often the server says that it is there while there is nothing to deliver.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How long one pull stays open.
const EXPIRES: Duration = Duration::from_secs(30);

/// How long the server keeps a consumer that nobody reads.
const INACTIVE: Duration = Duration::from_secs(20);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the message after this sequence; 0: with the first.
    After(u64),
    /// With the first message that was stored at this time or later.
    Time(Timestamp),
    /// With the newest message of each subject.
    LastOfEach,
}

/// What to follow.
pub(crate) struct Follow {
    pub(crate) stream: &'static str,
    pub(crate) filters: Vec<String>,
    pub(crate) start: Start,
    /// The most messages to ask for at once: bounds what waits in memory.
    pub(crate) batch: usize,
}

/// Messages that came together.
#[derive(Debug)]
pub struct Batch {
    /// In order; empty only to say that there is nothing to read at the start.
    pub messages: Vec<Message>,
    /// How many more there were when the last of these was sent; 0: this is the end for now.
    pub pending: u64,
}

/// Why it cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The stream is gone, and with it what was followed.
    #[error("the broker has no {0} stream any more: was its data removed? Restore it and start again")]
    StreamMissing(&'static str),
}

/// A reader of a stream.
pub struct Follower {
    broker: Broker,
    follow: Follow,
    connection: watch::Receiver<Connection>,
    messages: Option<Messages>,
    /// The last sequence that was handed out.
    seen: u64,
    /// How many messages the consumer has delivered.
    deliveries: u64,
    caught_up: bool,
}

impl Broker {
    /// Follows the events under any of these filters.
    pub fn follow_events(&self, filters: &[String], start: Start) -> Follower {
        self.follow(Follow { stream: EVENTS, filters: filters.to_vec(), start, batch: 2_000 })
    }

    /// Follows the events under any of these filters in order to hand them on. Its reader may be one of many, and slow: few
    /// messages wait in memory for each.
    pub fn relay_events(&self, filters: &[String], start: Start) -> Follower {
        self.follow(Follow { stream: EVENTS, filters: filters.to_vec(), start, batch: 100 })
    }

    pub(crate) fn follow(&self, follow: Follow) -> Follower {
        let seen = match follow.start {
            Start::After(sequence) => sequence,
            Start::Time(_) | Start::LastOfEach => 0,
        };
        let connection = self.connection();
        Follower {
            broker: self.clone(),
            follow,
            connection,
            messages: None,
            seen,
            deliveries: 0,
            caught_up: false,
        }
    }
}

impl Follower {
    /// Waits for the next messages. Survives the broker's restarts; safe to cancel.
    ///
    /// # Errors
    /// [`FollowError::StreamMissing`] when the stream no longer exists.
    pub async fn next(&mut self) -> Result<Batch, FollowError> {
        loop {
            if self.messages.is_none() && self.open().await? == 0 && !self.caught_up {
                self.caught_up = true;
                return Ok(Batch { messages: Vec::new(), pending: 0 });
            }
            if let Some(batch) = self.receive().await {
                self.caught_up |= batch.pending == 0;
                return Ok(batch);
            }
            self.messages = None;
        }
    }

    /// Whether the end was reached at least once.
    pub const fn caught_up(&self) -> bool {
        self.caught_up
    }

    /// Goes back to a message that was handed out before.
    pub(crate) fn rewind(&mut self, sequence: u64) {
        self.seen = sequence.saturating_sub(1);
        self.messages = None;
        self.caught_up = false;
    }

    /// What has come; nothing when the consumer may have missed something and has to be made again.
    async fn receive(&mut self) -> Option<Batch> {
        let messages = self.messages.as_mut()?;
        let first = tokio::select! {
            biased;
            changed = self.connection.changed() => {
                changed.ok()?;
                return None;
            }
            first = messages.next() => first,
        };
        let mut batch = Batch { messages: Vec::new(), pending: 0 };
        let mut next = first;
        while let Some(received) = next {
            let message = match received {
                Ok(message) => message,
                Err(error) => {
                    tracing::debug!(stream = self.follow.stream, error = %chain(&error), "consumer is made again");
                    break;
                }
            };
            let Ok(Delivered { message, number, pending }) = Message::delivered(message) else {
                break;
            };
            if number != self.deliveries + 1 {
                tracing::debug!(
                    stream = self.follow.stream,
                    number,
                    "a delivery was lost, consumer is made again"
                );
                break;
            }
            self.deliveries = number;
            self.seen = message.sequence;
            batch.pending = pending;
            batch.messages.push(message);
            if batch.messages.len() >= self.follow.batch {
                break;
            }
            next = messages.next().now_or_never().flatten();
        }
        (!batch.messages.is_empty()).then_some(batch)
    }

    /// Makes the consumer, waiting for the broker if need be; returns how many messages it has to deliver.
    async fn open(&mut self) -> Result<u64, FollowError> {
        let mut wait = Backoff::new();
        loop {
            self.connection.mark_unchanged();
            match self.try_open().await {
                Ok((messages, pending)) => {
                    self.messages = Some(messages);
                    self.deliveries = 0;
                    return Ok(pending);
                }
                Err(OpenError::StreamMissing) => return Err(FollowError::StreamMissing(self.follow.stream)),
                Err(OpenError::Passing(error)) => wait.pause(&*error).await,
            }
        }
    }

    async fn try_open(&self) -> Result<(Messages, u64), OpenError> {
        let stream =
            self.broker.stream(self.follow.stream).await.map_err(|e| OpenError::Passing(Box::new(e)))?;
        let config = Config {
            deliver_policy: match self.follow.start {
                _ if self.seen > 0 => DeliverPolicy::ByStartSequence { start_sequence: self.seen + 1 },
                Start::After(_) => DeliverPolicy::All,
                Start::Time(start_time) => DeliverPolicy::ByStartTime { start_time },
                Start::LastOfEach => DeliverPolicy::LastPerSubject,
            },
            filter_subjects: self.follow.filters.clone(),
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|error| match error.kind() {
            ConsumerErrorKind::JetStream(error)
                if error.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND =>
            {
                OpenError::StreamMissing
            }
            _ => OpenError::Passing(Box::new(error)),
        })?;
        let pending = consumer.cached_info().num_pending;
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.follow.batch)
            .heartbeat(HEARTBEAT)
            .expires(EXPIRES)
            .messages()
            .await
            .map_err(|error| OpenError::Passing(Box::new(error)))?;
        Ok((messages, pending))
    }
}

enum OpenError {
    StreamMissing,
    Passing(Box<dyn std::error::Error + Send + Sync>),
}
