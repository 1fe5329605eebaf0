//! The loop: which log is sealed when.
//!
//! Owns the order of things. What is to be sealed follows from the fold and from a look at the live logs; many logs are
//! sealed at once, and the large ones in a lane of their own so that the small ones get by.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::Context as _;
use broker::{Broker, Checkpoint, Follower, Message, Retry, SnapshotFile, Start};
use chrono::Utc;
use events::beat::Running;
use events::{AggregateKind, Undecodable, subject};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::ended::Ended;
use crate::fold::Fold;
use crate::seal::{SCRATCH_PREFIX, Trouble, seal};
use crate::sweep::Sweep;

/// Whose dead letters these are.
const NAME: &str = "log-collector";

/// How many events may be read again after a crash.
const SNAPSHOT_EVERY: u64 = 5_000;

/// How many logs are sealed at once in each lane.
const SMALL_AT_ONCE: usize = 8;
const LARGE_AT_ONCE: usize = 2;

/// From how many bytes on a log is large.
const LARGE: u64 = 16 * 1024 * 1024;

/// How long an attempt that could not report its end may still send of its log: the stop of its processes and the last
/// chunks. What comes later is sealed later.
const GRACE: Duration = Duration::from_secs(10);

/// How often live logs are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(15);

/// How long to wait after a failure that may pass.
const PAUSE: Duration = Duration::from_secs(3);

/// The events that begin an attempt, end it or seal its log.
const NAMES: [&str; 7] = ["assigned", "succeeded", "failed", "timed_out", "lost", "canceled", "log_sealed"];

type Sealing = BoxFuture<'static, (Ended, Result<(), Trouble>)>;

pub(crate) struct Service {
    config: Config,
    broker: Broker,
    events: Follower,
    fold: Fold,
    sweep: Sweep,
    /// What the sweep found: sealed attempts with something left.
    found: Vec<Ended>,
    sealing: FuturesUnordered<Sealing>,
    /// The attempts whose log is being sealed, and whether it counts as large.
    busy: HashMap<Running, bool>,
    /// When to try again what failed.
    paused: HashMap<Running, Instant>,
    /// What a person wants to be tried again. Each comes again, also after a restart, until it is said to be done.
    retries: HashMap<Running, Retry>,
    snapshot: SnapshotFile,
    checkpoint: Checkpoint,
    saved: u64,
}

