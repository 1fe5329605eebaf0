//! A runner as its scheduler sees it: it takes tickets, works, and tells.
//!
//! Owns what a runner keeps on disk: the attempts that it took on with their reports, and the names of those that ended. A
//! crash leaves that and nothing else.

use std::collections::{BTreeMap, HashSet};

use events::beat::{RunnerBeat, Running, Stage};
use events::id::RunnerId;
use events::job::{DiffStat, Failure, FailureKind, LossCause};
use events::log::LogEnd;
use events::report::{Report, What};
use events::runner::DEFAULT_POOL;
use events::ticket::{Control, Ticket};
use uuid::Uuid;

use super::servers::Servers;
use super::values::{log_end, patch, pin};

/// A runner.
pub(super) struct Runner {
    pub(super) id: RunnerId,
    pub(super) slots: u32,
    pub(super) up: bool,
    pub(super) connected: bool,
    starts: u128,
    stage: Stage,
    /// The scheduler said that nothing more comes.
    nothing_comes: bool,
    pub(super) hand: BTreeMap<(events::id::JobId, u32), Attempt>,
    ended: HashSet<(events::id::JobId, u32)>,
}

/// An attempt that was taken on.
pub(super) struct Attempt {
    ticket: Ticket,
    reports: Vec<Report>,
    sent: usize,
    /// An earlier process took it on: it has no slot and is only to be concluded.
    leftover: bool,
}

impl Attempt {
    fn is_over(&self) -> bool {
        let last = self.reports.last();
        last.is_some_and(|last| {
            !matches!(
                last.what,
                What::Started
                    | What::Images { .. }
                    | What::StepStarted { .. }
                    | What::StepFinished { .. }
                    | What::StepSkipped { .. }
                    | What::Reused { .. }
            )
        })
    }

    fn push(&mut self, what: What) {
        let number = self.reports.len() as u32 + 1;
        let Ticket { execution, job, attempt, .. } = self.ticket;
        self.reports.push(Report {
            execution,
            job,
            attempt,
            number,
            time: chrono::DateTime::UNIX_EPOCH,
            what,
        });
    }
}

impl Runner {
    pub(super) fn new(name: &str, slots: u32) -> Self {
        let id = name.parse().expect("a runner's name");
        let (hand, ended) = Default::default();
        Self {
            id,
            slots,
            up: true,
            connected: true,
            starts: 0,
            stage: Stage::Working,
            nothing_comes: false,
            hand,
            ended,
        }
    }

    /// Dies at once.
    pub(super) fn die(&mut self) {
        self.up = false;
    }

    /// Starts again with what is on disk.
    pub(super) fn start(&mut self) {
        (self.up, self.stage, self.nothing_comes) = (true, Stage::Working, false);
        self.starts += 1;
        for attempt in self.hand.values_mut() {
            attempt.leftover = true;
            attempt.sent = 0;
            if !attempt.is_over() {
                attempt.push(abandoned(LossCause::Runner));
            }
        }
    }

    /// Is asked to stop by whoever started it.
    pub(super) fn drain(&mut self) {
        if self.up && self.stage == Stage::Working {
            self.stage = Stage::Draining;
        }
    }

    /// Leaves, if it is to and has nothing to do any more; and now and then without the scheduler's word.
    pub(super) fn leave(&mut self, servers: &mut Servers) {
        let is_empty = servers.queues.get(&self.id).is_none_or(|queues| queues.tickets.is_empty());
        let is_told = self.nothing_comes && is_empty;
        let may = self.up && self.connected && self.stage == Stage::Draining && self.hand.is_empty();
        if may && (is_told || servers.one_in(30)) {
            self.stage = Stage::Leaving;
            self.beat(servers);
            self.up = false;
            servers.see("a runner left");
        }
    }

    /// Whether nothing is in hand.
    pub(super) fn is_idle(&self) -> bool {
        self.hand.is_empty()
    }

    pub(super) fn beat(&self, servers: &mut Servers) {
        if !self.up || !self.connected {
            return;
        }
        let running =
            self.hand.keys().map(|(job, attempt)| Running { job: *job, attempt: *attempt }).collect();
        let beat = RunnerBeat {
            incarnation: Uuid::from_u128(self.starts),
            slots: if self.stage == Stage::Working { self.slots } else { 0 },
            running,
            pool: DEFAULT_POOL.to_owned(),
            stage: self.stage,
            labels: BTreeMap::new(),
            version: String::new(),
            trouble: None,
            sealing_key: None,
        };
        servers.beat(&self.id, beat);
    }

    /// Does one thing of those it could do.
    pub(super) fn act(&mut self, servers: &mut Servers) {
        match servers.rng.u32(0..9) {
            _ if !self.up => {}
            8 => self.leave(servers),
            0..2 => self.take(servers),
            2 => self.obey(servers),
            3..6 => self.work(servers),
            _ => self.send(servers),
        }
    }

