//! Reading the log: messages decoded, documents fetched, in parts of a bounded size.
//!
//! Owns the task that reads ahead while the part before is written. Never writes; what cannot be read goes along with its
//! reason, for whoever writes to decide. Invariant: parts come in the order of the log and leave nothing out.

use std::time::Duration;

use broker::{BlobError, Broker, Checkpoint, FollowError, Follower, Message, Start};
use events::blob::BlobRef;
use events::envelope::Recorded;
use events::{Event, Undecodable, execution, plan, subject};
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use crate::fold::{Document, Taken};

/// The most events that are written at once.
const EVENTS: usize = 8_000;

/// The most bytes of documents in a part.
const DOCUMENT_BYTES: u64 = 8 * 1024 * 1024;

/// From how many events a second on they are gathered. Fewer are handed over as they come.
const BUSY: f64 = 1_500.0;

/// How long they are gathered then: what changes again within it is written once, and so is a page of the database.
const GATHER: Duration = Duration::from_millis(15);

/// How long the events are counted that say whether it is busy.
const WINDOW: Duration = Duration::from_millis(100);

/// How many documents are fetched at a time.
const FETCHES: usize = 16;

/// Events that go together into one transaction.
pub(crate) struct Part {
    pub(crate) events: Vec<Taken>,
    /// What could not be read, and why.
    pub(crate) unread: Vec<(Message, String)>,
    /// The last message that it covers.
    pub(crate) checkpoint: Checkpoint,
    /// The size of its documents.
    bytes: u64,
}

impl Default for Part {
    fn default() -> Self {
        Self { events: Vec::new(), unread: Vec::new(), checkpoint: Checkpoint::START, bytes: 0 }
    }
}

impl Part {
    fn add(&mut self, read: Read) {
        self.events.extend(read.event);
        self.unread.extend(read.unread);
        self.checkpoint = read.checkpoint;
        self.bytes += read.document_bytes;
    }

    /// Whether it covers no message, not even one that is passed over.
    fn is_empty(&self) -> bool {
        self.checkpoint == Checkpoint::START
    }
}

/// A reader of the log from a place on.
pub(crate) struct Intake {
    parts: mpsc::Receiver<Result<Part, FollowError>>,
    /// What was read beyond the end of the last part.
    rest: Option<Part>,
    _reader: AbortOnDropHandle<()>,
}

impl Intake {
    /// Reads everything after a sequence, and what will come.
    pub(crate) fn after(broker: &Broker, sequence: u64) -> Self {
        let follower = broker.follow_events(&[subject::ALL_EVENTS.to_owned()], Start::After(sequence));
        let (sender, parts) = mpsc::channel(1);
        let reader = tokio::spawn(read(broker.clone(), follower, sender));
        Self { parts, rest: None, _reader: AbortOnDropHandle::new(reader) }
    }

    /// Waits for the next part. Safe to cancel.
    ///
    /// # Errors
    /// When the log is gone.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Part> {
        match self.rest.take() {
            Some(part) => Ok(part),
            None => Ok(self
                .parts
                .recv()
                .await
                .ok_or_else(|| anyhow::anyhow!("the reader of the log ended"))??),
        }
    }

    /// The same, but nothing after a sequence: the rest stays for later.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub(crate) async fn next_up_to(&mut self, sequence: u64) -> anyhow::Result<Part> {
        let mut part = self.next().await?;
        if part.checkpoint.sequence > sequence {
            let cut = part.events.partition_point(|taken| taken.recorded.sequence <= sequence);
            let events = part.events.split_off(cut);
            let (unread, kept) =
                part.unread.into_iter().partition(|(message, _)| message.sequence > sequence);
            self.rest = Some(Part { events, unread, checkpoint: part.checkpoint, bytes: 0 });
            part.unread = kept;
            part.checkpoint = Checkpoint { sequence, event_id: None };
        }
        Ok(part)
    }
}

/// Reads on while the part before is written: what comes meanwhile goes into one part, which is written the faster for it.
async fn read(broker: Broker, mut follower: Follower, to: mpsc::Sender<Result<Part, FollowError>>) {
    let mut part = Part::default();
    let mut pace = Pace::from(Instant::now());
    loop {
        let full = part.events.len() >= EVENTS || part.bytes >= DOCUMENT_BYTES;
        let permit = async {
            if let (Some(due), false) = (pace.due, full) {
                sleep_until(due).await;
            }
            to.reserve().await
        };
        tokio::select! {
            biased;
            permit = permit, if !part.is_empty() => match permit {
                Ok(permit) => {
                    pace.handed_over(part.events.len(), Instant::now());
                    permit.send(Ok(std::mem::take(&mut part)));
                }
                Err(_) => return,
            },
            batch = follower.next(), if !full => match batch {
                Ok(batch) => {
                    if !add_all(&mut part, batch.messages, &broker, &to).await {
                        return;
                    }
                }
                Err(error) => {
                    let _ = to.send(Err(error)).await;
                    return;
                }
            },
            () = to.closed() => return,
        }
    }
}

