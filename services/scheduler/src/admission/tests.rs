//! What the admission promises, against a model that looks at everything each time.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn execution(number: u32) -> ExecutionId {
    ExecutionId::derived(&[&number.to_string()])
}

fn job(number: u32) -> JobId {
    JobId::derived(&[&number.to_string()])
}

fn user(number: u32) -> Actor {
    Actor::user(&format!("user-{number}"))
}

fn terms(by: u32, pool: &str, max_jobs: Option<u32>) -> Terms {
    Terms { user: user(by), demand: demand(pool, &[]), max_jobs, one_at_a_time: false }
}

fn demand(pool: &str, labels: &[&str]) -> Demand {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect::<BTreeSet<_>>();
    Demand { pool: pool.into(), labels: labels.into() }
}

/// The next job of a pool whose runners have every label.
fn admit(admission: &mut Admission, pool: &str) -> Option<(ExecutionId, JobId)> {
    admission.admit(pool, |_| true)
}

/// Lets jobs of an execution wait, each for a repository of its own.
fn queue(admission: &mut Admission, of: u32, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let standing = Some(Standing::Waiting(u64::from(number)));
        admission.put(execution(of), job(number), &format!("r{number}"), standing);
    }
}

fn admitted(admission: &mut Admission, pool: &str, count: usize) -> Vec<ExecutionId> {
    std::iter::from_fn(|| admit(admission, pool)).take(count).map(|(execution, _)| execution).collect()
}

#[test]
fn the_jobs_of_an_execution_keep_their_order() {
    let mut admission = Admission::default();
    admission.open(execution(1), terms(1, "default", None));
    queue(&mut admission, 1, 0..4);
    let jobs: Vec<JobId> =
        std::iter::from_fn(|| admit(&mut admission, "default")).map(|(_, job)| job).collect();
    assert_eq!(jobs, [0, 1, 2, 3].map(job));
}

#[test]
fn ten_thousand_jobs_of_one_user_delay_the_first_of_another_by_nothing_once_a_slot_is_free() {
    let mut admission = Admission::default();
    admission.open(execution(1), terms(1, "default", None));
    queue(&mut admission, 1, 0..10_000);
    let running = admitted(&mut admission, "default", 8);
    assert_eq!(running.len(), 8);
    admission.open(execution(2), terms(2, "default", None));
    queue(&mut admission, 2, 20_000..20_002);
    assert_eq!(admit(&mut admission, "default").map(|(execution, _)| execution), Some(execution(2)));
}

#[test]
fn a_user_with_many_executions_gets_no_more_than_one_with_few() {
    let mut admission = Admission::default();
    for number in 1..=9 {
        admission.open(execution(number), terms(if number == 9 { 2 } else { 1 }, "default", None));
        queue(&mut admission, number, number * 100..number * 100 + 50);
    }
    let running = admitted(&mut admission, "default", 20);
    assert_eq!(running.iter().filter(|one| **one == execution(9)).count(), 10);
    let each = (1..=8).map(|number| running.iter().filter(|one| **one == execution(number)).count());
    assert!(each.clone().all(|count| (1..=2).contains(&count)), "{:?}", each.collect::<Vec<_>>());
}

#[test]
fn slots_are_shared_and_not_turns() {
    // One user's jobs last, the other's end at once: by turns alone the first would soon hold everything.
    let mut admission = Admission::default();
    for number in [1, 2] {
        admission.open(execution(number), terms(number, "default", None));
        queue(&mut admission, number, number * 1_000..number * 1_000 + 900);
    }
    let mut lasting = 0;
    for _ in 0..10 {
        lasting += u32::from(admit(&mut admission, "default").unwrap().0 == execution(1));
    }
    for _ in 0..800 {
        let (of, id) = admit(&mut admission, "default").unwrap();
        lasting += u32::from(of == execution(1));
        if of == execution(2) {
            admission.put(of, id, "", None);
        }
    }
    assert_eq!(lasting, 6, "of eleven slots");
}

#[test]
fn a_full_repository_or_execution_keeps_nobody_else_waiting() {
    let one = NonZeroU32::new(1);
    let mut admission = Admission::new(JobLimits { repository: one, ..JobLimits::default() });
    admission.open(execution(1), terms(1, "default", None));
    admission.open(execution(2), terms(1, "default", Some(1)));
    for number in 0..3 {
        admission.put(execution(1), job(number), "same", Some(Standing::Waiting(number.into())));
    }
    admission.put(execution(1), job(3), "other", Some(Standing::Waiting(3)));
    queue(&mut admission, 2, 10..12);
    let all: BTreeSet<JobId> =
        std::iter::from_fn(|| admit(&mut admission, "default")).map(|(_, job)| job).collect();
    assert_eq!(all, [0, 3, 10].map(job).into());
    admission.put(execution(1), job(0), "same", None);
    assert_eq!(admit(&mut admission, "default"), Some((execution(1), job(1))));
    assert_eq!(admit(&mut admission, "default"), None);
    admission.put(execution(2), job(10), "r10", None);
    assert_eq!(admit(&mut admission, "default"), Some((execution(2), job(11))));
}

