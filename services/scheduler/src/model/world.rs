//! The world: who is there, what happens to them, and the peace at the end.
//!
//! Owns the choice of what happens next, which follows from the seed alone.

use std::cell::{RefCell, RefMut};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use events::runner::DEFAULT_POOL;
use fastrand::Rng;
use futures::FutureExt as _;

use super::connection::Broker;
use super::machine::{now, pass};
use super::runner::Runner;
use super::servers::Servers;
use super::{Seen, people};
use crate::service::Service;
use crate::{Config, DEFAULT_TIMEOUT, JobLimits, MAX_TIMEOUT};

/// How many seconds of peace all has to end in: three losses, each noticed after the patience with a ticket.
const PEACE: u32 = 240;

/// How long a job may wait for a runner.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(90);

/// A world.
pub(super) struct World {
    broker: Broker,
    scheduler: Option<Service>,
    runners: Vec<Runner>,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let mut servers = Servers::new(seed, trace);
        let count = servers.rng.usize(1..=3);
        let runners: Vec<Runner> =
            (0..count).map(|number| Runner::new(["a", "b", "c"][number], servers.rng.u32(1..=2))).collect();
        servers.referee.limits = limits(&mut servers.rng);
        servers.referee.slots = runners.iter().map(|runner| (runner.id.clone(), runner.slots)).collect();
        Self { broker: Broker(Rc::new(RefCell::new(servers))), scheduler: None, runners }
    }

    fn servers(&self) -> RefMut<'_, Servers> {
        self.broker.0.borrow_mut()
    }

    /// Lives through a history, and through the peace after it.
    pub(super) fn live(mut self) -> Seen {
        people::request(&mut self.servers());
        let length = self.servers().rng.u32(20..120);
        for _ in 0..length {
            self.happen();
        }
        self.make_peace();
        std::mem::take(&mut self.servers().seen)
    }

    fn happen(&mut self) {
        let what = self.servers().rng.u32(0..100);
        if what >= 70 {
            return self.schedule();
        }
        let servers = &mut *self.broker.0.borrow_mut();
        let some = servers.rng.usize(0..self.runners.len());
        let runner = &mut self.runners[some];
        match what {
            0..35 => runner.act(servers),
            35..45 => runner.beat(servers),
            45..52 => people::act(servers),
            52..60 => pass(Duration::from_millis(servers.rng.u64(1..3_000))),
            60..62 => pass(Duration::from_secs(servers.rng.u64(5..35))),
            62..65 if runner.up => {
                runner.die();
                servers.see("a runner died");
            }
            62..65 => runner.start(),
            65..67 => {
                runner.connected = !runner.connected;
                servers.see("a runner was cut off");
            }
            67..69 => servers.fuse = Some(servers.rng.u32(0..6)),
            _ if servers.one_in(2) => runner.drain(),
            _ => servers.forget_repetitions(),
        }
    }

    /// One turn of the scheduler's loop, or its start.
    fn schedule(&mut self) {
        let Some(scheduler) = &mut self.scheduler else {
            if self.servers().one_in(3) {
                self.servers().lose_snapshot();
            }
            self.scheduler = start(&self.broker);
            return;
        };
        if turn(scheduler, &self.broker).now_or_never().is_none() {
            self.scheduler = None;
            self.servers().see("the scheduler died");
        }
    }

    /// Nothing fails any more: all has to come to its end, and nothing may be left.
    fn make_peace(&mut self) {
        self.servers().tell(|| "peace".to_owned());
        self.servers().fuse = None;
        for runner in &mut self.runners {
            runner.connected = true;
        }
        let scheduler = self.scheduler.take().or_else(|| start(&self.broker));
        let mut scheduler = scheduler.expect("nothing dies in peace");
        for _ in 0..PEACE {
            pass(Duration::from_secs(1));
            for runner in &mut self.runners {
                let servers = &mut *self.broker.0.borrow_mut();
                // One that drained leaves, and is started again.
                if !runner.up {
                    runner.start();
                }
                for _ in 0..4 {
                    runner.obey(servers);
                    runner.take(servers);
                    runner.work(servers);
                    runner.send(servers);
                }
                runner.leave(servers);
                runner.beat(servers);
            }
            settle(&mut scheduler, &self.broker).now_or_never().expect("nothing dies in peace");
            if self.is_over(&scheduler) {
                check(&scheduler, &self.broker);
                return;
            }
        }
        self.say_what_is_left();
    }

    fn is_over(&self, scheduler: &Service) -> bool {
        let servers = self.servers();
        scheduler.fold.executions.is_empty()
            && servers.referee.executions.values().all(|execution| execution.completed)
            && self.runners.iter().all(Runner::is_idle)
            && servers.queues.values().all(|queues| queues.tickets.is_empty() && queues.controls.is_empty())
            && servers.reports.iter().all(|stored| stored.acknowledged)
    }

    fn say_what_is_left(&self) {
        let servers = self.servers();
        let open = servers.referee.executions.iter().filter(|(_, execution)| !execution.completed);
        let open: Vec<_> = open.map(|(id, _)| id).collect();
        let hands: Vec<_> =
            self.runners.iter().map(|runner| (&runner.id, runner.hand.keys().collect::<Vec<_>>())).collect();
        let reports = servers.reports.iter().filter(|stored| !stored.acknowledged).count();
        let queues =
            servers.queues.iter().map(|(id, queues)| (id, queues.tickets.len(), queues.controls.len()));
        let queues: Vec<_> = queues.collect();
        panic!(
            "after {PEACE} s of peace: open {open:?}, in hand {hands:?}, reports {reports}, queues {queues:?}"
        );
    }
}

