//! Appending: the only way to write to the log.
//!
//! Owns the expectation of every append, which is built here so that all writers send the identical string. Invariant: a
//! command that is repeated, by us or by whoever sent it, stands in the log once.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use events::envelope::{NewEvent, Origin, Recorded};
use events::id::{EventId, ExecutionId, JobId};
use events::rejection::Code;
use events::{Aggregate, Event, Rejection, Timestamp, Undecodable, subject};
use futures::{TryStreamExt, stream};

use crate::streams::EVENTS;
use crate::{Broker, Message};

/// The most events that one atomic batch may hold; the server's own limit.
pub const MAX_BATCH: usize = 1_000;

/// Below this many events a batch costs the server more than single appends: it stages each batch in files.
const MIN_BATCH: usize = 100;

/// How many single appends may be under way at once.
const IN_FLIGHT: usize = 64;

/// How often a decision is taken anew when others changed the same aggregate.
const ROUNDS: u32 = 5;

const EXPECTED_SEQUENCE: &str = "Nats-Expected-Last-Subject-Sequence";
const EXPECTED_FILTER: &str = "Nats-Expected-Last-Subject-Sequence-Subject";
const MESSAGE_ID: &str = "Nats-Msg-Id";
const BATCH_ID: &str = "Nats-Batch-Id";
const BATCH_SEQUENCE: &str = "Nats-Batch-Sequence";
const BATCH_COMMIT: &str = "Nats-Batch-Commit";

/// A place in the log that its holder can recognise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Checkpoint {
    /// The sequence of the last event that was taken in; 0 before the first.
    pub sequence: u64,
    /// That event's id; absent before the first.
    pub event_id: Option<EventId>,
}

impl Checkpoint {
    /// Before the first event.
    pub const START: Self = Self { sequence: 0, event_id: None };
}

/// An event that stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Where.
    pub sequence: u64,
    /// Whether it stood there before this call.
    pub repeated: bool,
}

/// Why an event is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The aggregate has news since it was loaded.
    #[error("the aggregate has changed")]
    Conflict,
    /// The event is larger than a message may be.
    #[error("the event `{subject}` of {bytes} bytes is larger than the broker takes")]
    TooLarge {
        /// Where it would have gone.
        subject: String,
        /// Its size.
        bytes: usize,
    },
    /// There is no log.
    #[error("the broker has no EVENTS stream: run `patchwave up`, or provision the broker first")]
    NoLog,
    /// The payload cannot be written as JSON.
    #[error("the event cannot be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The log could not be read to find out whether the event is in it.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The broker does not answer.
    #[error("the broker does not answer")]
    Unavailable,
    /// The connection was closed.
    #[error("the connection to the broker is closed")]
    Closed,
    /// The broker refuses the request.
    #[error("the broker refuses the request: {0}")]
    Refused(String),
    /// The request failed.
    #[error("the request to the broker failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// An event of the aggregate cannot be read by this build.
    #[error("the log holds an event that this build cannot read")]
    Undecodable(#[from] Undecodable),
}

impl ReadError {
    pub(crate) fn from_source(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// It was refused. The user's to mend.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It could not be appended.
    #[error("the decision cannot be appended")]
    Append(#[from] AppendError),
    /// The history could not be read.
    #[error("the history cannot be read")]
    Read(#[from] ReadError),
}

/// The checkpoint is not where the log says.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The log lost what the checkpoint has seen.
    #[error(
        "the log was cut: event {sequence} is not the one that was taken in before. The log was restored from an older \
         copy or lost its end. Stop everything, restore the log, or remove what was built from the lost part \
         (the snapshots, and the projection by `patchwave projection rebuild`)"
    )]
    Cut {
        /// The checkpoint's sequence.
        sequence: u64,
    },
    /// The log could not be read.
    #[error("the log cannot be read")]
    Read(#[from] ReadError),
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// Where the aggregate's newest event stands; 0 if it has none.
    pub sequence: u64,
    /// What happened; absent when all was as asked already.
    pub event: Option<Event>,
}

impl Broker {
    /// Appends an event to an aggregate whose newest event stands at `expected` (0: it has none).
    ///
    /// Waits and tries again while the broker is away or cannot store: it returns once there is a definite answer.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when the aggregate has news and this event is not among it.
    pub async fn append(&self, event: &NewEvent, expected: u64) -> Result<Appended, AppendError> {
        self.append_expecting(event, expecting(event, expected)).await
    }

    /// Appends an event if the log holds none under a filter, which must cover it: the first of many that are tried at once
    /// is the only one. Waits as [`Self::append`] does.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when there is one, and it is not this event.
    pub async fn append_first(&self, event: &NewEvent, filter: &str) -> Result<Appended, AppendError> {
        let mut headers = expecting(event, 0);
        headers.insert(EXPECTED_FILTER, filter);
        self.append_expecting(event, headers).await
    }

