//! Live logs: chunks on their way from a runner to whoever reads or seals them.
//!
//! Owns the chunk messages. A chunk that is sent twice is stored once; one that was acknowledged is on disk.

mod order;

use async_nats::jetstream::context::PublishAckFuture;
use bytes::Bytes;
use events::beat::Running;
use events::id::RunnerId;
use events::log::{Chunk, InvalidChunk};
use events::subject;
use futures::StreamExt as _;

use crate::append::ReadError;
use crate::follow::{Follow, FollowError, Follower, Start};
use crate::publish::{PublishError, identified};
use crate::streams::LOGS;
use crate::{Broker, Message};
use order::Order;

/// How many chunks a follower asks for at once: 4 MiB at most.
const BATCH: usize = 64;

/// A chunk on its way.
pub struct Sending {
    broker: Broker,
    subject: String,
    headers: async_nats::HeaderMap,
    payload: Bytes,
    ack: Option<PublishAckFuture>,
}

impl Sending {
    /// Waits until the chunk is stored, sending it again as often as it takes.
    ///
    /// # Errors
    /// When the chunk is larger than a message may be.
    pub async fn stored(self) -> Result<(), PublishError> {
        if let Some(ack) = self.ack
            && ack.await.is_ok()
        {
            return Ok(());
        }
        self.broker.publish_surely(&self.subject, self.headers, self.payload).await.map(drop)
    }
}

/// Reads an attempt's live log.
pub struct LogFollower {
    follower: Follower,
    through: u64,
    order: Order,
}

/// Chunks that came together.
#[derive(Debug)]
pub struct Chunks {
    /// In order of their numbers.
    pub chunks: Vec<Chunk>,
    /// How many more there were when the last of these was sent, or more than 0 if some are read again; 0: this is the
    /// end for now.
    pub pending: u64,
    /// The place in the stream of the last message that was read; 0 before the first.
    pub through: u64,
}

/// An attempt whose log is not purged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveLog {
    /// Who wrote it.
    pub runner: RunnerId,
    /// Which attempt it is.
    pub attempt: Running,
    /// How many chunks there are.
    pub chunks: u64,
}

impl Broker {
    /// Sends a chunk; many may be on their way at once. The order is theirs by number, not by arrival.
    pub async fn send_chunk(&self, runner: &RunnerId, attempt: &Running, chunk: &Chunk) -> Sending {
        let subject = subject::log(runner, attempt);
        let mut headers =
            identified(&format!("{}.{}.{}.{}", self.salt, attempt.job, attempt.attempt, chunk.number));
        for (name, value) in chunk.headers() {
            headers.insert(name, value);
        }
        let payload = Bytes::copy_from_slice(&chunk.bytes);
        let sent =
            self.jetstream.publish_with_headers(subject.clone(), headers.clone(), payload.clone()).await;
        Sending { broker: self.clone(), subject, headers, payload, ack: sent.ok() }
    }

    /// Follows an attempt's live log, whoever writes it, after a chunk's number.
    pub fn follow_log(&self, attempt: &Running, after: u64) -> LogFollower {
        let filters = vec![live_subjects(attempt)];
        let follower = self.follow(Follow { stream: LOGS, filters, start: Start::After(0), batch: BATCH });
        LogFollower { follower, through: 0, order: Order::new(after) }
    }

    /// The attempts whose log is not purged yet.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn live_logs(&self) -> Result<Vec<LiveLog>, ReadError> {
        let stream = self.stream(LOGS).await?;
        let mut subjects =
            stream.info_with_subjects(subject::ALL_LOGS).await.map_err(ReadError::from_source)?;
        let mut logs = Vec::new();
        while let Some(entry) = subjects.next().await {
            let (subject, chunks) = entry.map_err(ReadError::from_source)?;
            if let Some((runner, attempt)) = subject::parse_log(&subject) {
                logs.push(LiveLog { runner, attempt, chunks: chunks as u64 });
            }
        }
        Ok(logs)
    }

    /// Removes an attempt's live log, which is sealed: up to a place in the stream, or whatever there is. What comes
    /// after that place stays.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn purge_log(&self, attempt: &Running, through: Option<u64>) -> Result<(), ReadError> {
        let stream = self.stream(LOGS).await?;
        let purge = stream.purge().filter(live_subjects(attempt));
        match through {
            Some(through) => purge.sequence(through + 1).await,
            None => purge.await,
        }
        .map_err(ReadError::from_source)?;
        Ok(())
    }
}

/// The live log of an attempt, whoever writes it.
fn live_subjects(attempt: &Running) -> String {
    format!("log.*.{}.{}", attempt.job.token(), attempt.attempt)
}

impl LogFollower {
    /// Waits for the next chunks. Survives the broker's restarts; safe to cancel.
    ///
    /// Each chunk comes once and in order, however often and in whatever order it was sent. The list may be empty: at the
    /// start when there is nothing yet, and while an earlier chunk is missing.
    ///
    /// # Errors
    /// When the stream of logs is gone.
    pub async fn next(&mut self) -> Result<Chunks, FollowError> {
        let batch = self.follower.next().await?;
        self.through = batch.messages.last().map_or(self.through, |last| last.sequence.max(self.through));
        for message in &batch.messages {
            match chunk(message) {
                Ok(chunk) => self.order.take(message.sequence, chunk),
                Err(error) => {
                    tracing::warn!(subject = message.subject, %error, "a log message cannot be read")
                }
            }
        }
        let chunks = self.order.ready();
        Ok(self.chunks(chunks, batch.pending))
    }

    /// The chunks behind a gap, in order: for a reader who knows that what is missing will not come. They may be too many
    /// to be held: then more are pending.
    pub fn rest(&mut self) -> Chunks {
        let chunks = self.order.rest();
        self.chunks(chunks, 0)
    }

    /// Goes back to what there was no room for, if there is now.
    fn chunks(&mut self, chunks: Vec<Chunk>, pending: u64) -> Chunks {
        let again = self.order.again();
        if let Some(sequence) = again {
            self.follower.rewind(sequence);
        }
        Chunks { chunks, pending: pending.max(again.is_some().into()), through: self.through }
    }
}

fn chunk(message: &Message) -> Result<Chunk, InvalidChunk> {
    Chunk::from_message(|name| message.header(name), message.payload.to_vec())
}
