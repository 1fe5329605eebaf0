//! The servers around the scheduler: the log, the queues of work, the reports, the heartbeats, the disk and the clocks.
//!
//! Owns what they store and how they deliver: in order, at least once. `Broker` and the others have the names and promises
//! of the real ones, which `crate::outside` takes in the other builds. A scheduler may die at any step that others can
//! notice, with the step done or not: its future is then never ready.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::future::pending;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use broker::Checkpoint;
use broker::{
    AppendError, Appended, DecideError, Decided, FollowError, PublishError, ReadError, Start, VerifyError,
};
use events::beat::{RunnerBeat, Running};
use events::document::Scope;
use events::envelope::{NewEvent, Origin, Recorded};
use events::id::{EventId, RunnerId};
use events::report::Report;
use events::ticket::{Control, Ticket};
use events::{Aggregate, Event, Rejection, Timestamp, Undecodable};
use fastrand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Seen;
use super::referee::Referee;

/// After how long a ticket that was not acknowledged comes again.
const ACK_WAIT: Duration = Duration::from_secs(10);

thread_local! {
    static CLOCK: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    static DISK: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The clock that never goes back.
pub(crate) fn now() -> Instant {
    let (start, passed) = CLOCK.get().expect("a history has begun");
    start + passed
}

/// The clock on the wall.
pub(crate) fn time() -> Timestamp {
    let (_, passed) = CLOCK.get().expect("a history has begun");
    chrono::DateTime::UNIX_EPOCH + passed
}

/// Lets time pass.
pub(super) fn pass(time: Duration) {
    let (start, passed) = CLOCK.get().expect("a history has begun");
    CLOCK.set(Some((start, passed + time)));
}

/// The servers.
pub(super) struct Servers {
    pub(super) rng: Rng,
    pub(super) events: Vec<(Recorded, String)>,
    last: HashMap<Aggregate, u64>,
    known: HashMap<EventId, u64>,
    pub(super) referee: Referee,
    pub(super) scopes: Vec<Scope>,
    pub(super) queues: BTreeMap<RunnerId, Queues>,
    pub(super) reports: Vec<Stored>,
    known_reports: HashSet<(Running, u32)>,
    /// How many reports were delivered to the scheduler.
    delivered: usize,
    /// The newest heartbeat of each runner, with its place in the stream.
    pub(super) beats: BTreeMap<RunnerId, (u64, RunnerBeat)>,
    beaten: u64,
    /// The last heartbeat that the scheduler heard.
    heard: u64,
    /// How many more steps the scheduler takes before it dies.
    pub(super) fuse: Option<u32>,
    dead: bool,
    pub(super) seen: Seen,
    pub(super) trace: bool,
}

/// A runner's queues.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) tickets: VecDeque<Waiting>,
    pub(super) controls: VecDeque<Control>,
    known: HashSet<Running>,
}

/// A ticket in a queue.
pub(super) struct Waiting {
    ticket: Ticket,
    delivered: Option<Instant>,
}

/// A report in its stream.
pub(super) struct Stored {
    runner: RunnerId,
    report: Report,
    pub(super) acknowledged: bool,
}