#[test]
fn pools_do_not_wait_for_one_another() {
    let pools = BTreeMap::from([("gpu".to_owned(), NonZeroU32::MIN)]);
    let mut admission = Admission::new(JobLimits { pools, ..JobLimits::default() });
    admission.open(execution(1), terms(1, "gpu", None));
    admission.open(execution(2), terms(1, "default", None));
    queue(&mut admission, 1, 0..2);
    queue(&mut admission, 2, 10..12);
    assert_eq!(admitted(&mut admission, "gpu", 5), [execution(1)], "the limit of the pool");
    assert_eq!(admitted(&mut admission, "default", 5), [execution(2); 2]);
    let gpu = demand("gpu", &[]);
    assert!(admission.waiting_demands().eq([gpu.clone()]));
    assert_eq!(admission.waiting_for(&gpu).collect::<Vec<_>>(), [execution(1)]);
    assert_eq!((admission.waits_for(execution(1)), admission.waits_for(execution(2))), (Some(&gpu), None));
}

#[test]
fn a_job_that_waits_for_a_label_keeps_nobody_waiting_and_is_next_once_there_is_room() {
    let mut admission = Admission::default();
    let arm = demand("default", &["arm"]);
    admission.open(execution(1), Terms { demand: arm.clone(), ..terms(1, "default", None) });
    admission.open(execution(2), terms(1, "default", None));
    admission.open(execution(3), terms(2, "default", None));
    (1..=3).for_each(|number| queue(&mut admission, number, number * 10..number * 10 + 4));
    let plain = |labels: &Labels| labels.is_empty();
    let mut next =
        |has_room: &dyn Fn(&Labels) -> bool| admission.admit("default", has_room).map(|(of, _)| of);
    assert_eq!([next(&plain), next(&plain), next(&plain)], [2, 3, 2].map(|of| Some(execution(of))));
    assert_eq!(next(&|_| true), Some(execution(3)), "what a user holds counts in every line");
    assert_eq!(next(&|_| true), Some(execution(1)), "of a user's executions, the one that holds nothing");
    let mut waiting: Vec<_> = admission.waiting_demands().map(|demand| demand.labels.len()).collect();
    waiting.sort_unstable();
    assert_eq!(waiting, [0, 1]);
    assert_eq!(admission.waits_for(execution(1)), Some(&arm));
    assert_eq!(admission.waiting_for(&arm).collect::<Vec<_>>(), [execution(1)]);
}

#[test]
fn nothing_is_left_of_what_has_ended() {
    let mut admission = Admission::default();
    for number in 0..3 {
        admission.open(execution(number), terms(number, "default", None));
        queue(&mut admission, number, number * 10..number * 10 + 5);
    }
    admitted(&mut admission, "default", 7);
    (0..3).for_each(|number| admission.close(execution(number)));
    assert!(admission.jobs.is_empty() && admission.repositories.is_empty());
    assert!(admission.pools.is_empty() && admission.executions.is_empty());
}

/// How long so many admissions take when so many jobs wait; each makes room for the next by an end.
fn duration_of_admissions(waiting: u32) -> Duration {
    let mut admission = Admission::default();
    for number in 0..10 {
        admission.open(execution(number), terms(number % 3, "default", None));
        queue(&mut admission, number, number * waiting / 10..(number + 1) * waiting / 10);
    }
    let start = Instant::now();
    for number in 0..500 {
        let (of, id) = admit(&mut admission, "default").unwrap();
        // The one that ended waits again at the end: there are always equally many.
        admission.put(of, id, "", None);
        admission.put(of, id, &format!("r{number}"), Some(Standing::Waiting(1_000_000 + number)));
    }
    start.elapsed()
}

#[test]
fn an_admission_costs_the_same_however_many_jobs_wait() {
    let best = |waiting| (0..5).map(|_| duration_of_admissions(waiting)).min().unwrap();
    let (few, many) = (best(1_000), best(100_000));
    // A hundred times as many jobs: looking at each would cost a hundred times as much.
    assert!(many < few * 20, "{few:?} with a thousand waiting jobs, {many:?} with a hundred thousand");
}

