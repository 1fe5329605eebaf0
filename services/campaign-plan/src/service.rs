//! The loop: which execution's plan is made when.
//!
//! Owns the list of completions whose plan is not certain to stand. It is all that a snapshot holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use broker::{Broker, Checkpoint, Follower, Message, Retry, SnapshotFile, Start};
use events::envelope::Recorded;
use events::id::ExecutionId;
use events::{Aggregate, AggregateKind, Event, Undecodable, execution, subject};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::make::{Trouble, make};
use crate::story::wants_plan;

/// Whose dead letters these are.
const NAME: &str = "campaign-plan";

/// How many completions may be read again after a crash.
const SNAPSHOT_EVERY: usize = 50;

/// How many plans are made at once: each holds its execution in memory.
const AT_ONCE: usize = 2;

/// How long to wait after a failure that may pass.
const PAUSE: Duration = Duration::from_secs(3);

/// How long nothing may happen before the loop looks around.
const IDLE: Duration = Duration::from_secs(60);

/// The completions without a plan, by their sequence: the oldest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Waiting(BTreeMap<u64, ExecutionId>);

type Making = BoxFuture<'static, (u64, ExecutionId, Result<(), Trouble>)>;

pub(crate) struct Service {
    broker: Broker,
    events: Follower,
    waiting: Waiting,
    making: FuturesUnordered<Making>,
    /// The executions whose plan is being made.
    busy: HashSet<ExecutionId>,
    /// When to try again what failed.
    paused: HashMap<u64, Instant>,
    /// What a person wants to be tried again. Each comes again, also after a restart, until it is said to be done.
    retries: HashMap<u64, Retry>,
    snapshot: SnapshotFile,
    checkpoint: Checkpoint,
    /// How many completions were taken in since the snapshot.
    unsaved: usize,
}

impl Service {
    /// Loads the snapshot. What came since is taken in by the loop.
    pub(crate) async fn start(config: &Config, broker: Broker) -> anyhow::Result<Self> {
        let snapshot = SnapshotFile::new(&config.snapshot_dir, NAME);
        let (checkpoint, waiting) =
            snapshot.load::<Waiting>().unwrap_or_else(|| (Checkpoint::START, Waiting::default()));
        broker.verify(&checkpoint).await?;
        let filters =
            ["completed", "plan_requested"].map(|name| subject::every(AggregateKind::Execution, name));
        Ok(Self {
            events: broker.follow_events(&filters, Start::After(checkpoint.sequence)),
            broker,
            waiting,
            making: FuturesUnordered::new(),
            busy: HashSet::new(),
            paused: HashMap::new(),
            retries: HashMap::new(),
            snapshot,
            checkpoint,
            unsaved: 0,
        })
    }