impl Servers {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        CLOCK.set(Some((Instant::now(), Duration::from_secs(1_000_000))));
        DISK.take();
        Self {
            rng: Rng::with_seed(seed),
            events: Vec::new(),
            last: HashMap::new(),
            known: HashMap::new(),
            referee: Referee::default(),
            scopes: Vec::new(),
            queues: BTreeMap::new(),
            reports: Vec::new(),
            known_reports: HashSet::new(),
            delivered: 0,
            beats: BTreeMap::new(),
            beaten: 0,
            heard: 0,
            fuse: None,
            dead: false,
            seen: Seen::new(),
            trace,
        }
    }

    /// Notes that something happened.
    pub(super) fn see(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
        self.tell(|| what.to_owned());
    }

    /// Says what happens, if somebody reads it.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{} {}", time().format("%T%.3f"), line());
        }
    }

    /// Whether something happens that does so once in so many times.
    pub(super) fn one_in(&mut self, times: u32) -> bool {
        self.rng.u32(0..times) == 0
    }

    /// A scheduler starts: what was delivered to the one before and not acknowledged comes again.
    pub(super) fn scheduler_starts(&mut self) {
        self.dead = false;
        self.delivered = self.reports.iter().take_while(|stored| stored.acknowledged).count();
        self.heard = 0;
    }

    /// Its snapshot is gone.
    pub(super) fn lose_snapshot(&mut self) {
        DISK.take();
        self.see("a snapshot was lost");
    }

    fn dies(&mut self) -> bool {
        match self.fuse {
            Some(0) => {
                self.fuse = None;
                self.dead = true;
            }
            left => self.fuse = left.map(|left| left - 1),
        }
        self.dead
    }

    /// Appends an event, once however often it is called.
    pub(super) fn append(&mut self, new: &NewEvent, expected: u64) -> Result<Appended, AppendError> {
        let id = new.id();
        if let Some(sequence) = self.known.get(&id) {
            return Ok(Appended { sequence: *sequence, repeated: true });
        }
        if self.last(&new.aggregate) != expected {
            self.see("an append met news");
            return Err(AppendError::Conflict);
        }
        let sequence = self.events.len() as u64 + 1;
        self.last.insert(new.aggregate.clone(), sequence);
        self.known.insert(id, sequence);
        self.tell(|| format!("{sequence} {} {:?}", new.aggregate, new.event));
        let recorded = Recorded {
            sequence,
            id,
            time: new.time,
            actor: new.origin.actor.clone(),
            correlation: String::new(),
            causation: None,
            aggregate: new.aggregate.clone(),
            event: new.event.clone(),
        };
        let what = self.referee.watch(&recorded);
        *self.seen.entry(what).or_default() += 1;
        self.events.push((recorded, new.subject()));
        Ok(Appended { sequence, repeated: false })
    }

    /// Where the newest event of an aggregate stands.
    pub(super) fn last(&self, aggregate: &Aggregate) -> u64 {
        self.last.get(aggregate).copied().unwrap_or_default()
    }

    fn put_ticket(&mut self, runner: &RunnerId, ticket: Ticket) {
        let queues = self.queues.entry(runner.clone()).or_default();
        let attempt = Running { job: ticket.job, attempt: ticket.attempt };
        if queues.known.insert(attempt.clone()) {
            queues.tickets.push_back(Waiting { ticket, delivered: None });
            self.tell(|| format!("{runner} gets a ticket for {attempt:?}"));
        }
    }

    /// The window in which a repeated ticket or report is recognised has passed.
    pub(super) fn forget_repetitions(&mut self) {
        self.queues.values_mut().for_each(|queues| queues.known.clear());
        self.known_reports.clear();
    }

    /// Delivers the next ticket, if there is one.
    pub(super) fn pull(&mut self, runner: &RunnerId) -> Option<Ticket> {
        let queues = self.queues.get_mut(runner)?;
        let due = |waiting: &&mut Waiting| waiting.delivered.is_none_or(|at| now() >= at + ACK_WAIT);
        let waiting = queues.tickets.iter_mut().find(due)?;
        let again = waiting.delivered.replace(now()).is_some();
        let ticket = waiting.ticket.clone();
        if again {
            self.see("a ticket came twice");
        }
        Some(ticket)
    }

    pub(super) fn acknowledge_ticket(&mut self, runner: &RunnerId, ticket: &Ticket) {
        if let Some(queues) = self.queues.get_mut(runner) {
            queues.tickets.retain(|waiting| waiting.ticket != *ticket);
        }
    }

    /// Stores a report, once within the window.
    pub(super) fn report(&mut self, runner: &RunnerId, report: Report) {
        let attempt = Running { job: report.job, attempt: report.attempt };
        if self.known_reports.insert((attempt, report.number)) {
            self.tell(|| format!("{runner} reports {} {} {:?}", report.job, report.attempt, report.what));
            self.reports.push(Stored { runner: runner.clone(), report, acknowledged: false });
        }
    }

    pub(super) fn beat(&mut self, runner: &RunnerId, beat: RunnerBeat) {
        self.beaten += 1;
        self.beats.insert(runner.clone(), (self.beaten, beat));
    }

    /// The heartbeats that the scheduler has not heard.
    pub(super) fn hear(&mut self) -> Vec<(RunnerId, RunnerBeat)> {
        let news = self.beats.iter().filter(|(_, (number, _))| *number > self.heard);
        let news = news.map(|(runner, (_, beat))| (runner.clone(), beat.clone())).collect();
        self.heard = self.beaten;
        news
    }
}