/// What a site says of how many jobs may run at once.
fn limits(rng: &mut Rng) -> JobLimits {
    let mut limit = |most: u32| NonZeroU32::new(rng.u32(0..=most));
    let (execution, repository) = (limit(3), limit(2));
    let pools = limit(4).map(|limit| (DEFAULT_POOL.to_owned(), limit)).into_iter().collect();
    JobLimits { execution, repository, pools }
}

/// Starts a scheduler; none if it died at once.
fn start(broker: &Broker) -> Option<Service> {
    let job_limits = {
        let servers = &mut *broker.0.borrow_mut();
        servers.scheduler_starts();
        servers.referee.limits.clone()
    };
    let config = Config {
        snapshot_dir: PathBuf::new(),
        secrets_key: super::key().to_owned(),
        default_timeout: DEFAULT_TIMEOUT,
        max_timeout: MAX_TIMEOUT,
        default_queue_timeout: QUEUE_TIMEOUT,
        job_limits,
    };
    let mut started = Service::start(config, broker.clone()).now_or_never()?.expect("a scheduler starts");
    // The loop looks at everything before it takes anything in.
    started.tick().now_or_never()?.expect("a look at everything");
    Some(started)
}

/// What a turn of the loop takes in, and the look at everything after it.
async fn turn(scheduler: &mut Service, broker: &Broker) {
    let (what, most) = {
        let servers = &mut *broker.0.borrow_mut();
        (servers.rng.u32(0..9), servers.rng.usize(1..8))
    };
    match what {
        0..3 if !scheduler.events.caught_up() => scheduler.take_next_events().await.expect("events"),
        3..6 => scheduler.take_reports(broker.deliver(most)).await.expect("reports"),
        6..8 => hear(scheduler, broker),
        8 => scheduler.leases.restart(now()),
        _ => {}
    }
    scheduler.tick().await.expect("a look at everything");
    if broker.0.borrow_mut().one_in(20) {
        scheduler.save(1);
    }
}

/// Takes everything in.
async fn settle(scheduler: &mut Service, broker: &Broker) {
    while !scheduler.events.caught_up() {
        scheduler.take_next_events().await.expect("events");
    }
    hear(scheduler, broker);
    scheduler.take_reports(broker.deliver(usize::MAX)).await.expect("reports");
    scheduler.tick().await.expect("a look at everything");
}

fn hear(scheduler: &mut Service, broker: &Broker) {
    for (runner, beat) in broker.0.borrow_mut().hear() {
        scheduler.leases.beat(runner, beat, now());
    }
}

/// Whether the scheduler knows what the log says, no more and no less.
fn check(scheduler: &Service, broker: &Broker) {
    broker.0.borrow_mut().lose_snapshot();
    let (mut live, mut rebuilt) = (scheduler.fold.clone(), start(broker).expect("it lives").fold);
    for fold in [&mut live, &mut rebuilt] {
        fold.index.held.retain(|_, held| !held.is_empty());
    }
    assert_eq!(live.executions, rebuilt.executions, "the live fold is another than the rebuilt one");
    assert_eq!(live.runners, rebuilt.runners, "the live fold is another than the rebuilt one");
    assert_eq!(live.index.held, rebuilt.index.held, "the live index is another than the rebuilt one");
    assert_eq!(live.index.whose, rebuilt.index.whose, "the live index is another than the rebuilt one");
    assert_eq!(
        live.index.deadlines, rebuilt.index.deadlines,
        "the live index is another than the rebuilt one"
    );
}
