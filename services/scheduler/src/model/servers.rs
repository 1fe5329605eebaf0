//! The servers around the scheduler: the log, the queues of work, the reports and the heartbeats.
//!
//! Owns what they store and how they deliver: in order, at least once. Never decides anything.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use broker::{AppendError, Appended};
use events::Aggregate;
use events::beat::{RunnerBeat, Running};
use events::document::Scope;
use events::envelope::{NewEvent, Recorded};
use events::id::{EventId, RunnerId};
use events::report::Report;
use events::ticket::{Control, Ticket};
use fastrand::Rng;
use tokio::time::Instant;

use super::Seen;
use super::machine::{self, now, time};
use super::referee::Referee;

/// After how long a ticket that was not acknowledged comes again.
const ACK_WAIT: Duration = Duration::from_secs(10);

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
    /// Each attempt's first and last report in a message.
    known_reports: HashSet<(Running, u32, u32)>,
    /// How many messages were delivered to the scheduler.
    pub(super) delivered: usize,
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

/// Reports in their stream.
pub(super) struct Stored {
    pub(super) runner: RunnerId,
    pub(super) reports: Vec<Report>,
    pub(super) acknowledged: bool,
}

impl Servers {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        machine::begin();
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
        machine::wipe();
        self.see("a snapshot was lost");
    }

    pub(super) fn dies(&mut self) -> bool {
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

    pub(super) fn put_ticket(&mut self, runner: &RunnerId, ticket: Ticket) {
        let known = &self.referee.executions[&ticket.execution].state;
        assert!(
            known.pins().eq(ticket.images.iter().cloned()),
            "the ticket says of images what the log does"
        );
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

    /// Stores reports of one attempt, once within the window.
    pub(super) fn report(&mut self, runner: &RunnerId, reports: &[Report]) {
        let (first, last) = (&reports[0], &reports[reports.len() - 1]);
        let attempt = Running { job: first.job, attempt: first.attempt };
        if self.known_reports.insert((attempt, first.number, last.number)) {
            for report in reports {
                self.tell(|| format!("{runner} reports {} {} {:?}", report.job, report.attempt, report.what));
            }
            self.reports.push(Stored {
                runner: runner.clone(),
                reports: reports.to_vec(),
                acknowledged: false,
            });
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
