//! What the scheduler knows: the executions that have not ended, their jobs, and the runners.
//!
//! Owns the state and the indexes over it. Taking an event in twice, or late, changes nothing: each aggregate remembers
//! the sequence of its newest event, which is also the expectation of the next append. Invariant: an event costs the same
//! however many jobs wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use events::enrollment::{self, Enrollment};
use events::envelope::{Actor, Recorded};
use events::execution::{self, Counts, Selection};
use events::id::{ExecutionId, JobId, RunnerId, SecretId};
use events::job::{self, Job, Outcome, State};
use events::runner;
use events::secret::{self, Scope, Sealed, Secret, SecretVersion};
use events::{Aggregate, Event, Timestamp};
use serde::{Deserialize, Serialize};
use spec::Definition;

use crate::admission::{Admission, Demand, JobLimits, Standing, Terms};
use crate::settings::{Settings, read};

/// An aggregate's state and where its newest event stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tracked<T> {
    pub(crate) state: T,
    pub(crate) sequence: u64,
}

/// An execution that has not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Execution {
    pub(crate) own: Tracked<execution::Execution>,
    /// Who asked for it.
    pub(crate) user: Actor,
    /// What its definition says of its jobs.
    pub(crate) settings: Settings,
    pub(crate) jobs: BTreeMap<JobId, Tracked<Job>>,
    /// The jobs that somebody wants to be tried again and that have not been opened yet.
    #[serde(default)]
    pub(crate) due: BTreeSet<JobId>,
    /// The jobs that wait.
    pub(crate) waiting: BTreeMap<JobId, Wait>,
    /// Whether no job of it has come far enough to tell what the names of its images mean: until then they run one at a time,
    /// so that no two can find different images.
    #[serde(default)]
    pub(crate) is_unpinned: bool,
    /// How many jobs have not ended.
    #[serde(skip)]
    pub(crate) open: usize,
}

/// Since when a job waits: by its place in the log, and by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wait {
    pub(crate) sequence: u64,
    pub(crate) time: Timestamp,
}

/// What the site says where definitions say nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    pub(crate) job_limits: JobLimits,
    pub(crate) queue_timeout: Duration,
}

/// Everything that has not ended.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Fold {
    /// In the order in which they were requested: ids are made from the time.
    pub(crate) executions: BTreeMap<ExecutionId, Execution>,
    pub(crate) runners: BTreeMap<RunnerId, Tracked<runner::Runner>>,
    /// What the tokens say of runners that enrolled with one.
    #[serde(default)]
    pub(crate) enrollments: BTreeMap<RunnerId, Tracked<Enrollment>>,
    /// As they stand in the log: sealed.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<SecretId, Tracked<Secret>>,
    /// Executions that had ended and go on: they are read from the log before anything else is done.
    #[serde(default)]
    pub(crate) reopened: BTreeSet<ExecutionId>,
    #[serde(skip)]
    pub(crate) index: Index,
    #[serde(skip)]
    site: Site,
}

/// What is found without looking at everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// The order in which waiting jobs are given out.
    pub(crate) admission: Admission,
    /// Which attempts each runner holds.
    pub(crate) held: HashMap<RunnerId, BTreeSet<(ExecutionId, JobId)>>,
    /// The execution of each job.
    pub(crate) whose: HashMap<JobId, ExecutionId>,
    /// When waiting jobs have waited as long as they may.
    pub(crate) deadlines: BTreeSet<(Timestamp, ExecutionId, JobId)>,
    /// When the next attempts of jobs that wait after a loss may begin.
    pub(crate) delayed: BTreeSet<(Timestamp, ExecutionId, JobId)>,
    /// The jobs that are to stop and have not yet.
    pub(crate) canceling: BTreeSet<(ExecutionId, JobId)>,
    /// The executions that are to stop and have not yet.
    pub(crate) stopping: BTreeSet<ExecutionId>,
    /// The executions with jobs that are to be tried again.
    pub(crate) retrying: BTreeSet<ExecutionId>,
    /// The executions that have fewer jobs than they should.
    pub(crate) lacking: BTreeSet<ExecutionId>,
    /// The executions with nothing left to do.
    pub(crate) done: BTreeSet<ExecutionId>,
    /// The executions of which it is noted that their jobs wait in vain.
    pub(crate) starved: BTreeSet<ExecutionId>,
    /// What is to be done in executions; none where that cannot be read. After a snapshot it is read once it is needed.
    pub(crate) definitions: HashMap<ExecutionId, Option<Definition>>,
}

