//! The referee: what is promised about the log, checked at each event.
//!
//! Owns a view of its own, made of the events alone and of as little of the domain's code as can be: a rule that were
//! taken from `decide` would be broken with it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use events::envelope::Recorded;
use events::id::{ExecutionId, JobId, RunnerId};
use events::job::{self, Job};
use events::runner::DEFAULT_POOL;
use events::{Aggregate, Event, Timestamp, execution, runner};

use crate::JobLimits;

/// The referee.
#[derive(Default)]
pub(super) struct Referee {
    pub(super) executions: BTreeMap<ExecutionId, Execution>,
    pub(super) jobs: BTreeMap<(ExecutionId, JobId), Watched>,
    /// The state that the domain makes of each runner, for people who decide something about it.
    pub(super) runners: BTreeMap<RunnerId, runner::Runner>,
    /// What the site allows.
    pub(super) limits: JobLimits,
    /// How many jobs each runner may have at once.
    pub(super) slots: BTreeMap<RunnerId, u32>,
}

/// What is seen of an execution.
#[derive(Default)]
pub(super) struct Execution {
    /// The state that the domain makes of it, for people who decide something about it.
    pub(super) state: execution::Execution,
    /// Whether nobody can know yet what its images are.
    unpinned: bool,
    workspaces: u32,
    jobs: u32,
    open: u32,
    is_to_stop: bool,
    pub(super) completed: bool,
    /// How often somebody wished for a plan of how it ended.
    wishes: u32,
}

/// What is seen of a job.
#[derive(Default)]
pub(super) struct Watched {
    /// The state that the domain makes of it, for people who decide something about it.
    pub(super) state: Job,
    attempt: u32,
    holder: Option<RunnerId>,
    ends: u32,
    losses: u32,
    is_to_stop: bool,
    /// When it may be tried again.
    not_before: Option<Timestamp>,
}

impl Referee {
    /// Says how many jobs an execution will have.
    pub(super) fn expect(&mut self, id: ExecutionId, workspaces: u32) {
        self.executions.entry(id).or_default().workspaces = workspaces;
    }

    /// Checks an event that is about to be stored, and says what it is.
    pub(super) fn watch(&mut self, recorded: &Recorded) -> &'static str {
        match (&recorded.aggregate, &recorded.event) {
            (Aggregate::Execution(id), Event::Execution(event)) => {
                self.executions.entry(*id).or_default().watch(*id, event);
            }
            (Aggregate::Job(execution, job), Event::Job(event)) => {
                let watched = self.jobs.entry((*execution, *job)).or_default();
                let (was_open, had) = (watched.is_open(), watched.holder.clone());
                let of = self.executions.get_mut(execution).expect("a job's execution was requested");
                watched.watch(*job, event, (recorded.time, of.is_to_stop));
                of.unpinned &= !says_what_images_are(event);
                of.jobs += u32::from(matches!(event, job::Event::Queued(_)));
                of.open = of.open + u32::from(watched.is_open()) - u32::from(was_open);
                let late = matches!(event, job::Event::LogSealed(_));
                assert!(!of.completed || late, "{event:?} after {execution} ended");
                if watched.holder.is_some() && had.is_none() {
                    self.nothing_beyond_a_limit(*execution, *job);
                }
            }
            (Aggregate::Runner(id), Event::Runner(event)) => self.watch_runner(id, event),
            _ => {}
        }
        match &recorded.event {
            Event::Job(job::Event::Failed(failed)) if failed.log.is_none() => "worn out",
            event => event.name(),
        }
    }

    fn watch_runner(&mut self, id: &RunnerId, event: &runner::Event) {
        if let runner::Event::Gone(gone) = event
            && gone.reason == "drained"
        {
            let left: Vec<_> = self.jobs.iter().filter(|(_, job)| job.holder.as_ref() == Some(id)).collect();
            assert!(left.is_empty(), "{id} has left in order and holds {} jobs", left.len());
        }
        let known = self.runners.entry(id.clone()).or_default();
        *known = runner::evolve(std::mem::take(known), event);
    }

    /// Counts what is held at the moment in which a job is given out.
    fn nothing_beyond_a_limit(&self, execution: ExecutionId, job: JobId) {
        let given = &self.jobs[&(execution, job)];
        let held = self.jobs.iter().filter(|(_, watched)| watched.holder.is_some());
        let held: Vec<_> = held.collect();
        let count = |what: &str, limit: Option<u32>, holds: &dyn Fn(ExecutionId, &Watched) -> bool| {
            let count = held.iter().filter(|((id, _), watched)| holds(*id, watched)).count();
            assert!(
                limit.is_none_or(|limit| count <= limit as usize),
                "{count} jobs of {what}, and {limit:?} may be"
            );
        };
        let runner = given.holder.as_ref().expect("it was given out");
        count("a runner", Some(self.slots[runner]), &|_, watched| watched.holder.as_ref() == Some(runner));
        let of = |limit: Option<NonZeroU32>| limit.map(NonZeroU32::get);
        count("an execution", of(self.limits.execution), &|id, _| id == execution);
        let one = self.executions[&execution].unpinned.then_some(1);
        count("an execution whose images nobody knows", one, &|id, _| id == execution);
        let repository =
            |watched: &Watched| watched.state.workspace.as_ref().map(|place| place.repository.clone());
        let here = repository(given);
        count("a repository", of(self.limits.repository), &|_, watched| repository(watched) == here);
        count("a pool", of(self.limits.pools.get(DEFAULT_POOL).copied()), &|_, _| true);
    }
}

