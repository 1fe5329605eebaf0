//! Admission: which waiting job goes to which runner next.
//!
//! Owns the choice and nothing else; pure. The execution that holds the fewest slots is served first, the older one
//! where that is equal, so that a large execution does not keep a small one waiting.

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

/// Who gets what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Admission {
    pub(crate) execution: ExecutionId,
    pub(crate) job: JobId,
    pub(crate) runner: RunnerId,
}

/// Fills the free slots. `candidates` are in the order in which they were requested.
pub(crate) fn admit(mut candidates: Vec<Candidate>, mut free: BTreeMap<RunnerId, usize>) -> Vec<Admission> {
    let mut admitted = Vec::new();
    for candidate in &mut candidates {
        candidate.waiting.reverse();
    }
    loop {
        free.retain(|_, slots| *slots > 0);
        // The runner with the most room: work spreads over the fleet before it piles up.
        let Some(runner) =
            free.iter().rev().max_by_key(|(_, slots)| **slots).map(|(runner, _)| runner.clone())
        else {
            return admitted;
        };
        let next = candidates.iter_mut().filter(|c| !c.waiting.is_empty()).min_by_key(|c| c.holds);
        let Some((candidate, job)) = next.and_then(|c| c.waiting.pop().map(|job| (c, job))) else {
            return admitted;
        };
        candidate.holds += 1;
        if let Some(slots) = free.get_mut(&runner) {
            *slots -= 1;
        }
        admitted.push(Admission { execution: candidate.execution, job, runner });
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

    fn runners(slots: &[(&str, usize)]) -> BTreeMap<RunnerId, usize> {
        slots.iter().map(|(name, slots)| (name.parse().unwrap(), *slots)).collect()
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
    fn nothing_free_or_nothing_waiting_admits_nothing() {
        assert!(admit(vec![candidate("one", 0, 3)], runners(&[("a", 0)])).is_empty());
        assert!(admit(vec![candidate("one", 0, 0)], runners(&[("a", 5)])).is_empty());
    }
}