impl Fold {
    /// Makes the indexes anew, after loading a snapshot.
    pub(crate) fn reindex(&mut self, site: Site) {
        self.index = Index { admission: Admission::new(site.job_limits.clone()), ..Index::default() };
        self.site = site;
        for (id, execution) in std::mem::take(&mut self.executions) {
            self.insert(id, execution);
        }
    }

    /// Takes a whole execution in.
    pub(crate) fn insert(&mut self, id: ExecutionId, mut execution: Execution) {
        self.index.admission.open(id, execution.terms());
        execution.open = execution.jobs.values().filter(|job| job.state.outcome().is_none()).count();
        let limit = self.queue_timeout(&execution);
        for (job, tracked) in &execution.jobs {
            self.index.whose.insert(*job, id);
            self.index.enter((id, *job), &tracked.state, execution.waiting.get(job), limit);
        }
        self.executions.insert(id, execution);
        self.reckon(id);
    }

    /// Takes an event in.
    pub(crate) fn apply(&mut self, recorded: &Recorded) {
        match (&recorded.aggregate, &recorded.event) {
            (Aggregate::Execution(id), Event::Execution(event)) => {
                self.apply_execution(*id, recorded, event);
                self.reckon(*id);
            }
            (Aggregate::Job(execution, job), Event::Job(event)) => {
                self.apply_job((*execution, *job), recorded, event);
                self.reckon(*execution);
            }
            (Aggregate::Runner(id), Event::Runner(event)) => {
                let tracked = self.runners.entry(id.clone()).or_default();
                advance(tracked, recorded.sequence, |runner| runner::evolve(runner, event));
            }
            (Aggregate::Enrollment(id), Event::Enrollment(event)) => {
                let tracked = self.enrollments.entry(id.clone()).or_default();
                advance(tracked, recorded.sequence, |one| enrollment::evolve(one, event));
            }
            (Aggregate::Secret(id), Event::Secret(event)) => {
                let tracked = self.secrets.entry(*id).or_default();
                advance(tracked, recorded.sequence, |secret| secret::evolve(secret, event));
            }
            _ => {}
        }
    }

    /// The values that the steps of an execution get: those of the narrowest scope in which a name is set.
    pub(crate) fn secrets_for(&self, execution: ExecutionId) -> Vec<SecretVersion> {
        let Some(execution) = self.executions.get(&execution) else { return Vec::new() };
        let Some(requested) = execution.own.state.requested.as_ref() else { return Vec::new() };
        let found = execution.settings.secrets.iter().filter_map(|name| {
            let mut scopes = Scope::of(requested.action).into_iter();
            scopes.find_map(|scope| self.secrets.get(&SecretId::of(&scope, name))?.state.set.as_ref())
        });
        found
            .map(|set| SecretVersion { name: set.name.clone(), scope: set.scope, version: set.version })
            .collect()
    }

    /// A sealed value, if it is still the newest of its secret.
    pub(crate) fn sealed(&self, version: &SecretVersion) -> Option<&Sealed> {
        let secret = self.secrets.get(&SecretId::of(&version.scope, &version.name))?;
        let set = secret.state.set.as_ref()?;
        (set.version == version.version).then_some(&set.sealed)
    }

    fn apply_execution(&mut self, id: ExecutionId, recorded: &Recorded, event: &execution::Event) {
        match event {
            execution::Event::Completed(_) => {
                let is_news = |known: &Execution| known.own.sequence < recorded.sequence;
                if !self.executions.get(&id).is_none_or(is_news) {
                    return;
                }
                self.reopened.remove(&id);
                if let Some(execution) = self.executions.remove(&id) {
                    let limit = self.queue_timeout(&execution);
                    for (job, tracked) in &execution.jobs {
                        self.index.leave((id, *job), &tracked.state, execution.waiting.get(job), limit);
                        self.index.whose.remove(job);
                    }
                    self.index.admission.close(id);
                    self.index.definitions.remove(&id);
                }
            }
            execution::Event::Requested(requested) => {
                let definitions = &mut self.index.definitions;
                let new = || {
                    let found = definitions.entry(id).or_insert_with(|| read(requested));
                    Execution::new(recorded.actor.clone(), Settings::of(found.as_ref()))
                };
                let execution = self.executions.entry(id).or_insert_with(new);
                self.index.admission.open(id, execution.terms());
                advance(&mut execution.own, recorded.sequence, |own| execution::evolve(own, event));
            }
            execution::Event::RetryRequested(request) => match self.executions.get_mut(&id) {
                Some(execution) if execution.own.sequence < recorded.sequence => {
                    execution.select(request.jobs);
                    advance(&mut execution.own, recorded.sequence, |own| execution::evolve(own, event));
                }
                Some(_) => {}
                None => drop(self.reopened.insert(id)),
            },
            _ => {
                if let Some(execution) = self.executions.get_mut(&id) {
                    if let execution::Event::ImagesPinned(_) = event {
                        execution.is_unpinned = false;
                        self.index.admission.loosen(id);
                    }
                    advance(&mut execution.own, recorded.sequence, |own| execution::evolve(own, event));
                }
            }
        }
    }

