//! The loop: takes requests in and lets each be resolved by a task of its own.
//!
//! Owns the checkpoint and the tasks. What waits leaves when the log says that it is resolved, so that a crash at any point
//! is a repetition.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use anyhow::Context as _;
use broker::{Broker, Checkpoint, Follower, Message, Retries, Retry, SnapshotFile, Start};
use events::envelope::Recorded;
use events::{Aggregate, AggregateKind, Event, Undecodable, execution, subject};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::fold::{Snapshot, Waiting, Wanted, apply};
use crate::registry::Registry;
use crate::resolve::Catalog;
use crate::sources::Sources;
use crate::{Config, git};

/// The consumer's name at the broker and in dead letters.
const NAME: &str = "catalog";

/// How many events may be read again after a crash.
const SNAPSHOT_EVERY: u64 = 5_000;

pub(crate) struct Service {
    catalog: Arc<Catalog>,
    events: Follower,
    retries: Retries,
    waiting: Waiting,
    /// What a task is working on.
    busy: HashMap<Wanted, AbortHandle>,
    tasks: JoinSet<Wanted>,
    snapshot: SnapshotFile,
    checkpoint: Checkpoint,
    saved: u64,
}

impl Service {
    /// Loads the snapshot and reads the log up to its end.
    pub(crate) async fn start(config: Config, broker: Broker) -> anyhow::Result<Self> {
        git::check().await?;
        let sources = Sources::open(broker.clone(), &config.dir)?;
        let snapshot = SnapshotFile::new(&config.dir, NAME);
        let (checkpoint, state) =
            snapshot.load::<Snapshot>().unwrap_or_else(|| (Checkpoint::START, Snapshot::default()));
        broker.verify(&checkpoint).await?;
        let filters = [
            subject::every(AggregateKind::Execution, "requested"),
            subject::every(AggregateKind::Execution, "resolved"),
            subject::every(AggregateKind::Execution, "cancel_requested"),
            subject::every(AggregateKind::Preview, "*"),
            subject::every(AggregateKind::Repository, "*"),
        ];
        let events = broker.follow_events(&filters, Start::After(checkpoint.sequence));
        let retries = broker.retries(NAME);
        let registry = Registry::new(state.repositories);
        let mut service = Self {
            catalog: Arc::new(Catalog { broker, registry, sources }),
            events,
            retries,
            waiting: state.waiting,
            busy: HashMap::new(),
            tasks: JoinSet::new(),
            snapshot,
            checkpoint,
            saved: checkpoint.sequence,
        };
        while !service.events.caught_up() {
            let batch = service.events.next().await?;
            service.take_in(&batch.messages).await?;
        }
        Ok(service)
    }

    /// Resolves what waits, until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        loop {
            self.take_up();
            tokio::select! {
                () = stop.cancelled() => break,
                batch = self.events.next() => self.take_in(&batch?.messages).await?,
                retry = self.retries.next() => self.take_again(&retry).await?,
                Some(done) = self.tasks.join_next() => self.put_down(done),
            }
            if self.checkpoint.sequence >= self.saved + SNAPSHOT_EVERY {
                self.save();
            }
        }
        // What is cut off here is done again after the next start.
        self.tasks.shutdown().await;
        self.save();
        Ok(())
    }

    /// Gives all that waits a task.
    fn take_up(&mut self) {
        for wanted in self.waiting.keys() {
            if let Entry::Vacant(place) = self.busy.entry(*wanted) {
                let (catalog, wanted) = (Arc::clone(&self.catalog), *wanted);
                place.insert(self.tasks.spawn(async move {
                    catalog.resolve(wanted).await;
                    wanted
                }));
            }
        }
    }

    fn put_down(&mut self, done: Result<Wanted, tokio::task::JoinError>) {
        match done {
            Ok(wanted) => {
                self.waiting.remove(&wanted);
                self.busy.remove(&wanted);
            }
            // Its execution was canceled.
            Err(error) if error.is_cancelled() => {}
            Err(error) => {
                tracing::error!(%error, "a task of the catalog failed; what it resolved waits for a restart")
            }
        }
    }

    async fn take_in(&mut self, messages: &[Message]) -> anyhow::Result<()> {
        for message in messages {
            self.take(message).await?;
        }
        if let Some(last) = messages.last() {
            self.checkpoint = Checkpoint { sequence: last.sequence, event_id: last.event_id() };
        }
        Ok(())
    }

    async fn take(&mut self, message: &Message) -> anyhow::Result<()> {
        match message.event() {
            Ok(recorded) => self.apply(&recorded),
            Err(Undecodable::UnknownType { .. }) => {
                tracing::debug!(sequence = message.sequence, "an event of a later version is passed over");
            }
            Err(error) => {
                tracing::error!(sequence = message.sequence, %error, "an event cannot be read and is set aside");
                let buried = self.catalog.broker.bury(NAME, message, &error.to_string()).await;
                buried.context("setting an event aside")?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, recorded: &Recorded) {
        apply(&mut self.waiting, recorded);
        // What is canceled before it is known where it works need not be known.
        if let (Aggregate::Execution(id), Event::Execution(execution::Event::CancelRequested(_))) =
            (&recorded.aggregate, &recorded.event)
            && let Some(task) = self.busy.remove(&Wanted::Execution(*id))
        {
            task.abort();
        }
        self.catalog.registry.apply(recorded);
    }

    /// Takes an event in that was set aside before. It counts as done once it cannot be lost any more.
    async fn take_again(&mut self, retry: &Retry) -> anyhow::Result<()> {
        match retry.event.event() {
            Ok(recorded) => {
                self.apply(&recorded);
                if !self.save() {
                    return Ok(());
                }
            }
            Err(error) => {
                tracing::error!(sequence = retry.event.sequence, %error, "an event still cannot be read");
                let buried = self.catalog.broker.bury_again(NAME, retry, &error.to_string()).await;
                buried.context("setting an event aside again")?;
            }
        }
        retry.done().await;
        Ok(())
    }

    /// Writes the snapshot; says whether it stands.
    fn save(&mut self) -> bool {
        let state = Snapshot { waiting: self.waiting.clone(), repositories: self.catalog.registry.all() };
        match self.snapshot.save(&self.checkpoint, &state) {
            Ok(()) => self.saved = self.checkpoint.sequence,
            Err(error) => {
                tracing::warn!(%error, "no snapshot: a restart will read more of the log");
                return false;
            }
        }
        true
    }
}