/// The scheduler's connection to the servers.
#[derive(Clone)]
pub struct Broker(pub(super) Rc<RefCell<Servers>>);

impl Broker {
    /// A step that others can notice.
    async fn step<T>(&self, effect: impl FnOnce(&mut Servers) -> T) -> T {
        let done = {
            let servers = &mut *self.0.borrow_mut();
            let dies = servers.dies();
            let done = (!dies || servers.rng.bool()).then(|| effect(servers));
            done.filter(|_| !dies)
        };
        match done {
            Some(done) => done,
            None => pending().await,
        }
    }

    pub(crate) async fn append(&self, event: &NewEvent, expected: u64) -> Result<Appended, AppendError> {
        self.step(|servers| servers.append(event, expected)).await
    }

    pub(crate) async fn append_births(&self, births: &[NewEvent]) -> Result<(), AppendError> {
        for event in births {
            self.append(event, 0).await?;
        }
        Ok(())
    }

    pub(crate) async fn history(&self, aggregate: &Aggregate) -> Result<Vec<Recorded>, ReadError> {
        let servers = self.0.borrow();
        let own = servers.events.iter().filter(|(recorded, _)| recorded.aggregate == *aggregate);
        Ok(own.map(|(recorded, _)| recorded.clone()).collect())
    }

    pub(crate) async fn decide(
        &self,
        aggregate: &Aggregate,
        origin: &Origin,
        time: Timestamp,
        mut decide: impl FnMut(&[Recorded]) -> Result<Option<Event>, Rejection>,
    ) -> Result<Decided, DecideError> {
        let history = self.history(aggregate).await?;
        let sequence = history.last().map_or(0, |last| last.sequence);
        let Some(event) = decide(&history)? else { return Ok(Decided { sequence, event: None }) };
        let new = NewEvent { aggregate: aggregate.clone(), event, time, origin: origin.clone() };
        let appended = self.append(&new, sequence).await?;
        Ok(Decided { sequence: appended.sequence, event: Some(new.event) })
    }

    /// A scope: its size says which.
    pub(crate) async fn get_document<T: DeserializeOwned>(
        &self,
        blob: &events::blob::BlobRef,
    ) -> serde_json::Result<T> {
        serde_json::from_value(serde_json::to_value(&self.0.borrow().scopes[blob.size as usize])?)
    }

    pub(crate) async fn verify(&self, checkpoint: &Checkpoint) -> Result<(), VerifyError> {
        assert!(checkpoint.sequence <= self.0.borrow().events.len() as u64, "it saw what is not there");
        Ok(())
    }

    pub(crate) fn follow_events(&self, filters: &[String], start: Start) -> Follower {
        let Start::After(after) = start else { unreachable!("events are followed from a place") };
        Follower { broker: self.clone(), filters: filters.to_vec(), next: after as usize }
    }

    pub(crate) async fn open_queues(&self, runner: &RunnerId) -> Result<(), ReadError> {
        self.step(|servers| _ = servers.queues.entry(runner.clone()).or_default()).await;
        Ok(())
    }

    pub(crate) async fn put_ticket(&self, runner: &RunnerId, ticket: &Ticket) -> Result<(), PublishError> {
        self.step(|servers| servers.put_ticket(runner, ticket.clone())).await;
        Ok(())
    }

    pub(crate) async fn put_control(&self, runner: &RunnerId, control: &Control) -> Result<(), PublishError> {
        self.step(|servers| {
            servers.tell(|| format!("{runner} is told {control:?}"));
            servers.queues.entry(runner.clone()).or_default().controls.push_back(control.clone());
        })
        .await;
        Ok(())
    }

    pub(crate) async fn clear_tickets(&self, runner: &RunnerId) -> Result<(), ReadError> {
        self.step(|servers| {
            let queues = servers.queues.entry(runner.clone()).or_default();
            queues.tickets.clear();
            queues.controls.clear();
        })
        .await;
        Ok(())
    }