    /// Makes plans until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut retries = self.broker.retries(NAME);
        loop {
            let wake = self.start_due();
            tokio::select! {
                () = stop.cancelled() => break,
                batch = self.events.next() => self.take_in(&batch?.messages).await?,
                Some((sequence, execution, result)) = self.making.next() => {
                    self.settle(sequence, execution, result).await?;
                }
                retry = retries.next() => self.take_up(retry).await?,
                () = tokio::time::sleep_until(wake) => {}
            }
            if self.unsaved >= SNAPSHOT_EVERY {
                self.save();
            }
        }
        // A plan that is being made is made anew by the next start: each of its steps may be repeated.
        self.save();
        Ok(())
    }

    /// Begins to make what is due and fits; returns when to look again.
    fn start_due(&mut self) -> Instant {
        let now = Instant::now();
        let mut wake = now + IDLE;
        for (&sequence, &execution) in &self.waiting.0 {
            if self.busy.len() >= AT_ONCE {
                break;
            }
            let at = self.paused.get(&sequence).copied().unwrap_or(now);
            if at > now {
                wake = wake.min(at);
            } else if self.busy.insert(execution) {
                self.making.push(begin(self.broker.clone(), sequence, execution));
            }
        }
        wake
    }

    /// Takes in what came of making a plan.
    async fn settle(
        &mut self,
        sequence: u64,
        execution: ExecutionId,
        result: Result<(), Trouble>,
    ) -> anyhow::Result<()> {
        self.busy.remove(&execution);
        match result {
            Ok(()) => {
                self.forget(sequence);
                if let Some(retry) = self.retries.remove(&sequence) {
                    retry.done().await;
                }
            }
            Err(Trouble::Passing(error)) => {
                tracing::warn!(execution.id = %execution, error = format!("{error:#}"), "no plan yet");
                self.paused.insert(sequence, Instant::now() + PAUSE);
            }
            Err(Trouble::Dead(reason)) => {
                tracing::warn!(execution.id = %execution, reason, "a plan cannot be made");
                self.set_aside(sequence, &reason).await?;
            }
            Err(Trouble::Fatal(error)) => return Err(error),
        }
        Ok(())
    }

    /// Leaves a completion to a person.
    async fn set_aside(&mut self, sequence: u64, reason: &str) -> anyhow::Result<()> {
        let retry = self.retries.remove(&sequence);
        if let Some(retry) = &retry {
            self.broker.bury_again(NAME, retry, reason).await?;
        } else if let Some(message) = self.broker.event_at(sequence).await? {
            self.broker.bury(NAME, &message, reason).await?;
        }
        self.forget(sequence);
        // Read again after a crash, the event would be buried again.
        self.save();
        if let Some(retry) = &retry {
            retry.done().await;
        }
        Ok(())
    }

    fn forget(&mut self, sequence: u64) {
        self.waiting.0.remove(&sequence);
        self.paused.remove(&sequence);
    }

    /// Takes up what was set aside.
    async fn take_up(&mut self, retry: Retry) -> anyhow::Result<()> {
        match retry.event.event().map(|recorded| wanting(&recorded)) {
            Ok(Some(execution)) => {
                self.waiting.0.insert(retry.event.sequence, execution);
                self.retries.insert(retry.event.sequence, retry);
                return Ok(());
            }
            Ok(None) => {}
            Err(error) => self.broker.bury_again(NAME, &retry, &error.to_string()).await?,
        }
        retry.done().await;
        Ok(())
    }

    async fn take_in(&mut self, messages: &[Message]) -> anyhow::Result<()> {
        for message in messages {
            match message.event().map(|recorded| wanting(&recorded)) {
                Ok(Some(execution)) => {
                    self.waiting.0.insert(message.sequence, execution);
                }
                Ok(None) => {}
                Err(error @ Undecodable::UnknownType { .. }) => {
                    tracing::debug!(sequence = message.sequence, %error, "an event is passed over");
                }
                Err(error) => self.broker.bury(NAME, message, &error.to_string()).await?,
            }
        }
        if let Some(last) = messages.last() {
            self.checkpoint = Checkpoint { sequence: last.sequence, event_id: last.event_id() };
            self.unsaved += messages.len();
        }
        Ok(())
    }

    /// Writes the snapshot; says whether it stands.
    fn save(&mut self) -> bool {
        match self.snapshot.save(&self.checkpoint, &self.waiting) {
            Ok(()) => self.unsaved = 0,
            Err(error) => {
                tracing::warn!(%error, "no snapshot: a restart will read more of the log");
                return false;
            }
        }
        true
    }
}

/// The execution that gets a plan because of this event.
fn wanting(recorded: &Recorded) -> Option<ExecutionId> {
    match (&recorded.aggregate, &recorded.event) {
        (Aggregate::Execution(id), Event::Execution(execution::Event::Completed(completed))) => {
            wants_plan(completed).then_some(*id)
        }
        (Aggregate::Execution(id), Event::Execution(execution::Event::PlanRequested(_))) => Some(*id),
        _ => None,
    }
}

/// Makes a plan in a task of its own: rendering thousands of changesets must not keep the events waiting.
fn begin(broker: Broker, sequence: u64, execution: ExecutionId) -> Making {
    let task = tokio::spawn(async move { make(&broker, execution).await });
    let task = tokio_util::task::AbortOnDropHandle::new(task);
    Box::pin(async move {
        let result = task.await.unwrap_or_else(|error| Err(Trouble::Passing(error.into())));
        (sequence, execution, result)
    })
}