#[derive(Clone, Debug)]
enum Step {
    Queue {
        execution: u32,
        repository: u32,
    },
    /// By a runner that has these labels.
    Admit {
        pool: usize,
        labels: u8,
    },
    End {
        which: usize,
    },
    /// The attempt was lost, or its assignment met news: the job waits again.
    Requeue {
        which: usize,
    },
    /// It is known what an execution's images are.
    Loosen {
        execution: u32,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..8u32, 0..4u32).prop_map(|(execution, repository)| Step::Queue { execution, repository }),
        5 => (0..2usize, 0..4u8).prop_map(|(pool, labels)| Step::Admit { pool, labels }),
        2 => any::<usize>().prop_map(|which| Step::End { which }),
        1 => any::<usize>().prop_map(|which| Step::Requeue { which }),
        1 => (0..8u32).prop_map(|execution| Step::Loosen { execution }),
    ]
}

const POOLS: [&str; 2] = ["default", "gpu"];

/// Sets of labels as bits.
fn labels(bits: u8) -> Vec<&'static str> {
    ["arm", "big"]
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, label)| label)
        .collect()
}

fn admit_with(admission: &mut Admission, pool: usize, bits: u8) -> Option<(ExecutionId, JobId)> {
    let has = labels(bits);
    admission.admit(POOLS[pool], |asked| asked.iter().all(|label| has.contains(&label.as_str())))
}

/// An execution of the model.
#[derive(Clone, Debug)]
struct Of {
    user: u32,
    pool: usize,
    labels: u8,
    max_jobs: Option<u32>,
    one_at_a_time: bool,
}

fn of() -> impl Strategy<Value = Of> {
    let labels = prop_oneof![2 => Just(0), 1 => 0..4u8];
    (0..4u32, 0..2usize, labels, proptest::option::of(1..3u32), any::<bool>()).prop_map(
        |(user, pool, labels, max_jobs, one_at_a_time)| Of { user, pool, labels, max_jobs, one_at_a_time },
    )
}

/// The same by looking at everything.
struct Model {
    limits: JobLimits,
    executions: Vec<Of>,
    jobs: BTreeMap<JobId, (u32, u32, Standing)>,
    /// Who waits without a slot: the users that were served in the meantime.
    passed: HashMap<(usize, u32), Vec<u32>>,
}

impl Model {
    fn holds(&self, like: impl Fn(u32, u32) -> bool) -> u32 {
        let jobs = self.jobs.values().filter(|(_, _, standing)| *standing == Standing::Holding);
        u32::try_from(jobs.filter(|(execution, repository, _)| like(*execution, *repository)).count())
            .unwrap()
    }

    fn of_user(&self, pool: usize, user: u32) -> u32 {
        self.holds(|execution, _| {
            let of = &self.executions[execution as usize];
            (of.user, of.pool) == (user, pool)
        })
    }

    /// Whether a user has a job that a runner with all labels could take.
    fn may_run(&self, pool: usize, user: u32) -> bool {
        let all = self.admissible(pool, u8::MAX);
        all.iter().any(|(_, _, execution)| self.executions[*execution as usize].user == user)
    }

    fn of_execution(&self, number: u32) -> u32 {
        self.holds(|execution, _| execution == number)
    }

    /// The jobs that may run on a runner with these labels, with their executions, first come first.
    fn admissible(&self, pool: usize, labels: u8) -> Vec<(u64, JobId, u32)> {
        if self.holds(|execution, _| self.executions[execution as usize].pool == pool)
            >= self.limits.of_pool(POOLS[pool])
        {
            return Vec::new();
        }
        let mut jobs: Vec<_> = self
            .jobs
            .iter()
            .filter_map(|(job, (execution, repository, standing))| {
                let Standing::Waiting(since) = *standing else { return None };
                let of = &self.executions[*execution as usize];
                let room = of.pool == pool
                    && of.labels & !labels == 0
                    && self.of_execution(*execution) < self.limits.of_execution(of.max_jobs)
                    && !(of.one_at_a_time && self.of_execution(*execution) > 0)
                    && self.holds(|_, other| other == *repository) < self.limits.of_repository();
                room.then_some((since, *job, *execution))
            })
            .collect();
        jobs.sort_unstable();
        jobs
    }

