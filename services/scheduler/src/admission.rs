//! Admission: which waiting job goes to which runner next.
//!
//! Owns the choice and nothing else; pure. The execution that holds the fewest slots is served first, the older one
//! where that is equal, so that a large execution does not keep a small one waiting. A job is given to a full runner, to
//! be made ready there, only when no slot of the fleet is free.

use std::collections::BTreeMap;

use events::id::{ExecutionId, JobId, RunnerId};

/// An execution that has waiting jobs.
pub(crate) struct Candidate {
    pub(crate) execution: ExecutionId,
    /// How many slots it holds.
    pub(crate) holds: usize,
    /// Its waiting jobs, first come first; as many as the fleet has room for are enough.
    pub(crate) waiting: Vec<JobId>,
}

/// What a runner can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Room {
    /// How many of its slots are free.
    pub(crate) free: usize,
    /// How many more jobs it can make ready while its slots are taken.
    pub(crate) ahead: usize,
}

impl Room {
    /// The room of a runner with so many slots that holds so many attempts: one can be ahead for each slot.
    pub(crate) fn of(slots: usize, load: usize) -> Self {
        Self { free: slots.saturating_sub(load), ahead: (2 * slots).saturating_sub(load.max(slots)) }
    }

    fn take(&mut self) {
        if self.free > 0 { self.free -= 1 } else { self.ahead = self.ahead.saturating_sub(1) }
    }

    /// How many jobs it can take in all.
    pub(crate) const fn total(self) -> usize {
        self.free + self.ahead
    }
}

/// Who gets what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) execution: ExecutionId,
    pub(crate) job: JobId,
    pub(crate) runner: RunnerId,
}

/// Fills the room. `candidates` are in the order in which they were requested.
pub(crate) fn admit(mut candidates: Vec<Candidate>, mut rooms: BTreeMap<RunnerId, Room>) -> Vec<Admission> {
    let mut admitted = Vec::new();
    for candidate in &mut candidates {
        candidate.waiting.reverse();
    }
    loop {
        rooms.retain(|_, room| room.total() > 0);
        // The runner with the most room: work spreads over the fleet before it piles up.
        let Some((runner, room)) = rooms.iter_mut().rev().max_by_key(|(_, room)| **room) else {
            return admitted;
        };
        let next = candidates.iter_mut().filter(|c| !c.waiting.is_empty()).min_by_key(|c| c.holds);
        let Some((candidate, job)) = next.and_then(|c| c.waiting.pop().map(|job| (c, job))) else {
            return admitted;
        };
        candidate.holds += 1;
        room.take();
        admitted.push(Admission { execution: candidate.execution, job, runner: runner.clone() });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn candidate(name: &str, holds: usize, waiting: usize) -> Candidate {
        let waiting = (0..waiting).map(|n| JobId::derived(&[name, &n.to_string()])).collect();
        Candidate { execution: ExecutionId::derived(&[name]), holds, waiting }
    }

    fn runners(slots: &[(&str, usize)]) -> BTreeMap<RunnerId, Room> {
        rooms(&slots.iter().map(|(name, slots)| (*name, *slots, 0)).collect::<Vec<_>>())
    }

    fn rooms(rooms: &[(&str, usize, usize)]) -> BTreeMap<RunnerId, Room> {
        rooms
            .iter()
            .map(|(name, free, ahead)| (name.parse().unwrap(), Room { free: *free, ahead: *ahead }))
            .collect()
    }

    #[test]
    fn a_small_execution_is_not_kept_waiting_by_a_large_one() {
        let admitted =
            admit(vec![candidate("large", 6, 900), candidate("small", 0, 2)], runners(&[("a", 3)]));
        let small = ExecutionId::derived(&["small"]);
        assert_eq!(admitted.iter().filter(|a| a.execution == small).count(), 2);
        assert_eq!(admitted.len(), 3, "the third slot goes to the large one");
    }

    #[test]
    fn jobs_of_an_execution_keep_their_order() {
        let admitted = admit(vec![candidate("one", 0, 4)], runners(&[("a", 2)]));
        let jobs: Vec<JobId> = admitted.iter().map(|a| a.job).collect();
        assert_eq!(jobs, [JobId::derived(&["one", "0"]), JobId::derived(&["one", "1"])]);
    }

    #[test]
    fn work_spreads_over_the_fleet() {
        let admitted = admit(vec![candidate("one", 0, 3)], runners(&[("a", 1), ("b", 3)]));
        let on_b = admitted.iter().filter(|a| a.runner.as_str() == "b").count();
        assert_eq!((admitted.len(), on_b), (3, 2));
    }

    #[test]
    fn nobody_waits_behind_another_while_a_slot_is_free() {
        let admitted = admit(vec![candidate("one", 0, 4)], rooms(&[("a", 0, 8), ("b", 2, 0), ("c", 1, 1)]));
        let runners: Vec<&str> = admitted.iter().map(|a| a.runner.as_str()).collect();
        assert_eq!(runners, ["b", "c", "b", "a"]);
    }

    #[test]
    fn one_job_can_be_ahead_for_each_slot() {
        let room = |load| (Room::of(2, load).free, Room::of(2, load).ahead);
        assert_eq!([0, 1, 2, 3, 4, 5].map(room), [(2, 2), (1, 2), (0, 2), (0, 1), (0, 0), (0, 0)]);
        assert_eq!(Room::of(0, 0).total(), 0, "a runner in trouble takes nothing");
    }

    #[test]
    fn nothing_free_or_nothing_waiting_admits_nothing() {
        assert!(admit(vec![candidate("one", 0, 3)], runners(&[("a", 0)])).is_empty());
        assert!(admit(vec![candidate("one", 0, 0)], runners(&[("a", 5)])).is_empty());
    }
}
