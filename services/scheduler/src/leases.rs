//! Leases: who may run a job, and until when.
//!
//! Owns the lease clock and nothing else: a lease that ran out is a fact the scheduler records, never something a runner
//! decides about itself. Silence counts only while the scheduler could have heard: the clocks start anew whenever the
//! broker was away.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use events::beat::{LEASE_MS, RunnerBeat, Running};
use events::id::RunnerId;
use tokio::time::Instant;

/// After how long a silence a runner's attempts are lost.
pub(crate) const LEASE: Duration = Duration::from_millis(LEASE_MS);

/// How long a runner with a free slot may leave an assigned attempt alone: its ticket is lost then.
const PICK_UP: Duration = Duration::from_secs(30);

/// What is known of the runners that live.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    runners: HashMap<RunnerId, Lease>,
}

#[derive(Debug)]
struct Lease {
    heard: Instant,
    /// Absent for a runner that the log knows and that has not been heard yet.
    beat: Option<RunnerBeat>,
    running: HashSet<Running>,
    /// Attempts that the runner should have and does not speak of, since when.
    missing: HashMap<Running, Instant>,
}

/// An attempt that a runner should have.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) attempt: Running,
    /// Whether the runner said that it began.
    pub(crate) started: bool,
}

impl Leases {
    /// Takes a heartbeat in.
    pub(crate) fn beat(&mut self, runner: RunnerId, beat: RunnerBeat, now: Instant) {
        let running = beat.running.iter().cloned().collect();
        let missing = self.runners.remove(&runner).map(|lease| lease.missing).unwrap_or_default();
        self.runners.insert(runner, Lease { heard: now, beat: Some(beat), running, missing });
    }

    /// Starts the clock of a runner that should be there and has not been heard.
    pub(crate) fn expect(&mut self, runner: &RunnerId, now: Instant) {
        if !self.runners.contains_key(runner) {
            let lease = Lease { heard: now, beat: None, running: HashSet::new(), missing: HashMap::new() };
            self.runners.insert(runner.clone(), lease);
        }
    }

    /// Starts every clock anew: nothing could be heard until now.
    pub(crate) fn restart(&mut self, now: Instant) {
        for lease in self.runners.values_mut() {
            lease.heard = now;
            lease.missing.clear();
        }
    }

    /// The last heartbeats of the runners that live.
    pub(crate) fn living(&self, now: Instant) -> impl Iterator<Item = (&RunnerId, &RunnerBeat)> {
        self.runners
            .iter()
            .filter(move |(_, lease)| now < lease.heard + LEASE)
            .filter_map(|(id, lease)| Some((id, lease.beat.as_ref()?)))
    }