    /// The next reports, as the queue delivers them.
    pub(super) fn deliver(&self, most: usize) -> Vec<ReportDelivery> {
        let servers = &mut *self.0.borrow_mut();
        let end = servers.reports.len().min(servers.delivered.saturating_add(most));
        let places = servers.delivered..end;
        servers.delivered = end;
        let delivery = |place: usize| {
            let stored = &servers.reports[place];
            let (runner, report) = (stored.runner.clone(), Ok(stored.report.clone()));
            ReportDelivery { runner, report, place, broker: self.clone() }
        };
        places.map(delivery).collect()
    }

    // The loop itself, which is not what goes through the histories, takes these.

    pub(crate) async fn reports(&self) -> Result<Self, ReadError> {
        Ok(self.clone())
    }

    pub(crate) async fn next_batch(&mut self) -> Vec<ReportDelivery> {
        pending().await
    }

    pub(crate) fn follow_runner_beats(&self) -> Self {
        self.clone()
    }

    pub(crate) async fn next(&mut self) -> Result<(RunnerId, RunnerBeat), FollowError> {
        pending().await
    }

    pub(crate) fn connection(&self) -> watch::Receiver<()> {
        watch::channel(()).1
    }
}

/// A report that waits for its fact.
pub(crate) struct ReportDelivery {
    pub(crate) runner: RunnerId,
    pub(crate) report: serde_json::Result<Report>,
    place: usize,
    broker: Broker,
}

impl ReportDelivery {
    pub(crate) async fn ack(&self) -> Result<(), ReadError> {
        self.broker.step(|servers| servers.reports[self.place].acknowledged = true).await;
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "the real one waits")]
    pub(crate) async fn bury(&self, reason: &str) -> anyhow::Result<()> {
        panic!("a report of an honest runner makes no sense: {reason}");
    }
}

/// A reader of the log.
pub(crate) struct Follower {
    broker: Broker,
    filters: Vec<String>,
    next: usize,
}

/// Messages that came together.
pub(crate) struct Batch {
    pub(crate) messages: Vec<Message>,
}

/// A message of the log.
pub(crate) struct Message {
    pub(crate) sequence: u64,
    recorded: Recorded,
}

impl Follower {
    pub(crate) async fn next(&mut self) -> Result<Batch, FollowError> {
        if self.caught_up() {
            return pending().await;
        }
        let servers = &mut *self.broker.0.borrow_mut();
        let end = (self.next + servers.rng.usize(1..30)).min(servers.events.len());
        let place = |(recorded, _): &(Recorded, String)| Message {
            sequence: recorded.sequence,
            recorded: recorded.clone(),
        };
        let wanted = servers.events[self.next..end].iter().filter(|(_, subject)| self.wants(subject));
        let messages = wanted.map(place).collect();
        self.next = end;
        Ok(Batch { messages })
    }

    pub(crate) fn caught_up(&self) -> bool {
        self.next == self.broker.0.borrow().events.len()
    }

    fn wants(&self, subject: &str) -> bool {
        self.filters.iter().any(|filter| {
            let mut tokens = subject.split('.');
            for wanted in filter.split('.') {
                match (wanted, tokens.next()) {
                    (">", Some(_)) => return true,
                    ("*", Some(_)) => {}
                    (wanted, Some(token)) if wanted == token => {}
                    _ => return false,
                }
            }
            tokens.next().is_none()
        })
    }
}

impl Message {
    #[expect(clippy::unnecessary_wraps, reason = "the real one may hold anything")]
    pub(crate) fn event(&self) -> Result<Recorded, Undecodable> {
        Ok(self.recorded.clone())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the real one may hold anything")]
    pub(crate) fn event_id(&self) -> Option<EventId> {
        Some(self.recorded.id)
    }
}

/// The one snapshot of a history.
pub(crate) struct SnapshotFile;

impl SnapshotFile {
    pub(crate) fn new(_folder: &Path, _service: &str) -> Self {
        Self
    }

    pub(crate) fn load<S: DeserializeOwned>(&self) -> Option<(Checkpoint, S)> {
        DISK.with_borrow(|disk| {
            disk.as_ref().map(|text| serde_json::from_slice(text).expect("it was saved so"))
        })
    }

    pub(crate) fn save<S: Serialize>(&self, checkpoint: &Checkpoint, state: &S) -> std::io::Result<()> {
        let text = serde_json::to_vec(&(checkpoint, state))?;
        DISK.set(Some(text));
        Ok(())
    }
}
