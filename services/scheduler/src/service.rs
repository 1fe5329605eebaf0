//! The loop: what wakes the scheduler, and what it then does.
//!
//! Owns the order of things. Facts are appended first and acted on afterwards; an append that meets news is left to the
//! next round, when the fold knows better.

use std::collections::{HashMap, HashSet};

use anyhow::Context as _;
use broker::Start;
use events::beat::Running;
use events::id::{ExecutionId, JobId, RunnerId};
use events::subject;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Config;
use crate::admission::Demand;
use crate::cancel::Told;
use crate::fold::{Fold, Site};
use crate::leases::{LEASE, Leases};
use crate::outside::{Broker, Checkpoint, Follower, Message, SnapshotFile, now, time};
use crate::vault::Vault;

/// How many events may be read again after a crash.
const SNAPSHOT_EVERY: u64 = 5_000;

/// How many facts of one kind are appended before the loop looks at everything else.
pub(crate) const BATCH: usize = 512;

pub(crate) struct Service {
    pub(crate) config: Config,
    pub(crate) broker: Broker,
    pub(crate) events: Follower,
    pub(crate) fold: Fold,
    pub(crate) leases: Leases,
    pub(crate) vault: Vault,
    /// The last attempt of each job whose ticket this process has sent.
    pub(crate) sent: HashMap<JobId, u32>,
    /// Runners whose queues this process has made sure of.
    pub(crate) opened: HashSet<RunnerId>,
    /// Attempts that a runner was told to drop and still speaks of.
    pub(crate) abandoned: HashSet<(RunnerId, Running)>,
    /// Attempts of which a runner speaks and that are not its own by the log, since when.
    pub(crate) unheld: HashMap<(RunnerId, Running), Instant>,
    /// Attempts that a runner was told to stop.
    pub(crate) told: Told,
    /// Executions whose jobs could not be queued, and when to try again.
    pub(crate) stuck: HashMap<ExecutionId, Instant>,
    /// What jobs ask for that wait while no such runner takes any, since when.
    pub(crate) unserved: HashMap<Demand, Instant>,
    /// Starts of runners that were told that nothing new will come.
    pub(crate) told_to_drain: HashSet<(RunnerId, Uuid)>,
    snapshot: SnapshotFile,
    checkpoint: Checkpoint,
    saved: u64,
}

impl Service {
    /// Loads the snapshot and reads the log up to its end.
    pub(crate) async fn start(config: Config, broker: Broker) -> anyhow::Result<Self> {
        let vault = Vault::open(&config.secrets_key)?;
        vault.announce(&broker).await?;
        let snapshot = SnapshotFile::new(&config.snapshot_dir, "scheduler");
        let (checkpoint, mut fold) =
            snapshot.load::<Fold>().unwrap_or_else(|| (Checkpoint::START, Fold::default()));
        broker.verify(&checkpoint).await?;
        let (job_limits, queue_timeout) = (config.job_limits.clone(), config.default_queue_timeout);
        fold.reindex(Site { job_limits, queue_timeout });
        let filters =
            [subject::ALL_EXECUTIONS, subject::ALL_RUNNERS, subject::ALL_ENROLLMENTS, subject::ALL_SECRETS];
        let filters = filters.map(str::to_owned);
        let events = broker.follow_events(&filters, Start::After(checkpoint.sequence));
        let mut service = Self {
            config,
            broker,
            events,
            fold,
            leases: Leases::default(),
            vault,
            sent: HashMap::new(),
            opened: HashSet::new(),
            abandoned: HashSet::new(),
            unheld: HashMap::new(),
            told: Told::new(),
            stuck: HashMap::new(),
            unserved: HashMap::new(),
            told_to_drain: HashSet::new(),
            snapshot,
            checkpoint,
            saved: checkpoint.sequence,
        };
        while !service.events.caught_up() {
            service.take_next_events().await?;
        }
        Ok(service)
    }

    /// Reconciles whenever something may have changed, until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut reports = self.broker.reports().await.context("the queue of reports")?;
        let mut beats = self.broker.follow_runner_beats();
        let mut connection = self.broker.connection();
        loop {
            let more = self.tick().await?;
            let after = now();
            let expiry = self.leases.next_expiry(after).unwrap_or(after + LEASE);
            let alarm = self.next_alarm(after).map_or(expiry, |alarm| alarm.min(expiry));
            let wake = if more { after } else { alarm };
            tokio::select! {
                () = stop.cancelled() => break,
                batch = self.events.next() => self.take_in(&batch?.messages),
                deliveries = reports.next_batch() => self.take_reports(deliveries).await?,
                beat = beats.next() => {
                    let (runner, beat) = beat?;
                    self.leases.beat(runner, beat, now());
                }
                changed = connection.changed() => {
                    changed.context("the broker's connection is gone")?;
                    self.leases.restart(now());
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            self.save(SNAPSHOT_EVERY);
        }
        self.save(1);
        Ok(())
    }

    /// Looks at everything and does what there is to do; says whether there is more to do at once.
    pub(crate) async fn tick(&mut self) -> anyhow::Result<bool> {
        let now = now();
        self.reopen().await?;
        let more = self.cancel().await? | self.retry().await?;
        self.greet(now).await?;
        self.lose(now).await?;
        self.queue(now).await?;
        self.time_out_queued(now).await?;
        self.fold.ripen(time());
        self.assign(now).await?;
        self.note_starved(now).await?;
        self.send_tickets(now).await;
        self.abandon(now).await;
        self.drain(now).await?;
        self.complete().await?;
        Ok(more)
    }

    /// Waits for events and takes them in.
    pub(crate) async fn take_next_events(&mut self) -> anyhow::Result<()> {
        let batch = self.events.next().await?;
        self.take_in(&batch.messages);
        Ok(())
    }

    pub(crate) fn take_in(&mut self, messages: &[Message]) {
        for message in messages {
            match message.event() {
                Ok(recorded) => self.fold.apply(&recorded),
                Err(error) => tracing::warn!(sequence = message.sequence, %error, "an event is passed over"),
            }
        }
        if let Some(last) = messages.last() {
            self.checkpoint = Checkpoint { sequence: last.sequence, event_id: last.event_id() };
        }
    }

    /// Writes the snapshot if enough has happened since the last one.
    pub(crate) fn save(&mut self, every: u64) {
        if self.checkpoint.sequence < self.saved + every {
            return;
        }
        match self.snapshot.save(&self.checkpoint, &self.fold) {
            Ok(()) => self.saved = self.checkpoint.sequence,
            Err(error) => tracing::warn!(%error, "no snapshot: a restart will read more of the log"),
        }
    }
}