    /// The runners whose lease ran out.
    pub(crate) fn silent(&self, now: Instant) -> Vec<RunnerId> {
        self.runners
            .iter()
            .filter(|(_, lease)| now >= lease.heard + LEASE)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Forgets a runner that holds nothing any more.
    pub(crate) fn forget(&mut self, runner: &RunnerId) {
        self.runners.remove(runner);
    }

    /// The attempts that a living runner should have and no longer does, with the reason.
    pub(crate) fn dropped(
        &mut self,
        runner: &RunnerId,
        held: &[Held],
        now: Instant,
    ) -> Vec<(Running, String)> {
        let Some(lease) = self.runners.get_mut(runner) else { return Vec::new() };
        let Some(beat) = &lease.beat else { return Vec::new() };
        let free = lease.running.len() < beat.slots as usize;
        let missing: HashMap<Running, Instant> = held
            .iter()
            .filter(|held| !lease.running.contains(&held.attempt) && (held.started || free))
            .map(|held| (held.attempt.clone(), lease.missing.get(&held.attempt).copied().unwrap_or(now)))
            .collect();
        lease.missing = missing;
        held.iter()
            .filter_map(|held| {
                let since = lease.missing.get(&held.attempt)?;
                let (patience, reason) = if held.started {
                    (LEASE, "the runner no longer has it: it was restarted without what it had on disk")
                } else {
                    (PICK_UP, "the runner never took it up")
                };
                (now >= *since + patience).then(|| (held.attempt.clone(), reason.to_owned()))
            })
            .collect()
    }

    /// When the next lease runs out if nothing is heard.
    pub(crate) fn next_expiry(&self, now: Instant) -> Option<Instant> {
        self.runners.values().map(|lease| lease.heard + LEASE).filter(|expiry| *expiry > now).min()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::collections::BTreeMap;

    use events::beat::Stage;
    use events::id::JobId;
    use uuid::Uuid;

    use super::*;

    fn runner() -> RunnerId {
        "north".parse().unwrap()
    }

    fn attempt(number: u32) -> Running {
        Running { job: JobId::derived(&["job"]), attempt: number }
    }

    fn beat(running: &[Running]) -> RunnerBeat {
        RunnerBeat {
            incarnation: Uuid::from_u128(1),
            slots: 2,
            running: running.to_vec(),
            pool: "default".to_owned(),
            stage: Stage::Working,
            labels: BTreeMap::new(),
            version: "0".to_owned(),
            trouble: None,
            sealing_key: None,
        }
    }

    #[test]
    fn a_pause_of_five_seconds_is_no_silence_and_eight_are() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.beat(runner(), beat(&[]), start);
        assert_eq!(leases.living(start + Duration::from_secs(5)).count(), 1);
        assert!(leases.silent(start + Duration::from_secs(5)).is_empty());
        assert_eq!(leases.next_expiry(start), Some(start + LEASE));
        assert_eq!(leases.living(start + LEASE).count(), 0);
        assert_eq!(leases.silent(start + LEASE), [runner()]);
        assert_eq!(leases.next_expiry(start + LEASE), None, "what has run out is waited for no more");
    }

    #[test]
    fn silence_while_the_broker_was_away_does_not_count() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.beat(runner(), beat(&[]), start);
        leases.restart(start + Duration::from_secs(60));
        assert!(leases.silent(start + Duration::from_secs(67)).is_empty());
    }

    #[test]
    fn a_runner_that_died_while_nobody_watched_is_noticed() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        leases.expect(&runner(), start);
        leases.expect(&runner(), start + Duration::from_secs(3));
        assert_eq!(leases.living(start).count(), 0, "it was not heard");
        assert_eq!(
            leases.silent(start + LEASE),
            [runner()],
            "expecting it again does not start the clock again"
        );
    }

    #[test]
    fn a_started_attempt_that_its_runner_forgot_is_dropped_after_a_lease() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        let held = [Held { attempt: attempt(1), started: true }];
        leases.beat(runner(), beat(&[]), start);
        assert!(leases.dropped(&runner(), &held, start).is_empty(), "the clock only starts");
        assert!(leases.dropped(&runner(), &held, start + LEASE - Duration::from_millis(1)).is_empty());
        assert_eq!(leases.dropped(&runner(), &held, start + LEASE).len(), 1);
    }

    #[test]
    fn an_attempt_that_is_spoken_of_again_is_not_dropped() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        let held = [Held { attempt: attempt(1), started: true }];
        leases.beat(runner(), beat(&[]), start);
        leases.dropped(&runner(), &held, start);
        leases.beat(runner(), beat(&[attempt(1)]), start + Duration::from_secs(1));
        leases.dropped(&runner(), &held, start + Duration::from_secs(1));
        leases.beat(runner(), beat(&[]), start + Duration::from_secs(2));
        assert!(leases.dropped(&runner(), &held, start + LEASE).is_empty(), "the clock started anew");
    }

    #[test]
    fn a_waiting_ticket_is_given_time_and_none_is_dropped_from_a_full_runner() {
        let (mut leases, start) = (Leases::default(), Instant::now());
        let held = [Held { attempt: attempt(1), started: false }];
        leases.beat(runner(), beat(&[]), start);
        leases.dropped(&runner(), &held, start);
        assert!(leases.dropped(&runner(), &held, start + LEASE).is_empty());
        assert_eq!(leases.dropped(&runner(), &held, start + PICK_UP).len(), 1);
        leases.beat(runner(), beat(&[attempt(7), attempt(8)]), start);
        assert!(leases.dropped(&runner(), &held, start + PICK_UP).is_empty());
    }
}