    fn apply_job(&mut self, (id, job): (ExecutionId, JobId), recorded: &Recorded, event: &job::Event) {
        // An execution that has ended is no longer looked at; a late seal of a log is the usual reason to get here.
        let Some(execution) = self.executions.get_mut(&id) else { return };
        let limit = execution.settings.queue_timeout.unwrap_or(self.site.queue_timeout);
        let tracked = execution.jobs.entry(job).or_default();
        if tracked.sequence >= recorded.sequence {
            return;
        }
        let was_open = tracked.sequence > 0 && tracked.state.outcome().is_none();
        self.index.leave((id, job), &tracked.state, execution.waiting.get(&job), limit);
        tracked.state = job::evolve(std::mem::take(&mut tracked.state), event);
        tracked.sequence = recorded.sequence;
        if let job::Event::Retried(_) = event {
            execution.due.remove(&job);
        }
        if tracked.state.state == State::Queued {
            let wait = Wait { sequence: recorded.sequence, time: recorded.time };
            // What else happens to a job that waits does not send it back to the end.
            execution.waiting.entry(job).or_insert(wait);
        } else {
            execution.waiting.remove(&job);
        }
        self.index.whose.insert(job, id);
        self.index.enter((id, job), &tracked.state, execution.waiting.get(&job), limit);
        if execution.is_unpinned && tells_of_images(event) {
            execution.is_unpinned = false;
            self.index.admission.loosen(id);
        }
        let is_open = tracked.state.outcome().is_none();
        execution.open = execution.open + usize::from(is_open) - usize::from(was_open);
    }

    /// Puts an execution where it is found by what there is to do for it.
    fn reckon(&mut self, id: ExecutionId) {
        let execution = self.executions.get(&id);
        let note = |set: &mut BTreeSet<ExecutionId>, holds: bool| match holds {
            true => set.insert(id),
            false => set.remove(&id),
        };
        note(&mut self.index.lacking, execution.is_some_and(Execution::needs_jobs));
        note(&mut self.index.stopping, execution.is_some_and(|one| one.own.state.cancel_requested));
        note(&mut self.index.retrying, execution.is_some_and(|one| !one.due.is_empty()));
        note(&mut self.index.done, execution.is_some_and(Execution::is_done));
        note(&mut self.index.starved, execution.is_some_and(|one| one.own.state.starved.is_some()));
    }

    /// Puts a job that was admitted in vain back to where it stands.
    pub(crate) fn put_back(&mut self, (id, job): (ExecutionId, JobId)) {
        let Some(execution) = self.executions.get(&id) else { return };
        let Some(tracked) = execution.jobs.get(&job) else { return };
        self.index.stand((id, job), &tracked.state, execution.waiting.get(&job));
    }

    /// Lets the jobs wait for a runner whose next attempt's time has come.
    pub(crate) fn ripen(&mut self, now: Timestamp) {
        while let Some((at, execution, job)) = self.index.delayed.first().copied()
            && at <= now
        {
            self.index.delayed.pop_first();
            self.put_back((execution, job));
        }
    }

    /// Notes that a job need not be opened for another attempt.
    pub(crate) fn settle(&mut self, (id, job): (ExecutionId, JobId)) {
        if let Some(execution) = self.executions.get_mut(&id) {
            execution.due.remove(&job);
        }
        self.reckon(id);
    }

    /// Reads what is to be done in an execution, unless that is read already.
    pub(crate) fn read_definition(&mut self, id: ExecutionId) {
        let requested = self.executions.get(&id).and_then(|execution| execution.own.state.requested.as_ref());
        if let Some(requested) = requested {
            self.index.definitions.entry(id).or_insert_with(|| read(requested));
        }
    }

    /// How long a job of an execution may wait for a runner.
    pub(crate) fn queue_timeout(&self, execution: &Execution) -> Duration {
        execution.settings.queue_timeout.unwrap_or(self.site.queue_timeout)
    }

    /// A job of an execution that has not ended.
    pub(crate) fn job(&self, execution: ExecutionId, job: JobId) -> Option<&Tracked<Job>> {
        self.executions.get(&execution)?.jobs.get(&job)
    }

