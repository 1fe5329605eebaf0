//! What the scheduler knows: the executions that have not ended, their jobs, and the runners.
//!
//! Owns the state and the indexes over it. Taking an event in twice, or late, changes nothing: each aggregate remembers
//! the sequence of its newest event, which is also the expectation of the next append.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use events::envelope::Recorded;
use events::execution::{self, Counts};
use events::id::{ExecutionId, JobId, RunnerId};
use events::job::{self, Job, Outcome, State};
use events::runner;
use events::{Aggregate, Event};
use serde::{Deserialize, Serialize};

/// An aggregate's state and where its newest event stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tracked<T> {
    pub(crate) state: T,
    pub(crate) sequence: u64,
}

/// An execution that has not ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Execution {
    pub(crate) own: Tracked<execution::Execution>,
    pub(crate) jobs: BTreeMap<JobId, Tracked<Job>>,
    /// The jobs that wait, in the order in which they began to.
    #[serde(skip)]
    pub(crate) waiting: BTreeSet<(u64, JobId)>,
    /// How many jobs have not ended.
    #[serde(skip)]
    pub(crate) open: usize,
}

/// Everything that has not ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Fold {
    /// In the order in which they were requested: ids are made from the time.
    pub(crate) executions: BTreeMap<ExecutionId, Execution>,
    pub(crate) runners: BTreeMap<RunnerId, Tracked<runner::Runner>>,
    /// Which attempts each runner holds.
    #[serde(skip)]
    pub(crate) held: HashMap<RunnerId, BTreeSet<(ExecutionId, JobId)>>,
}

impl Fold {
    /// Makes the indexes anew, after loading a snapshot.
    pub(crate) fn reindex(&mut self) {
        self.held.clear();
        for (id, execution) in &mut self.executions {
            execution.waiting.clear();
            execution.open = 0;
            for (job, tracked) in &execution.jobs {
                index(&mut self.held, *id, *job, &tracked.state, Change::Enter);
                if tracked.state.state == State::Queued {
                    execution.waiting.insert((tracked.sequence, *job));
                }
                execution.open += usize::from(tracked.state.outcome().is_none());
            }
        }
    }

    /// Takes an event in.
    pub(crate) fn apply(&mut self, recorded: &Recorded) {
        match (&recorded.aggregate, &recorded.event) {
            (Aggregate::Execution(id), Event::Execution(event)) => self.apply_execution(*id, recorded, event),
            (Aggregate::Job(execution, job), Event::Job(event)) => {
                self.apply_job(*execution, *job, recorded, event)
            }
            (Aggregate::Runner(id), Event::Runner(event)) => {
                let tracked = self.runners.entry(id.clone()).or_default();
                if tracked.sequence < recorded.sequence {
                    tracked.state = runner::evolve(std::mem::take(&mut tracked.state), event);
                    tracked.sequence = recorded.sequence;
                }
            }
            _ => {}
        }
    }

    fn apply_execution(&mut self, id: ExecutionId, recorded: &Recorded, event: &execution::Event) {
        match event {
            execution::Event::Completed(_) => {
                self.executions.remove(&id);
            }
            execution::Event::Requested(_) => {
                let execution = self.executions.entry(id).or_default();
                advance(&mut execution.own, recorded.sequence, |own| execution::evolve(own, event));
            }
            _ => {
                if let Some(execution) = self.executions.get_mut(&id) {
                    advance(&mut execution.own, recorded.sequence, |own| execution::evolve(own, event));
                }
            }
        }
    }

    fn apply_job(&mut self, id: ExecutionId, job: JobId, recorded: &Recorded, event: &job::Event) {
        // An execution that has ended is no longer looked at; a late seal of a log is the usual reason to get here.
        let Some(execution) = self.executions.get_mut(&id) else { return };
        let tracked = execution.jobs.entry(job).or_default();
        if tracked.sequence >= recorded.sequence {
            return;
        }
        let was_open = tracked.sequence > 0 && tracked.state.outcome().is_none();
        index(&mut self.held, id, job, &tracked.state, Change::Leave);
        if tracked.state.state == State::Queued {
            execution.waiting.remove(&(tracked.sequence, job));
        }
        tracked.state = job::evolve(std::mem::take(&mut tracked.state), event);
        tracked.sequence = recorded.sequence;
        index(&mut self.held, id, job, &tracked.state, Change::Enter);
        if tracked.state.state == State::Queued {
            execution.waiting.insert((recorded.sequence, job));
        }
        let is_open = tracked.state.outcome().is_none();
        execution.open = execution.open + usize::from(is_open) - usize::from(was_open);
    }

    /// A job of an execution that has not ended.
    pub(crate) fn job(&self, execution: ExecutionId, job: JobId) -> Option<&Tracked<Job>> {
        self.executions.get(&execution)?.jobs.get(&job)
    }

    /// How many attempts a runner holds.
    pub(crate) fn load(&self, runner: &RunnerId) -> usize {
        self.held.get(runner).map_or(0, BTreeSet::len)
    }
}

impl Execution {
    /// Whether it was resolved and has fewer jobs than workspaces.
    pub(crate) fn lacks_jobs(&self) -> bool {
        self.own
            .state
            .resolved
            .as_ref()
            .is_some_and(|resolved| self.jobs.len() < resolved.workspaces as usize)
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.own.state.resolved.is_some() && !self.lacks_jobs() && self.open == 0
    }

    /// How its jobs ended. Makes sense once all have.
    pub(crate) fn counts(&self) -> Counts {
        let unreachable = self.own.state.resolved.as_ref().map_or(0, |resolved| resolved.unreachable);
        let mut counts = Counts { unreachable, ..Counts::default() };
        for tracked in self.jobs.values() {
            match tracked.state.outcome() {
                Some(Outcome::Succeeded) => counts.succeeded += 1,
                Some(Outcome::Failed) => counts.failed += 1,
                Some(Outcome::Canceled) => counts.canceled += 1,
                None => {}
            }
        }
        counts
    }
}

fn advance<T: Default>(tracked: &mut Tracked<T>, sequence: u64, evolve: impl FnOnce(T) -> T) {
    if tracked.sequence < sequence {
        tracked.state = evolve(std::mem::take(&mut tracked.state));
        tracked.sequence = sequence;
    }
}

enum Change {
    Enter,
    Leave,
}

fn index(
    held: &mut HashMap<RunnerId, BTreeSet<(ExecutionId, JobId)>>,
    execution: ExecutionId,
    id: JobId,
    job: &Job,
    change: Change,
) {
    let Some(runner) = job.runner() else { return };
    match change {
        Change::Enter => {
            held.entry(runner.clone()).or_default().insert((execution, id));
        }
        Change::Leave => {
            if let Some(jobs) = held.get_mut(runner) {
                jobs.remove(&(execution, id));
            }
        }
    }
}
