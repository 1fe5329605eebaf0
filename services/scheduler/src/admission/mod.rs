//! Admission: which waiting job runs next.
//!
//! Owns the order and the limits, and nothing else; pure. It is told of every change and never looks for one, so that an
//! admission costs the same however many jobs wait. The order is a deficit round-robin in which a deficit is counted in
//! slots: of a pool's users, and then of a user's executions, whoever holds the fewest is next, and of equals whoever was
//! served longest ago. Jobs that ask for other labels stand in lines of their own, so that one that waits for a label keeps
//! nobody waiting; slots are counted over all of them. Invariants: no limit is ever exceeded; while a job can be admitted one
//! is; a user who holds nothing waits for one admission of each other user at most.

mod limits;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use events::envelope::Actor;
use events::id::{ExecutionId, JobId};

pub use limits::JobLimits;
use turns::{Place, Turns};

/// What the jobs of an execution ask of a runner.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Demand {
    /// Its pool.
    pub(crate) pool: Arc<str>,
    /// What it must have.
    pub(crate) labels: Labels,
}

/// Labels that belong together.
pub(crate) type Labels = Arc<BTreeSet<String>>;

/// What an execution says of its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Who asked for it.
    pub(crate) user: Actor,
    /// What its jobs ask of a runner.
    pub(crate) demand: Demand,
    /// How many of its jobs may run at once; absent: what the site says.
    pub(crate) max_jobs: Option<u32>,
    /// Whether its jobs run one at a time until [`Admission::loosen`].
    pub(crate) one_at_a_time: bool,
}

/// How a job concerns the admission. One that has ended does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It waits, since this place in the log.
    Waiting(u64),
    /// It has a slot.
    Holding,
}

/// The waiting jobs in their order, and who holds how much.
#[derive(Clone, Debug, Default)]
pub(crate) struct Admission {
    limits: JobLimits,
    pools: HashMap<Arc<str>, Pool>,
    executions: HashMap<ExecutionId, Queue>,
    repositories: HashMap<Arc<str>, Repository>,
    jobs: HashMap<JobId, Job>,
    /// Counts what was served and who came.
    clock: u64,
}

#[derive(Clone, Debug)]
struct Job {
    execution: ExecutionId,
    repository: Arc<str>,
    standing: Standing,
}

#[derive(Clone, Debug, Default)]
struct Pool {
    holds: u32,
    users: HashMap<Actor, User>,
    /// Those with jobs that may run, by the labels that these ask for.
    turns: BTreeMap<Labels, Turns<Actor>>,
    /// The executions with waiting jobs.
    waiting: BTreeMap<Labels, BTreeSet<ExecutionId>>,
}

#[derive(Clone, Debug, Default)]
struct User {
    place: Place,
    /// How many executions it has, so that it is forgotten with the last.
    executions: usize,
    turns: BTreeMap<Labels, Turns<ExecutionId>>,
}

#[derive(Clone, Debug)]
struct Queue {
    demand: Demand,
    user: Actor,
    max_jobs: u32,
    one_at_a_time: bool,
    place: Place,
    /// The waiting jobs of each repository, first come first.
    lanes: HashMap<Arc<str>, BTreeSet<(u64, JobId)>>,
    /// The first job of each repository that has room.
    ready: BTreeSet<(u64, JobId)>,
}

#[derive(Clone, Debug, Default)]
struct Repository {
    holds: u32,
    /// The executions whose jobs wait for it.
    waiting: BTreeSet<ExecutionId>,
}

