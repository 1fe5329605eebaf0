//! The service: start, intake, the end.
//!
//! Owns the order of things: what an earlier process left is dealt with first; a ticket is taken only while a slot is
//! free, and acknowledged only once it is written down; at the end nothing is left running. Invariant: a ticket that was
//! acknowledged is an attempt in hand or one that has ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use broker::sealing::KeyPair;
use broker::{Broker, Delivery, Queue};
use events::beat::{Running, Stage};
use events::id::RunnerId;
use events::ticket::{Control, Ticket};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::attempt;
use crate::attempts::{Attempts, Halted};
use crate::beats::Heart;
use crate::cache::FolderCache;
use crate::health::{Health, Patient, State, examine_folder};
use crate::journal::{Journal, Leftover, attempt_of};
use crate::kept::Kept;
use crate::leaving::{self, Leave};
use crate::limits::Site;
use crate::reach::Reach;
use crate::sandbox::EngineOptions;
use crate::slots::{Slot, Slots};
use crate::trash::Trash;
use crate::tree_cache::TreeCache;
use crate::workspace::{self, Mode};
use crate::{Config, git};

/// How long the last heartbeat may take: without it the runner is missed a lease later.
const LAST_BEAT: Duration = Duration::from_secs(5);

/// What all attempts of a runner share.
pub(crate) struct Shared {
    pub(crate) runner: RunnerId,
    pub(crate) broker: Broker,
    pub(crate) journal: Journal,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) health: Health,
    pub(crate) trees: TreeCache,
    pub(crate) folders: Arc<FolderCache>,
    pub(crate) kept: Arc<Kept>,
    pub(crate) trash: Trash,
    pub(crate) mode: Mode,
    /// What jobs may use here.
    pub(crate) site: Site,
    /// The most that jobs may reach.
    pub(crate) most: Reach,
    /// The image in which the `command` steps of legacy action files run.
    pub(crate) command_image: String,
    /// Opens the secrets of tickets. In memory alone, and new at each start: nothing on disk can be opened without it.
    pub(crate) sealing_key: KeyPair,
    /// How long a step may take to end after SIGTERM before it is killed.
    pub(crate) grace: Duration,
}

pub(crate) struct Service {
    config: Config,
    shared: Arc<Shared>,
    leftovers: Vec<Leftover>,
}