    /// Checks an admission, or that there is none.
    fn check(
        &mut self,
        (pool, labels): (usize, u8),
        admitted: Option<(ExecutionId, JobId)>,
    ) -> Result<(), TestCaseError> {
        let admissible = self.admissible(pool, labels);
        let Some((_, id)) = admitted else {
            prop_assert!(admissible.is_empty(), "nothing is admitted although {:?} may run", admissible);
            return Ok(());
        };
        let number = admissible.iter().find(|(_, job, _)| *job == id).map(|(_, _, execution)| *execution);
        prop_assert!(number.is_some(), "{:?} is admitted and may not run", id);
        let number = number.unwrap();
        let first = admissible.iter().find(|(_, _, execution)| *execution == number).unwrap();
        prop_assert_eq!(first.1, id, "an earlier job of the execution may run");
        let served = self.executions[number as usize].user;
        let users: BTreeSet<u32> =
            admissible.iter().map(|(_, _, execution)| self.executions[*execution as usize].user).collect();
        for user in &users {
            prop_assert!(self.of_user(pool, served) <= self.of_user(pool, *user), "a user holds fewer slots");
        }
        for (_, _, other) in admissible {
            let same = self.executions[other as usize].user == served;
            let fewer = self.of_execution(other) < self.of_execution(number);
            prop_assert!(!(same && fewer), "an execution of the same user holds fewer slots");
        }
        self.bound_the_wait(pool, served, &users)
    }

    /// Whoever holds nothing is passed by each other user once at most while they may be served. An admission that was not
    /// for their labels passes nobody, and they keep their place.
    fn bound_the_wait(
        &mut self,
        pool: usize,
        served: u32,
        users: &BTreeSet<u32>,
    ) -> Result<(), TestCaseError> {
        for user in 0..4 {
            let may = users.contains(&user);
            let waits = self.may_run(pool, user) && user != served && self.of_user(pool, user) == 0;
            let passed = self.passed.entry((pool, user)).or_default();
            if waits && !may {
                continue;
            }
            if !waits {
                passed.clear();
                continue;
            }
            prop_assert!(!passed.contains(&served), "user {} waits while {} is served twice", user, served);
            passed.push(served);
        }
        Ok(())
    }
}

fn some_limit() -> impl Strategy<Value = Option<NonZeroU32>> {
    proptest::option::of((1..4u32).prop_map(|limit| NonZeroU32::new(limit).unwrap()))
}

fn limits() -> impl Strategy<Value = JobLimits> {
    (some_limit(), some_limit(), some_limit()).prop_map(|(execution, repository, gpu)| JobLimits {
        execution,
        repository,
        pools: gpu.map(|limit| ("gpu".to_owned(), limit)).into_iter().collect(),
    })
}

proptest! {
    #[test]
    fn limits_hold_nobody_starves_and_no_slot_is_idle(
        limits in limits(),
        executions in vec(of(), 8),
        steps in vec(step(), 0..120),
    ) {
        let mut admission = Admission::new(limits.clone());
        for (number, of) in (0..).zip(&executions) {
            let demand = demand(POOLS[of.pool], &labels(of.labels));
            let (max_jobs, one_at_a_time) = (of.max_jobs, of.one_at_a_time);
            admission.open(execution(number), Terms { user: user(of.user), demand, max_jobs, one_at_a_time });
        }
        let mut model = Model { limits, executions, jobs: BTreeMap::new(), passed: HashMap::new() };
        for (place, step) in (1..).zip(steps) {
            match step {
                Step::Queue { execution: of, repository } => {
                    let id = job(place);
                    let standing = Standing::Waiting(u64::from(place));
                    admission.put(execution(of), id, &repository.to_string(), Some(standing));
                    model.jobs.insert(id, (of, repository, standing));
                }
                Step::Admit { pool, labels } => {
                    let admitted = admit_with(&mut admission, pool, labels);
                    model.check((pool, labels), admitted)?;
                    if let Some((_, id)) = admitted {
                        model.jobs.get_mut(&id).unwrap().2 = Standing::Holding;
                    }
                }
                Step::Loosen { execution: of } => {
                    admission.loosen(execution(of));
                    model.executions[of as usize].one_at_a_time = false;
                }
                Step::End { which } | Step::Requeue { which } => {
                    let Some(id) = model.jobs.keys().nth(which % model.jobs.len().max(1)).copied() else { continue };
                    let (of, repository, _) = model.jobs[&id];
                    let standing = match step {
                        Step::Requeue { .. } => Some(Standing::Waiting(u64::from(place))),
                        _ => None,
                    };
                    admission.put(execution(of), id, &repository.to_string(), standing);
                    match standing {
                        Some(standing) => model.jobs.get_mut(&id).unwrap().2 = standing,
                        None => drop(model.jobs.remove(&id)),
                    }
                }
            }
        }
        // What is left can all be told apart: every job that may run is given out, and nothing else.
        for pool in 0..POOLS.len() {
            loop {
                let admitted = admit_with(&mut admission, pool, u8::MAX);
                model.check((pool, u8::MAX), admitted)?;
                let Some((_, id)) = admitted else { break };
                model.jobs.get_mut(&id).unwrap().2 = Standing::Holding;
            }
        }
    }
}