impl Admission {
    /// With these limits and without jobs.
    pub(crate) fn new(limits: JobLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes an execution in.
    pub(crate) fn open(&mut self, id: ExecutionId, terms: Terms) {
        if self.executions.contains_key(&id) {
            return;
        }
        self.clock += 1;
        let place = Place { holds: 0, served: self.clock };
        let demand = terms.demand;
        let user = self.pools.entry(Arc::clone(&demand.pool)).or_default().users.entry(terms.user.clone());
        // Whoever comes stands behind those that are there: otherwise one that comes again and again is always first.
        user.or_insert_with(|| User { place, ..User::default() }).executions += 1;
        let max_jobs = self.limits.of_execution(terms.max_jobs);
        let queue = Queue {
            demand,
            user: terms.user,
            max_jobs,
            one_at_a_time: terms.one_at_a_time,
            place,
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
        };
        self.executions.insert(id, queue);
    }

    /// Lets as many jobs of an execution run at once as its other limits allow.
    pub(crate) fn loosen(&mut self, id: ExecutionId) {
        let Some(queue) = self.executions.get_mut(&id).filter(|queue| queue.one_at_a_time) else { return };
        queue.one_at_a_time = false;
        if let Some(repository) = queue.lanes.keys().next().cloned() {
            self.settle(id, &repository);
        }
    }

    /// Forgets an execution, whose jobs have ended.
    pub(crate) fn close(&mut self, id: ExecutionId) {
        let left: Vec<JobId> = match self.executions.get(&id) {
            Some(queue) if queue.lanes.is_empty() && queue.place.holds == 0 => Vec::new(),
            Some(_) => self.jobs.iter().filter(|(_, job)| job.execution == id).map(|(job, _)| *job).collect(),
            None => return,
        };
        for job in left {
            self.remove(job);
        }
        let Some(queue) = self.executions.remove(&id) else { return };
        let Some(pool) = self.pools.get_mut(&queue.demand.pool) else { return };
        if let Some(user) = pool.users.get_mut(&queue.user) {
            user.executions -= 1;
            if user.executions == 0 {
                pool.users.remove(&queue.user);
            }
        }
        if pool.users.is_empty() {
            self.pools.remove(&queue.demand.pool);
        }
    }

    /// Puts a job where it stands; absent: it has ended.
    pub(crate) fn put(
        &mut self,
        execution: ExecutionId,
        id: JobId,
        repository: &str,
        standing: Option<Standing>,
    ) {
        let Some(standing) = standing else { return self.remove(id) };
        if self.jobs.get(&id).is_some_and(|job| job.standing == standing)
            || !self.executions.contains_key(&execution)
        {
            return;
        }
        self.remove(id);
        let repository = match self.repositories.get_key_value(repository) {
            Some((name, _)) => Arc::clone(name),
            None => repository.into(),
        };
        let job = Job { execution, repository, standing };
        match standing {
            Standing::Waiting(since) => self.wait(id, &job, since),
            Standing::Holding => self.hold(&job, 1),
        }
        self.jobs.insert(id, job);
    }

    /// The next job of a pool whose labels somebody has room for, which holds a slot from now on; none when nothing waits
    /// that may run.
    pub(crate) fn admit(
        &mut self,
        pool: &str,
        has_room: impl Fn(&Labels) -> bool,
    ) -> Option<(ExecutionId, JobId)> {
        let known = self.pools.get(pool)?;
        if known.holds >= self.limits.of_pool(pool) {
            return None;
        }
        let open: Vec<&Labels> = known.turns.keys().filter(|labels| has_room(labels)).collect();
        let (_, user) = open.iter().filter_map(|labels| known.turns.get(*labels)?.first()).min()?;
        let turns = &known.users.get(user)?.turns;
        let (_, execution) = open.iter().filter_map(|labels| turns.get(*labels)?.first()).min()?;
        let execution = *execution;
        let id = self.executions.get(&execution)?.ready.first()?.1;
        let repository = Arc::clone(&self.jobs.get(&id)?.repository);
        self.clock += 1;
        let served = self.clock;
        if let Some(queue) = self.executions.get_mut(&execution) {
            queue.place.served = served;
            let pool = self.pools.get_mut(&queue.demand.pool);
            let user = pool.and_then(|pool| pool.users.get_mut(&queue.user));
            if let Some(user) = user {
                user.place.served = served;
            }
        }
        self.put(execution, id, &repository, Some(Standing::Holding));
        Some((execution, id))
    }

    /// What the jobs that wait ask for.
    pub(crate) fn waiting_demands(&self) -> impl Iterator<Item = Demand> {
        self.pools.iter().flat_map(|(pool, known)| {
            known.waiting.keys().map(|labels| Demand { pool: Arc::clone(pool), labels: Arc::clone(labels) })
        })
    }

    /// The executions whose jobs wait for such a runner.
    pub(crate) fn waiting_for(&self, demand: &Demand) -> impl Iterator<Item = ExecutionId> {
        let waiting = self.pools.get(&demand.pool).and_then(|pool| pool.waiting.get(&demand.labels));
        waiting.into_iter().flatten().copied()
    }

    /// What an execution asks for, while it has waiting jobs.
    pub(crate) fn waits_for(&self, execution: ExecutionId) -> Option<&Demand> {
        self.executions.get(&execution).filter(|queue| !queue.lanes.is_empty()).map(|queue| &queue.demand)
    }

    fn remove(&mut self, id: JobId) {
        let Some(job) = self.jobs.remove(&id) else { return };
        match job.standing {
            Standing::Waiting(since) => self.leave(id, &job, since),
            Standing::Holding => self.hold(&job, -1),
        }
        let gone = self
            .repositories
            .get(&job.repository)
            .is_some_and(|one| one.holds == 0 && one.waiting.is_empty());
        if gone {
            self.repositories.remove(&job.repository);
        }
    }

    fn wait(&mut self, id: JobId, job: &Job, since: u64) {
        let repository = self.repositories.entry(Arc::clone(&job.repository)).or_default();
        repository.waiting.insert(job.execution);
        if let Some(queue) = self.executions.get_mut(&job.execution) {
            queue.lanes.entry(Arc::clone(&job.repository)).or_default().insert((since, id));
        }
        self.settle(job.execution, &job.repository);
    }

    fn leave(&mut self, id: JobId, job: &Job, since: u64) {
        if let Some(queue) = self.executions.get_mut(&job.execution)
            && let Some(lane) = queue.lanes.get_mut(&job.repository)
        {
            lane.remove(&(since, id));
            queue.ready.remove(&(since, id));
            if lane.is_empty() {
                queue.lanes.remove(&job.repository);
                if let Some(repository) = self.repositories.get_mut(&job.repository) {
                    repository.waiting.remove(&job.execution);
                }
            }
        }
        self.settle(job.execution, &job.repository);
    }

    /// Counts a slot that is taken or given back.
    fn hold(&mut self, job: &Job, by: i32) {
        let count = |holds: &mut u32| *holds = holds.saturating_add_signed(by);
        if let Some(queue) = self.executions.get_mut(&job.execution) {
            count(&mut queue.place.holds);
            if let Some(pool) = self.pools.get_mut(&queue.demand.pool) {
                count(&mut pool.holds);
                if let Some(user) = pool.users.get_mut(&queue.user) {
                    count(&mut user.place.holds);
                }
            }
        }
        let repository = self.repositories.entry(Arc::clone(&job.repository)).or_default();
        let before = repository.holds < self.limits.of_repository();
        count(&mut repository.holds);
        if before == (repository.holds < self.limits.of_repository()) {
            return self.settle(job.execution, &job.repository);
        }
        // Whoever waits for a repository learns that it is full, or no longer: as many as there are such executions.
        let waiting: Vec<ExecutionId> = repository.waiting.iter().copied().collect();
        for execution in waiting.into_iter().chain([job.execution]) {
            self.settle(execution, &job.repository);
        }
    }

    /// Brings an execution, and its user, to where they stand now that something of this repository has changed.
    fn settle(&mut self, execution: ExecutionId, repository: &Arc<str>) {
        let Some(queue) = self.executions.get_mut(&execution) else { return };
        let room =
            self.repositories.get(repository).is_none_or(|one| one.holds < self.limits.of_repository());
        if let Some(lane) = queue.lanes.get(repository) {
            // At most two of a lane may be listed: the one that was first and the one that came before it.
            for job in lane.iter().take(2) {
                queue.ready.remove(job);
            }
            if let (true, Some(first)) = (room, lane.first()) {
                queue.ready.insert(*first);
            }
        }
        let most = if queue.one_at_a_time { 1 } else { queue.max_jobs };
        let can = !queue.ready.is_empty() && queue.place.holds < most;
        let Some(pool) = self.pools.get_mut(&queue.demand.pool) else { return };
        let labels = &queue.demand.labels;
        if !queue.lanes.is_empty() {
            pool.waiting.entry(Arc::clone(labels)).or_default().insert(execution);
        } else if let Some(waiting) = pool.waiting.get_mut(labels) {
            waiting.remove(&execution);
            if waiting.is_empty() {
                pool.waiting.remove(labels);
            }
        }
        let Some(user) = pool.users.get_mut(&queue.user) else { return };
        turns::put(&mut user.turns, labels, &execution, can.then_some(queue.place));
        // What the user holds counts in each of the lines in which they stand.
        if !user.turns.contains_key(labels) {
            turns::put(&mut pool.turns, labels, &queue.user, None);
        }
        for labels in user.turns.keys() {
            turns::put(&mut pool.turns, labels, &queue.user, Some(user.place));
        }
    }
}