impl Execution {
    fn watch(&mut self, id: ExecutionId, event: &execution::Event) {
        match event {
            execution::Event::Requested(_) => self.unpinned = true,
            execution::Event::ImagesPinned(pinned) => {
                assert!(self.state.images.is_empty(), "{id}: the one image there is gets pinned twice");
                assert_eq!(pinned.images.len(), 1);
                self.unpinned = false;
            }
            execution::Event::CancelRequested(_) => self.is_to_stop = true,
            execution::Event::RetryRequested(_) => {
                (self.is_to_stop, self.completed, self.wishes) = (false, false, 0);
            }
            execution::Event::PlanRequested(_) => {
                self.wishes += 1;
                assert!(
                    self.completed && self.wishes == 1,
                    "{id}: a plan is wished for {} times",
                    self.wishes
                );
            }
            execution::Event::Completed(completed) => {
                let counts = completed.counts;
                assert!(!self.completed, "{id} ends twice");
                assert!(
                    self.is_to_stop || self.jobs == self.workspaces,
                    "{id} ends before it has all of its jobs"
                );
                assert_eq!(self.open, 0, "{id} ends before its jobs");
                assert_eq!(counts.succeeded + counts.failed + counts.canceled, self.jobs, "{id} miscounts");
                self.completed = true;
            }
            _ => {}
        }
        self.state = execution::evolve(std::mem::take(&mut self.state), event);
    }
}

/// A runner says so before the first step, or has nothing to say.
fn says_what_images_are(event: &job::Event) -> bool {
    use job::Event::*;
    matches!(event, StepStarted(_) | StepSkipped(_) | Succeeded(_) | Failed(_) | TimedOut(_))
}

impl Watched {
    /// `now` is when it happens, `whole` whether the whole execution is to stop.
    fn watch(&mut self, job: JobId, event: &job::Event, (now, whole): (Timestamp, bool)) {
        use job::Event::*;
        let spoken_of = match event {
            Started(started) => Some(started.attempt),
            StepStarted(step) => Some(step.attempt),
            StepFinished(step) => Some(step.attempt),
            StepSkipped(step) => Some(step.attempt),
            StepsReused(steps) => Some(steps.attempt),
            Succeeded(end) => Some(end.attempt),
            Failed(end) => Some(end.attempt),
            TimedOut(end) => Some(end.attempt),
            Lost(lost) => Some(lost.attempt),
            _ => None,
        };
        if let Some(attempt) = spoken_of {
            assert_eq!(attempt, self.attempt, "{job}: an attempt that does not count has a say: {event:?}");
            assert!(self.holder.is_some(), "{job}: nobody holds it: {event:?}");
        }
        match event {
            Queued(_) => assert_eq!(self.attempt, 0, "{job} is queued twice"),
            Assigned(assigned) => {
                assert_eq!(assigned.attempt, self.attempt + 1, "{job}: attempts go up by one");
                assert!(
                    self.holder.is_none(),
                    "{job} goes to {} and is held by {:?}",
                    assigned.runner,
                    self.holder
                );
                assert_eq!(self.ends, 0, "{job} is assigned after its end");
                assert!(!self.is_to_stop, "{job} is assigned and is to stop");
                assert!(self.not_before.is_none_or(|time| time <= now), "{job} is tried again too soon");
                self.attempt = assigned.attempt;
                self.holder = Some(assigned.runner.clone());
            }
            Lost(lost) => {
                self.losses += u32::from(lost.cause != job::LossCause::Drained);
                assert!(self.losses < job::MAX_LOSSES, "{job} is lost for ever");
                self.not_before = lost.retry_at;
                self.holder = None;
            }
            CancelRequested(_) => self.is_to_stop = true,
            Retried(_) => {
                assert_eq!(self.ends, 1, "{job} is tried again before its end");
                (self.ends, self.losses, self.is_to_stop, self.not_before) = (0, 0, false, None);
            }
            Returned(_) => self.holder = None,
            Succeeded(_) | Failed(_) | TimedOut(_) | QueueTimedOut(_) | Canceled(_) => {
                let asked = self.is_to_stop || whole;
                assert!(asked || !matches!(event, Canceled(_)), "{job} is canceled and nobody asked for it");
                self.ends += 1;
                assert_eq!(self.ends, 1, "{job} ends twice: {event:?}");
                self.holder = None;
            }
            _ => {}
        }
        self.state = job::evolve(std::mem::take(&mut self.state), event);
    }

    fn is_open(&self) -> bool {
        self.state.state != job::State::Absent && self.ends == 0
    }

    /// The last attempt.
    pub(super) fn attempt(&self) -> u32 {
        self.attempt
    }
}