/// When the next part may be handed over.
struct Pace {
    /// Since when events are counted, and how many there were.
    since: Instant,
    events: usize,
    busy: bool,
    /// Absent: at once.
    due: Option<Instant>,
}

impl Pace {
    fn from(now: Instant) -> Self {
        Self { since: now, events: 0, busy: false, due: None }
    }

    fn handed_over(&mut self, events: usize, now: Instant) {
        self.events += events;
        let counted = now - self.since;
        if counted >= WINDOW {
            self.busy = self.events as f64 > BUSY * counted.as_secs_f64();
            (self.since, self.events) = (now, 0);
        }
        self.due = self.busy.then(|| now + GATHER);
    }
}

/// Reads messages into a part, and sends it off whenever its documents grow too large. `false`: nobody wants it any more.
async fn add_all(
    part: &mut Part,
    messages: Vec<Message>,
    broker: &Broker,
    to: &mpsc::Sender<Result<Part, FollowError>>,
) -> bool {
    let mut taken = stream::iter(messages).map(|message| take(broker, message)).buffered(FETCHES);
    while let Some(read) = taken.next().await {
        part.add(read);
        if part.bytes >= DOCUMENT_BYTES && to.send(Ok(std::mem::take(part))).await.is_err() {
            return false;
        }
    }
    true
}

/// What came of a message.
pub(crate) struct Read {
    pub(crate) event: Option<Taken>,
    pub(crate) unread: Option<(Message, String)>,
    checkpoint: Checkpoint,
    document_bytes: u64,
}

/// Reads a message, and the document that it names.
pub(crate) async fn take(broker: &Broker, message: Message) -> Read {
    let event = message.event();
    let event_id = event.as_ref().map_or_else(|_| message.event_id(), |recorded| Some(recorded.id));
    let checkpoint = Checkpoint { sequence: message.sequence, event_id };
    let mut read = Read { event: None, unread: None, checkpoint, document_bytes: 0 };
    match event {
        Ok(recorded) => {
            let document = match named(&recorded) {
                None => None,
                Some(blob) => match fetch(broker, &recorded, blob).await {
                    Ok(document) => {
                        read.document_bytes = blob.size;
                        Some(document)
                    }
                    Err(why) => {
                        read.unread = Some((message, why));
                        None
                    }
                },
            };
            read.event = Some(Taken { recorded, document });
        }
        Err(error @ Undecodable::UnknownType { .. }) => {
            tracing::debug!(sequence = message.sequence, %error, "an event is passed over");
        }
        Err(error) => {
            let why = chain(&error);
            read.unread = Some((message, why));
        }
    }
    read
}

/// The document that an event names.
pub(crate) const fn named(recorded: &Recorded) -> Option<&BlobRef> {
    match &recorded.event {
        Event::Execution(execution::Event::Resolved(resolved)) => Some(&resolved.scope),
        Event::Plan(plan::Event::Created(created)) => Some(&created.document),
        _ => None,
    }
}

/// Fetches a document, however long the broker is away; says why if it cannot be had at all.
async fn fetch(broker: &Broker, recorded: &Recorded, blob: &BlobRef) -> Result<Document, String> {
    loop {
        let document = match &recorded.event {
            Event::Execution(_) => broker.get_document(blob).await.map(Document::Scope),
            _ => broker.get_document(blob).await.map(Document::Plan),
        };
        match document {
            Ok(document) => return Ok(document),
            Err(error @ (BlobError::Read(_) | BlobError::Publish(_) | BlobError::Io(_))) => {
                tracing::debug!(error = chain(&error), "a document is fetched again");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => return Err(chain(&error)),
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_gathered_only_while_many_come() {
        let mut now = Instant::now();
        let mut pace = Pace::from(now);
        for _ in 0..500 {
            now += Duration::from_millis(1);
            pace.handed_over(1, now);
            assert_eq!(pace.due, None, "a thousand a second are handed over as they come");
        }
        for _ in 0..500 {
            now += Duration::from_millis(1);
            pace.handed_over(2, now);
        }
        assert_eq!(pace.due, Some(now + GATHER));
        now += Duration::from_secs(1);
        pace.handed_over(20, now);
        assert_eq!(pace.due, None, "and again once fewer come");
    }
}
