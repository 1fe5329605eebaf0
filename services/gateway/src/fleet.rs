//! The fleet: what the runners say of themselves right now, and which of them changed.
//!
//! Owns the newest heartbeat of each runner, and the order in which runners changed last. What it holds is for show and never
//! a fact: whether a runner lives is the scheduler's to say. Invariants: a beat that is older than a lease is not shown; and
//! whoever follows the changes holds a number and no queue, so that a runner that changed many times meanwhile is told once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use broker::{Broker, RunnerBeats, Start};
use events::beat::{LEASE_MS, RunnerBeat};
use events::{Aggregate, subject};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::projection::Projection;

const LEASE: Duration = Duration::from_millis(LEASE_MS);

/// The newest heartbeats and changes. Cheap to clone; the last clone ends the following.
#[derive(Clone)]
pub(crate) struct Fleet {
    beats: Arc<RwLock<Beats>>,
    changes: watch::Receiver<Changes>,
    _followers: Arc<[AbortOnDropHandle<()>; 2]>,
}

type Beats = HashMap<String, (Instant, RunnerBeat)>;

/// Which runners changed, in the order of their last change.
#[derive(Debug, Default)]
struct Changes {
    /// How many changes there were.
    number: u64,
    of: HashMap<String, u64>,
    in_order: BTreeMap<u64, String>,
}

impl Changes {
    fn mark(&mut self, runner: &str) {
        self.number += 1;
        if let Some(before) = self.of.insert(runner.to_owned(), self.number) {
            self.in_order.remove(&before);
        }
        self.in_order.insert(self.number, runner.to_owned());
    }

    /// The first runner whose last change came behind a number, and the number of that change.
    fn behind(&self, number: u64) -> Option<(u64, String)> {
        let next = self.in_order.range(number + 1..).next();
        next.map(|(number, runner)| (*number, runner.clone()))
    }
}

impl Fleet {
    /// Follows the heartbeats and what becomes of runners from now on.
    pub(crate) fn follow(broker: &Broker, projection: &Projection) -> Self {
        let beats = Arc::new(RwLock::new(Beats::new()));
        let (sender, changes) = watch::channel(Changes::default());
        let sender = Arc::new(sender);
        let heard = hear(broker.follow_runner_beats(), Arc::clone(&beats), Arc::clone(&sender));
        let told = be_told(broker.clone(), projection.clone(), sender);
        let followers = [tokio::spawn(heard), tokio::spawn(told)].map(AbortOnDropHandle::new);
        Self { beats, changes, _followers: Arc::new(followers) }
    }

    /// What a runner said last; nothing if it is silent.
    pub(crate) fn beat(&self, runner: &str) -> Option<RunnerBeat> {
        let beats = self.beats.read().unwrap_or_else(PoisonError::into_inner);
        beats.get(runner).filter(|(heard, _)| heard.elapsed() < LEASE).map(|(_, beat)| beat.clone())
    }

    /// The runners that change from now on.
    pub(crate) fn changing(&self) -> Changing {
        let changes = self.changes.clone();
        let seen = changes.borrow().number;
        Changing { changes, seen }
    }
}

/// Follows which runners change.
pub(crate) struct Changing {
    changes: watch::Receiver<Changes>,
    /// The number of the last change that was told.
    seen: u64,
}

impl Changing {
    /// The next runner that changed since it was told last; nothing when nobody will know any more. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let changes = self.changes.wait_for(|changes| changes.number > self.seen).await.ok()?;
        let (number, runner) = changes.behind(self.seen)?;
        self.seen = number;
        Some(runner)
    }
}

/// Keeps the newest beats, and marks the runners that say something else than before or nothing any more.
async fn hear(mut follower: RunnerBeats, beats: Arc<RwLock<Beats>>, changes: Arc<watch::Sender<Changes>>) {
    loop {
        let oldest =
            beats.read().unwrap_or_else(PoisonError::into_inner).values().map(|(heard, _)| *heard).min();
        let silence = async {
            match oldest {
                Some(heard) => tokio::time::sleep_until(heard + LEASE).await,
                None => std::future::pending().await,
            }
        };
        let mut changed = Vec::new();
        tokio::select! {
            beat = follower.next() => {
                // Without the stream of heartbeats the gateway ends: somebody else waits for that.
                let Ok((runner, beat)) = beat else { return };
                let runner = runner.to_string();
                let mut beats = beats.write().unwrap_or_else(PoisonError::into_inner);
                let before = beats.insert(runner.clone(), (Instant::now(), beat.clone()));
                changed.extend(before.is_none_or(|(_, before)| !is_alike(&before, &beat)).then_some(runner));
            }
            () = silence => {}
        }
        let mut beats = beats.write().unwrap_or_else(PoisonError::into_inner);
        let silent = |heard: &Instant| heard.elapsed() >= LEASE;
        changed
            .extend(beats.iter().filter(|(_, (heard, _))| silent(heard)).map(|(runner, _)| runner.clone()));
        beats.retain(|_, (heard, _)| !silent(heard));
        drop(beats);
        for runner in changed {
            changes.send_modify(|changes| changes.mark(&runner));
        }
    }
}

/// Whether two beats show the same.
fn is_alike(one: &RunnerBeat, other: &RunnerBeat) -> bool {
    (one.slots, &one.running, &one.trouble) == (other.slots, &other.running, &other.trouble)
}

/// Marks the runners that something was recorded of, once the projection shows it.
async fn be_told(broker: Broker, projection: Projection, changes: Arc<watch::Sender<Changes>>) {
    let filters = [subject::ALL_RUNNERS, subject::ALL_ENROLLMENTS].map(str::to_owned);
    let mut follower = broker.relay_events(&filters, Start::LastOfEach);
    while let Ok(batch) = follower.next().await {
        let Some(last) = batch.messages.last() else { continue };
        if !projection.shows(last.sequence).await {
            return;
        }
        for message in &batch.messages {
            if let Some((Aggregate::Runner(id) | Aggregate::Enrollment(id), _)) =
                subject::parse_event(&message.subject)
            {
                changes.send_modify(|changes| changes.mark(id.as_str()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_that_changed_twice_is_told_once_and_in_the_order_of_the_last() {
        let mut changes = Changes::default();
        for runner in ["a", "b", "a", "c"] {
            changes.mark(runner);
        }
        let mut told = Vec::new();
        let mut seen = 0;
        while let Some((number, runner)) = changes.behind(seen) {
            (seen, _) = (number, told.push(runner));
        }
        assert_eq!(told, ["b", "a", "c"]);
        changes.mark("b");
        assert_eq!(changes.behind(seen), Some((5, "b".to_owned())));
        assert_eq!(changes.behind(5), None);
    }
}