impl Service {
    /// Makes sure that all is there, and clears away what an earlier process left.
    pub(crate) async fn open(config: Config, broker: Broker) -> Result<Self> {
        if config.slots == 0 {
            bail!("a runner without slots runs nothing: give it at least one with --slots");
        }
        let version = git::version().await?;
        let dir = config.dir.clone();
        let journal = Journal::open(&dir)?;
        let dir = journal.root().to_owned();
        if let Err(error) = examine_folder(&dir) {
            tracing::warn!(error = format!("{error:#}"), "jobs will have to wait");
        }
        let trash = Trash::open(dir.join("trash"))?;
        workspace::discard(&dir.join("probe"), &trash)?;
        for folder in journal.folders()? {
            workspace::discard(&attempt::workspace_of(&folder), &trash)?;
        }
        let leftovers = journal.leftovers()?;
        let mode = workspace::probe(&dir)?;
        let folders = FolderCache::open(dir.join("cache"), config.tree_cache_bytes, trash.clone())?;
        let folders = Arc::new(folders);
        let kept = Kept::open(dir.join("kept"), config.kept_bytes, trash.clone())?;
        tracing::info!(runner = %config.id, git = version, workspaces = ?mode, "runner starts");
        let shared = Arc::new(Shared {
            runner: config.id.clone(),
            broker,
            journal,
            attempts: Arc::new(Attempts::new()),
            health: Health::new(),
            trees: TreeCache::over(Arc::clone(&folders)),
            folders,
            kept,
            trash,
            mode,
            site: Site {
                default: config.default_limits.clone(),
                max: config.max_limits.clone(),
                slots: config.slots,
            },
            most: config.networks.most,
            command_image: config.command_image.clone(),
            sealing_key: KeyPair::generate(),
            grace: config.grace,
        });
        Ok(Self { config, shared, leftovers })
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut tasks = JoinSet::new();
        for leftover in std::mem::take(&mut self.leftovers) {
            if let Some(halted) = shared.attempts.take_leftover(&attempt_of(&leftover.ticket)) {
                tasks.spawn(attempt::conclude(Arc::clone(&shared), leftover, halted));
            }
        }
        let patient = Patient {
            runner: shared.runner.clone(),
            engine: EngineOptions {
                host: self.config.docker_host.clone(),
                runtime: self.config.runtime.clone(),
                networks: self.config.networks.clone(),
            },
            folder: shared.journal.root().to_owned(),
            attempts: Arc::clone(&shared.attempts),
            reserve: self.config.reserve,
        };
        shared.health.look(&patient).await;
        let leave = Leave {
            incarnation: Uuid::now_v7(),
            wished: stop.child_token(),
            nothing_comes: CancellationToken::new(),
        };
        let (stage, stages) = watch::channel(Stage::Working);
        let heart = AbortOnDropHandle::new(tokio::spawn(self.heart(leave.incarnation, stages).beat()));
        tasks.spawn(empty(shared.trash.clone()));

        let mut intake = Intake::new(Arc::clone(&shared), self.config.slots, tasks);
        tokio::select! {
            () = intake.run(&leave.wished) => {}
            () = controls(&shared, &leave) => {}
            () = shared.health.watch_over(&patient) => {}
        }
        stage.send_replace(Stage::Draining);
        // The tasks live as long as this does.
        let _tasks = intake.into_tasks();
        tokio::select! {
            () = leaving::leave(&shared, &leave, self.config.drain_timeout) => {}
            () = controls(&shared, &leave) => {}
            () = shared.health.watch_over(&patient) => {}
        }
        shared.health.close().await;
        stage.send_replace(Stage::Leaving);
        if tokio::time::timeout(LAST_BEAT, heart).await.is_err() {
            tracing::warn!("the broker does not take the last heartbeat: the runner will be missed");
        }
        Ok(())
    }

    fn heart(&self, incarnation: Uuid, stage: watch::Receiver<Stage>) -> Heart {
        Heart {
            broker: self.shared.broker.clone(),
            runner: self.shared.runner.clone(),
            incarnation,
            slots: self.config.slots,
            pool: self.config.pool.clone(),
            labels: self.config.labels.clone(),
            attempts: Arc::clone(&self.shared.attempts),
            state: self.shared.health.watch(),
            stage,
            sealing_key: self.shared.sealing_key.public_key(),
        }
    }
}

async fn empty(trash: Trash) {
    if let Err(error) = trash.empty().await {
        tracing::warn!(error = format!("{error:#}"), "the trash cannot be emptied");
    }
}

/// Stops what the scheduler has taken away, and hears from it that the runner is to leave.
async fn controls(shared: &Shared, leave: &Leave) {
    let mut queue = shared.broker.controls(&shared.runner);
    loop {
        let delivery = queue.next().await;
        match &delivery.value {
            Ok(Control::Abandon { job, attempt }) => {
                let attempt = Running { job: *job, attempt: *attempt };
                if shared.attempts.abandon(&attempt) {
                    tracing::info!(job.id = %attempt.job, attempt = attempt.attempt, "an attempt was taken away");
                }
            }
            Ok(Control::Drain { incarnation }) => leave.told(*incarnation),
            Ok(Control::Cancel { job, attempt }) => {
                let attempt = Running { job: *job, attempt: *attempt };
                if !shared.journal.has_ended(&attempt) {
                    tracing::info!(job.id = %attempt.job, attempt = attempt.attempt, "an attempt is to stop");
                    shared.attempts.cancel(&attempt);
                }
            }
            Err(error) => {
                tracing::error!(queue = delivery.queue(), %error, "a control message cannot be read")
            }
        }
        acknowledge(&delivery).await;
    }
}

/// A message that is not acknowledged comes again, and is known then.
pub(crate) async fn acknowledge<T>(delivery: &Delivery<T>) {
    if let Err(error) = delivery.ack().await {
        tracing::debug!(queue = delivery.queue(), %error, "a message is not acknowledged yet");
    }
}