    async fn append_expecting(
        &self,
        event: &NewEvent,
        mut headers: HeaderMap,
    ) -> Result<Appended, AppendError> {
        let subject = event.subject();
        let payload = Bytes::from(event.event.to_json()?);
        headers.insert(MESSAGE_ID, event.id().to_string());
        let mut wait = Backoff::new();
        loop {
            match self.publish(&subject, &headers, &payload).await {
                Ok(ack) => return Ok(Appended { sequence: ack.sequence, repeated: ack.duplicate }),
                Err(error) => match Refusal::of(&error) {
                    Refusal::WrongSequence => return self.find(event).await?.ok_or(AppendError::Conflict),
                    Refusal::TooLarge => {
                        return Err(AppendError::TooLarge { subject, bytes: payload.len() });
                    }
                    Refusal::NoStream if !self.events_missing().await => wait.pause(&error).await,
                    Refusal::NoStream => return Err(AppendError::NoLog),
                    Refusal::Passing => wait.pause(&error).await,
                },
            }
        }
    }

    /// Appends the first events of many aggregates. All are in the log when it returns, however often it is called.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] when one of the aggregates has another first event.
    pub async fn append_births(&self, births: &[NewEvent]) -> Result<(), AppendError> {
        for chunk in births.chunks(MAX_BATCH) {
            if chunk.len() >= MIN_BATCH && self.commit_batch(chunk).await? {
                continue;
            }
            // A batch that was refused was committed before, wholly or by single appends: each one finds itself.
            stream::iter(chunk.iter().map(Ok))
                .try_for_each_concurrent(
                    IN_FLIGHT,
                    |event| async move { self.append(event, 0).await.map(drop) },
                )
                .await?;
        }
        Ok(())
    }