    /// Takes the next ticket, if there is room; one that drains gives it back.
    pub(super) fn take(&mut self, servers: &mut Servers) {
        let busy = self.hand.values().filter(|attempt| !attempt.leftover).count();
        let drains = self.stage != Stage::Working;
        if !self.connected || (busy >= self.slots as usize && !drains) {
            return;
        }
        let Some(ticket) = servers.pull(&self.id) else { return };
        let id = (ticket.job, ticket.attempt);
        if !self.ended.contains(&id) && !self.hand.contains_key(&id) {
            let mut attempt =
                Attempt { ticket: ticket.clone(), reports: Vec::new(), sent: 0, leftover: false };
            if drains {
                attempt.push(What::Returned { reason: "it drains".to_owned() });
            }
            self.hand.insert(id, attempt);
        }
        // An acknowledgement that is lost lets the ticket come again.
        if !servers.one_in(6) {
            servers.acknowledge_ticket(&self.id, &ticket);
        }
    }

    /// Does what the scheduler says.
    pub(super) fn obey(&mut self, servers: &mut Servers) {
        if !self.connected {
            return;
        }
        let Some(control) = servers.queues.get_mut(&self.id).and_then(|queues| queues.controls.pop_front())
        else {
            return;
        };
        match control {
            Control::Abandon { job, attempt } => {
                if self.hand.remove(&(job, attempt)).is_some() {
                    self.ended.insert((job, attempt));
                    servers.see("an attempt was taken away");
                }
            }
            Control::Drain { incarnation } => {
                // Another start of it may have been meant.
                if incarnation == Uuid::from_u128(self.starts) {
                    self.drain();
                    self.nothing_comes = true;
                }
            }
            Control::Cancel { job, attempt } => {
                let open = self.hand.get_mut(&(job, attempt)).filter(|attempt| !attempt.is_over());
                if let Some(attempt) = open {
                    if attempt.reports.is_empty() {
                        attempt.push(What::Started);
                    }
                    attempt.push(What::Canceled { log: log_end() });
                    servers.see("an attempt was stopped");
                }
            }
        }
    }

    /// Goes on with an attempt.
    pub(super) fn work(&mut self, servers: &mut Servers) {
        let idle = self.hand.values_mut().filter(|attempt| !attempt.is_over());
        let Some(attempt) = servers.rng.choose_multiple(idle, 1).pop() else { return };
        let what = match attempt.reports.last().map(|last| &last.what) {
            None => What::Started,
            // What a name means may be another thing for each who asks.
            Some(What::Started) if attempt.ticket.images.is_empty() && !servers.one_in(4) => {
                What::Images { images: vec![pin(servers.rng.u8(1..4))] }
            }
            Some(What::Started | What::Images { .. }) if servers.one_in(5) => What::StepSkipped { step: 1 },
            Some(What::Started | What::Images { .. }) => What::StepStarted { step: 1 },
            Some(What::StepStarted { step }) => {
                What::StepFinished { step: *step, exit_code: 0, duration_ms: 1 }
            }
            _ => end(servers),
        };
        attempt.push(what);
    }

    /// Sends some reports of an attempt, and forgets the attempt after the last one.
    pub(super) fn send(&mut self, servers: &mut Servers) {
        if !self.connected {
            return;
        }
        let full = self.hand.iter_mut().filter(|(_, attempt)| attempt.sent < attempt.reports.len());
        let Some((id, attempt)) = servers.rng.choose_multiple(full, 1).pop() else { return };
        let id = *id;
        let together = servers.rng.usize(1..=attempt.reports.len() - attempt.sent);
        let reports = attempt.reports[attempt.sent..attempt.sent + together].to_vec();
        attempt.sent += together;
        let last = attempt.is_over() && attempt.sent == attempt.reports.len();
        servers.report(&self.id, &reports);
        if together > 1 {
            servers.see("reports came together");
        }
        if servers.one_in(20) {
            servers.forget_repetitions();
            servers.see("a report came twice");
            servers.report(&self.id, &reports);
        }
        if last {
            self.hand.remove(&id);
            self.ended.insert(id);
        }
    }
}

fn abandoned(cause: LossCause) -> What {
    What::Abandoned { cause, reason: "it cannot go on".to_owned(), log: log_end() }
}

/// The end of an attempt whose step went well, or did not.
fn end(servers: &mut Servers) -> What {
    let log: LogEnd = log_end();
    match servers.rng.u32(0..10) {
        0 => What::TimedOut { limit_ms: 1, step: None, results: Vec::new(), log },
        1 => abandoned([LossCause::Infrastructure, LossCause::Drained][servers.rng.usize(0..2)]),
        2 | 3 => {
            let (message, hint) = ("it failed".to_owned(), String::new());
            let failure = Failure {
                kind: FailureKind::StepExit,
                step: Some(1),
                exit_code: Some(1),
                limit: None,
                message,
                hint,
            };
            What::Failed { failure, results: Vec::new(), log }
        }
        _ => What::Succeeded {
            patch: Some(patch()),
            diff_stat: DiffStat::default(),
            outputs: Default::default(),
            results: Vec::new(),
            log,
        },
    }
}