    /// How many attempts a runner holds.
    pub(crate) fn load(&self, runner: &RunnerId) -> usize {
        self.index.held.get(runner).map_or(0, BTreeSet::len)
    }
}

impl Index {
    fn enter(&mut self, ids: (ExecutionId, JobId), job: &Job, wait: Option<&Wait>, limit: Duration) {
        if let Some(runner) = job.runner() {
            self.held.entry(runner.clone()).or_default().insert(ids);
        }
        if let Some(wait) = wait {
            self.deadlines.insert((wait.time + limit, ids.0, ids.1));
        }
        if let (State::Queued, Some(at)) = (&job.state, job.retry_at) {
            self.delayed.insert((at, ids.0, ids.1));
        }
        if job.cancel_requested && job.outcome().is_none() {
            self.canceling.insert(ids);
        }
        self.stand(ids, job, wait);
    }

    fn leave(&mut self, ids: (ExecutionId, JobId), job: &Job, wait: Option<&Wait>, limit: Duration) {
        if let Some(jobs) = job.runner().and_then(|runner| self.held.get_mut(runner)) {
            jobs.remove(&ids);
        }
        if let Some(wait) = wait {
            self.deadlines.remove(&(wait.time + limit, ids.0, ids.1));
        }
        if let Some(at) = job.retry_at {
            self.delayed.remove(&(at, ids.0, ids.1));
        }
        self.canceling.remove(&ids);
    }

    fn stand(&mut self, (execution, id): (ExecutionId, JobId), job: &Job, wait: Option<&Wait>) {
        let standing = match (job.runner(), wait) {
            (Some(_), _) => Some(Standing::Holding),
            // It is not to be given out yet.
            (None, _) if job.retry_at.is_some_and(|at| self.delayed.contains(&(at, execution, id))) => None,
            (None, Some(wait)) => Some(Standing::Waiting(wait.sequence)),
            (None, None) => None,
        };
        let repository = job.workspace.as_ref().map(|workspace| workspace.repository.as_str());
        self.admission.put(execution, id, repository.unwrap_or_default(), standing);
    }
}

impl Execution {
    fn new(user: Actor, settings: Settings) -> Self {
        Self {
            own: Tracked::default(),
            user,
            is_unpinned: settings.names_images,
            settings,
            jobs: BTreeMap::new(),
            due: BTreeSet::new(),
            waiting: BTreeMap::new(),
            open: 0,
        }
    }

    fn terms(&self) -> Terms {
        Terms {
            user: self.user.clone(),
            demand: self.demand(),
            max_jobs: self.settings.max_jobs,
            one_at_a_time: self.is_unpinned,
        }
    }

    /// What its jobs ask of a runner.
    pub(crate) fn demand(&self) -> Demand {
        let Settings { pool, labels, .. } = &self.settings;
        Demand { pool: pool.as_str().into(), labels: labels.clone().into() }
    }

    /// Whether it was resolved and has fewer jobs than workspaces.
    pub(crate) fn lacks_jobs(&self) -> bool {
        self.own
            .state
            .resolved
            .as_ref()
            .is_some_and(|resolved| self.jobs.len() < resolved.workspaces as usize)
    }

    /// Whether jobs are to be made for it.
    fn needs_jobs(&self) -> bool {
        self.lacks_jobs() && !self.own.state.cancel_requested
    }

    /// Notes the jobs that have ended and are to be tried again.
    fn select(&mut self, jobs: Selection) {
        let ended = self.jobs.iter().filter_map(|(id, tracked)| Some((*id, tracked.state.outcome()?)));
        self.due.extend(ended.filter(|(id, end)| jobs.includes(*id, *end)).map(|(id, _)| id));
    }

    /// Whether nothing is left to do. One that is to stop gets no further jobs.
    pub(crate) fn is_done(&self) -> bool {
        let state = &self.own.state;
        let is_whole = state.resolved.is_some() && !self.lacks_jobs();
        (is_whole || state.cancel_requested) && self.open == 0 && self.due.is_empty()
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

/// Whether a job that has come so far has told of its images, or never will: a runner does so before the first step.
const fn tells_of_images(event: &job::Event) -> bool {
    use job::Event::{Failed, StepSkipped, StepStarted, Succeeded, TimedOut};
    matches!(event, StepStarted(_) | StepSkipped(_) | Succeeded(_) | Failed(_) | TimedOut(_))
}

fn advance<T: Default>(tracked: &mut Tracked<T>, sequence: u64, evolve: impl FnOnce(T) -> T) {
    if tracked.sequence < sequence {
        tracked.state = evolve(std::mem::take(&mut tracked.state));
        tracked.sequence = sequence;
    }
}