/// Takes tickets.
struct Intake {
    shared: Arc<Shared>,
    slots: Arc<Slots>,
    state: watch::Receiver<State>,
    tasks: JoinSet<()>,
}

impl Intake {
    fn new(shared: Arc<Shared>, slots: u32, tasks: JoinSet<()>) -> Self {
        let state = shared.health.watch();
        Self { shared, slots: Slots::new(slots), state, tasks }
    }

    fn into_tasks(self) -> JoinSet<()> {
        self.tasks
    }

    /// Takes tickets until it is told to stop; never in the middle of one.
    async fn run(&mut self, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.well()).await.is_some() {
            // One that is cut off in the middle of a request is not used again: a ticket that is on its way to it
            // goes back to the queue.
            let mut queue = self.shared.broker.tickets(&self.shared.runner);
            while let Some((slot, delivery)) = self.next(&mut queue, stop).await {
                self.take(delivery, slot);
            }
        }
    }

    /// Waits until tickets can be taken. What waits for that too long is for others.
    async fn well(&mut self) {
        let reason = self.state.borrow().reason().map(str::to_owned);
        let Some(reason) = reason else { return };
        tokio::select! {
            () = well(&mut self.state) => {}
            () = leaving::give_back_what_waits(&self.shared, &reason) => {}
        }
    }

    /// Waits for a slot and then for a ticket; none when there is a reason to take no more.
    async fn next(
        &self,
        queue: &mut Queue<Ticket>,
        stop: &CancellationToken,
    ) -> Option<(Slot, Delivery<Ticket>)> {
        let mut state = self.state.clone();
        let next = async {
            let slot = self.slots.take().await?;
            Some((slot, queue.next().await))
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => None,
            _ = state.wait_for(|state| state.reason().is_some()) => None,
            next = next => next,
        }
    }

    /// Begins to work on a ticket, unless it is known. The next one need not wait until this one is written down.
    fn take(&mut self, delivery: Delivery<Ticket>, slot: Slot) {
        while self.tasks.try_join_next().is_some() {}
        let shared = Arc::clone(&self.shared);
        let ticket = match &delivery.value {
            Ok(ticket) => ticket.clone(),
            Err(error) => {
                tracing::error!(queue = delivery.queue(), %error, "a ticket cannot be read: is this runner too old?");
                self.tasks.spawn(async move { acknowledge(&delivery).await });
                return;
            }
        };
        let id = attempt_of(&ticket);
        let halted = if shared.journal.has_ended(&id) { None } else { shared.attempts.take(&id) };
        match halted {
            Some(halted) => self.tasks.spawn(begin(shared, (ticket, delivery), slot, halted)),
            None => self.tasks.spawn(async move { acknowledge(&delivery).await }),
        };
    }
}

/// Writes a ticket down, and then runs it.
async fn begin(
    shared: Arc<Shared>,
    (ticket, delivery): (Ticket, Delivery<Ticket>),
    slot: Slot,
    halted: Halted,
) {
    let id = attempt_of(&ticket);
    let runner = Arc::clone(&shared);
    let begun = tokio::task::spawn_blocking(move || {
        let folder = runner.journal.begin(&ticket)?;
        Ok::<_, anyhow::Error>(Leftover { folder, ticket })
    });
    match begun.await.map_err(anyhow::Error::from).flatten() {
        Ok(begun) => {
            // The work need not wait until the broker has heard.
            tokio::join!(acknowledge(&delivery), attempt::run(shared, begun, slot, halted));
        }
        Err(error) => {
            tracing::error!(job.id = %id.job, error = format!("{error:#}"), "a ticket cannot be taken on");
            // The scheduler notices that nobody has it, and this runner takes no more until it can write.
            shared.health.broke(&format!("{error:#}"));
            acknowledge(&delivery).await;
            shared.attempts.release(&id);
        }
    }
}

async fn well(state: &mut watch::Receiver<State>) {
    if state.wait_for(|state| state.reason().is_none()).await.is_err() {
        std::future::pending().await
    }
}