    /// Tries to store a batch as one. False: it was not stored, or there was no answer.
    async fn commit_batch(&self, births: &[NewEvent]) -> Result<bool, AppendError> {
        let batch_id = uuid::Uuid::now_v7().simple().to_string();
        for (index, event) in births.iter().enumerate() {
            let last = index + 1 == births.len();
            // The expectation catches a repetition; a message id would only refuse it less clearly.
            let mut headers = expecting(event, 0);
            headers.insert(BATCH_ID, batch_id.as_str());
            headers.insert(BATCH_SEQUENCE, (index + 1).to_string());
            if last {
                headers.insert(BATCH_COMMIT, "1");
            }
            let (subject, payload) = (event.subject(), Bytes::from(event.event.to_json()?));
            let sent = if index == 0 || last {
                self.client.request_with_headers(subject, headers, payload).await.map(Some).map_err(|_| ())
            } else {
                self.client
                    .publish_with_headers(subject, headers, payload)
                    .await
                    .map(|()| None)
                    .map_err(|_| ())
            };
            match sent {
                Ok(Some(reply)) if refused(&reply.payload) => return Ok(false),
                Ok(_) => {}
                Err(()) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Loads an aggregate, decides, and appends; again when others were faster.
    ///
    /// `decide` gets the whole history and says what happens, if anything.
    ///
    /// # Errors
    /// The rejection of `decide`; a `busy` rejection after five rounds; or what kept the broker from storing.
    pub async fn decide<F>(
        &self,
        aggregate: &Aggregate,
        origin: &Origin,
        now: Timestamp,
        mut decide: F,
    ) -> Result<Decided, DecideError>
    where
        F: FnMut(&[Recorded]) -> Result<Option<Event>, Rejection>,
    {
        for _ in 0..ROUNDS {
            let history = self.history(aggregate).await?;
            let sequence = history.last().map_or(0, |last| last.sequence);
            let Some(event) = decide(&history)? else {
                return Ok(Decided { sequence, event: None });
            };
            let new = NewEvent { aggregate: aggregate.clone(), event, time: now, origin: origin.clone() };
            match self.append(&new, sequence).await {
                Ok(Appended { sequence, repeated: false }) => {
                    return Ok(Decided { sequence, event: Some(new.event) });
                }
                // The same command came twice at once: what stands is what the other one decided.
                Ok(Appended { sequence, repeated: true }) => {
                    let mut history = self.history(aggregate).await?.into_iter();
                    let stored = history.find(|recorded| recorded.sequence == sequence);
                    return Ok(Decided { sequence, event: stored.map(|recorded| recorded.event) });
                }
                Err(AppendError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Rejection::new(
            Code::Busy,
            format!("{aggregate} is being changed by others again and again"),
            "Try again in a moment.",
        )
        .into())
    }

    /// Every event of an aggregate that this build knows, oldest first.
    ///
    /// # Errors
    /// When the broker does not answer, or an event is malformed or from a later version.
    pub async fn history(&self, aggregate: &Aggregate) -> Result<Vec<Recorded>, ReadError> {
        let messages = self.get_all(EVENTS, &subject::aggregate_filter(aggregate)).await?;
        let mut history = Vec::with_capacity(messages.len());
        for message in &messages {
            match message.event() {
                Ok(event) => history.push(event),
                // A type of a later version means nothing to this build's state.
                Err(Undecodable::UnknownType { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(history)
    }

    /// The execution that a job belongs to: for readers of what names the job alone.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn execution_of(&self, job: JobId) -> Result<Option<ExecutionId>, ReadError> {
        let newest = self.get_last(EVENTS, &format!("ev.execution.*.job.{}.*", job.token())).await?;
        Ok(newest.and_then(|message| match subject::parse_event(&message.subject) {
            Some((Aggregate::Job(execution, _), _)) => Some(execution),
            _ => None,
        }))
    }

    /// Whether the log holds no event under a filter.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn has_none(&self, filter: &str) -> Result<bool, ReadError> {
        Ok(self.get_last(EVENTS, filter).await?.is_none())
    }

    /// The event at a sequence, if there is one.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn event_at(&self, sequence: u64) -> Result<Option<Message>, ReadError> {
        self.get(EVENTS, sequence).await
    }

    /// The sequence of the newest event; 0 if there is none.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn last_sequence(&self) -> Result<u64, ReadError> {
        Ok(self.get_last(EVENTS, subject::ALL_EVENTS).await?.map_or(0, |message| message.sequence))
    }

    /// Checks that a checkpoint is still a place in this log.
    ///
    /// # Errors
    /// [`VerifyError::Cut`] when it is not.
    pub async fn verify(&self, checkpoint: &Checkpoint) -> Result<(), VerifyError> {
        if checkpoint.sequence == 0 {
            return Ok(());
        }
        let there = self.event_at(checkpoint.sequence).await?.and_then(|message| message.event_id());
        if there.is_some() && there == checkpoint.event_id {
            Ok(())
        } else {
            Err(VerifyError::Cut { sequence: checkpoint.sequence })
        }
    }

    /// Looks for this very event in its aggregate's history.
    async fn find(&self, event: &NewEvent) -> Result<Option<Appended>, AppendError> {
        let history = self.get_all(EVENTS, &subject::aggregate_filter(&event.aggregate)).await?;
        let id = event.id();
        let own = history.iter().find(|message| message.event_id() == Some(id));
        Ok(own.map(|message| Appended { sequence: message.sequence, repeated: true }))
    }

    async fn publish(
        &self,
        subject: &str,
        headers: &HeaderMap,
        payload: &Bytes,
    ) -> Result<jetstream::publish::PublishAck, PublishError> {
        self.jetstream.publish_with_headers(subject.to_owned(), headers.clone(), payload.clone()).await?.await
    }

    /// Whether the log is certainly not there, as opposed to a broker that is just starting.
    async fn events_missing(&self) -> bool {
        use async_nats::jetstream::context::GetStreamErrorKind;
        match self.jetstream.get_stream(EVENTS).await {
            Err(error) => matches!(
                error.kind(),
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND
            ),
            Ok(_) => false,
        }
    }
}

/// What an append's message says beside its payload: the envelope and the expectation.
fn expecting(event: &NewEvent, expected: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in event.headers() {
        headers.insert(name, value);
    }
    headers.insert(EXPECTED_SEQUENCE, expected.to_string());
    headers.insert(EXPECTED_FILTER, subject::aggregate_filter(&event.aggregate));
    headers
}

/// Whether the reply to a batch's message is an error. An empty reply means: go on.
fn refused(reply: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Reply {
        error: Option<serde::de::IgnoredAny>,
    }
    !reply.is_empty() && !matches!(serde_json::from_slice(reply), Ok(Reply { error: None }))
}

/// What a refused publish means for the append.
enum Refusal {
    WrongSequence,
    TooLarge,
    NoStream,
    Passing,
}

impl Refusal {
    fn of(error: &PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::WrongLastSequence => Self::WrongSequence,
            PublishErrorKind::MaxPayloadExceeded => Self::TooLarge,
            PublishErrorKind::StreamNotFound => Self::NoStream,
            // No answer, no room, or the same subject still in flight on a replicated stream.
            _ => Self::Passing,
        }
    }
}

/// Waiting for a broker that is away: longer each time, said once and then every ten seconds.
pub(crate) struct Backoff {
    delay: Duration,
    quiet_until: tokio::time::Instant,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        // A restart of the broker is over in less, and not worth a word.
        let quiet_until = tokio::time::Instant::now() + Duration::from_secs(1);
        Self { delay: Duration::from_millis(5), quiet_until }
    }

    pub(crate) async fn pause(&mut self, error: &(dyn std::error::Error + Send + Sync)) {
        let now = tokio::time::Instant::now();
        if now > self.quiet_until {
            tracing::warn!(error = %chain(error), "the broker cannot store right now, trying again");
            self.quiet_until = now + Duration::from_secs(10);
        }
        tokio::time::sleep(self.delay).await;
        self.delay = (self.delay * 2).min(Duration::from_secs(1));
    }
}

/// An error with its sources, on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