impl Service {
    /// Loads the snapshot, reads the log up to its end and removes what an earlier process left in the scratch folder.
    pub(crate) async fn start(config: Config, broker: Broker) -> anyhow::Result<Self> {
        clear(&config).with_context(|| {
            format!("the scratch folder {} must be a folder to write in", config.scratch_dir.display())
        })?;
        let snapshot = SnapshotFile::new(&config.snapshot_dir, NAME);
        let (checkpoint, mut fold) =
            snapshot.load::<Fold>().unwrap_or_else(|| (Checkpoint::START, Fold::default()));
        broker.verify(&checkpoint).await?;
        fold.reindex();
        let filters = NAMES.map(|name| subject::every(AggregateKind::Job, name));
        let mut service = Self {
            events: broker.follow_events(&filters, Start::After(checkpoint.sequence)),
            config,
            broker,
            fold,
            sweep: Sweep::default(),
            found: Vec::new(),
            sealing: FuturesUnordered::new(),
            busy: HashMap::new(),
            paused: HashMap::new(),
            retries: HashMap::new(),
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

    /// Seals what has ended until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut retries = self.broker.retries(NAME);
        let mut sweeps = tokio::time::interval(SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.start_due();
            tokio::select! {
                () = stop.cancelled() => break,
                batch = self.events.next() => self.take_in(&batch?.messages).await?,
                Some((ended, result)) = self.sealing.next() => self.settle(&ended, result).await?,
                retry = retries.next() => self.take_up(retry).await?,
                _ = sweeps.tick() => self.look().await,
                () = tokio::time::sleep_until(wake) => {}
            }
            self.save(SNAPSHOT_EVERY);
        }
        // A seal that is under way is a few steps from its end, and each of them may be repeated: it is dropped.
        self.save(1);
        Ok(())
    }

    /// Begins to seal what is due and fits; returns when to look again.
    fn start_due(&mut self) -> Instant {
        let (now, time) = (Instant::now(), Utc::now());
        let mut wake = now + SWEEP_EVERY;
        let mut due = Vec::new();
        let large = self.busy.values().filter(|large| **large).count();
        let mut room =
            [SMALL_AT_ONCE.saturating_sub(self.busy.len() - large), LARGE_AT_ONCE.saturating_sub(large)];
        let mut chosen = HashSet::new();
        for ended in self.found.iter().chain(self.fold.unsealed()) {
            if room == [0, 0] {
                break;
            }
            if self.busy.contains_key(&ended.attempt) || chosen.contains(&ended.attempt) {
                continue;
            }
            let grace = if ended.log.is_some() { Duration::ZERO } else { GRACE };
            let patience = (ended.time + grace - time).to_std().unwrap_or_default().min(GRACE);
            let at = (now + patience).max(self.paused.get(&ended.attempt).copied().unwrap_or(now));
            if at > now {
                wake = wake.min(at);
                continue;
            }
            let lane = &mut room[usize::from(is_large(ended))];
            if *lane > 0 {
                *lane -= 1;
                chosen.insert(ended.attempt.clone());
                due.push(ended.clone());
            }
        }
        for ended in due {
            self.begin(ended);
        }
        wake
    }

    fn begin(&mut self, ended: Ended) {
        self.busy.insert(ended.attempt.clone(), is_large(&ended));
        let (broker, scratch) = (self.broker.clone(), self.config.scratch_dir.clone());
        // A task of its own: compressing one log must not keep the others and the events waiting.
        let task = tokio::spawn({
            let ended = ended.clone();
            async move { seal(&broker, &scratch, &ended).await }
        });
        let task = tokio_util::task::AbortOnDropHandle::new(task);
        self.sealing.push(Box::pin(async move {
            let result = task.await.unwrap_or_else(|error| Err(Trouble::Passing(error.into())));
            (ended, result)
        }));
    }

    /// Takes in what came of a seal.
    async fn settle(&mut self, ended: &Ended, result: Result<(), Trouble>) -> anyhow::Result<()> {
        let attempt = &ended.attempt;
        self.busy.remove(attempt);
        match result {
            Ok(()) => {
                self.forget(attempt);
                if let Some(retry) = self.retries.remove(attempt) {
                    retry.done().await;
                }
            }
            Err(Trouble::Passing(error)) => {
                let (job, number) = (attempt.job, attempt.attempt);
                tracing::warn!(job.id = %job, attempt = number, error = format!("{error:#}"), "a log is not sealed yet");
                self.paused.insert(attempt.clone(), Instant::now() + PAUSE);
            }
            Err(Trouble::Dead(reason)) => self.set_aside(ended, &reason).await?,
            Err(Trouble::Fatal(error)) => return Err(error),
        }
        Ok(())
    }

    /// Leaves a log to a person.
    async fn set_aside(&mut self, ended: &Ended, reason: &str) -> anyhow::Result<()> {
        let attempt = &ended.attempt;
        tracing::warn!(job.id = %attempt.job, attempt = attempt.attempt, reason, "a log cannot be sealed");
        let retry = self.retries.remove(attempt);
        if let Some(retry) = &retry {
            self.broker.bury_again(NAME, retry, reason).await?;
        } else if let Some(message) = self.broker.event_at(ended.sequence).await? {
            self.broker.bury(NAME, &message, reason).await?;
        }
        self.forget(attempt);
        self.fold.give_up(attempt);
        // Read again after a crash, the event would be buried again.
        self.save(0);
        if let Some(retry) = &retry {
            retry.done().await;
        }
        Ok(())
    }

    fn forget(&mut self, attempt: &Running) {
        self.fold.sealed(attempt);
        self.found.retain(|ended| ended.attempt != *attempt);
        self.paused.remove(attempt);
    }

    /// Looks for live logs that no event leads to.
    async fn look(&mut self) {
        match self.sweep.look(&self.broker, &self.fold).await {
            Ok(found) => {
                for ended in found {
                    if self.found.iter().all(|known| known.attempt != ended.attempt) {
                        self.found.push(ended);
                    }
                }
            }
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "live logs cannot be looked at, trying again")
            }
        }
    }

    /// Takes up what was set aside.
    async fn take_up(&mut self, retry: Retry) -> anyhow::Result<()> {
        match retry.event.event().map(|recorded| Ended::of(&recorded)) {
            Ok(Some(ended)) => {
                self.retries.insert(ended.attempt.clone(), retry);
                self.fold.end(ended);
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
            match message.event() {
                Ok(recorded) => self.fold.apply(&recorded),
                Err(error @ Undecodable::UnknownType { .. }) => {
                    tracing::debug!(sequence = message.sequence, %error, "an event is passed over");
                }
                Err(error) => self.broker.bury(NAME, message, &error.to_string()).await?,
            }
        }
        if let Some(last) = messages.last() {
            self.checkpoint = Checkpoint { sequence: last.sequence, event_id: last.event_id() };
        }
        Ok(())
    }

    /// Writes the snapshot if enough has happened since the last one; says whether it stands.
    fn save(&mut self, every: u64) -> bool {
        if self.checkpoint.sequence < self.saved + every {
            return true;
        }
        match self.snapshot.save(&self.checkpoint, &self.fold) {
            Ok(()) => self.saved = self.checkpoint.sequence,
            Err(error) => {
                tracing::warn!(%error, "no snapshot: a restart will read more of the log");
                return false;
            }
        }
        true
    }
}

/// A log of unknown size counts as large.
fn is_large(ended: &Ended) -> bool {
    ended.log.as_ref().is_none_or(|log| log.bytes >= LARGE)
}

/// Makes the scratch folder and removes what an earlier process left in it.
fn clear(config: &Config) -> std::io::Result<()> {
    std::fs::create_dir_all(&config.scratch_dir)?;
    for entry in std::fs::read_dir(&config.scratch_dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SCRATCH_PREFIX) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
