//! Rooms: which runner gets the next job.
//!
//! Owns the choice among the runners of one pool; pure. Work spreads over the fleet before it piles up, and of runners that
//! are equally free the one with the fewest labels gets it, so that others stay free for jobs that ask for more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use events::id::RunnerId;

/// The runners of a pool that have free slots, by the labels that they have.
#[derive(Debug, Default)]
pub(crate) struct Rooms(BTreeMap<BTreeSet<String>, BTreeSet<(usize, Reverse<RunnerId>)>>);

impl Rooms {
    /// Adds a runner with so many free slots.
    pub(crate) fn add(&mut self, labels: BTreeSet<String>, runner: RunnerId, free: usize) {
        if free > 0 {
            self.0.entry(labels).or_default().insert((free, Reverse(runner)));
        }
    }

    /// Whether no slot is free.
    pub(crate) fn is_full(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a slot is free of a runner that has all of these.
    pub(crate) fn has(&self, labels: &BTreeSet<String>) -> bool {
        self.0.keys().any(|known| labels.is_subset(known))
    }

    /// Takes a slot of the runner that has all of these and the most free ones, the first by name of several.
    pub(crate) fn take(&mut self, labels: &BTreeSet<String>) -> Option<RunnerId> {
        let fitting = self.0.iter().filter(|(known, _)| labels.is_subset(known));
        let firsts = fitting.filter_map(|(known, free)| Some((known, free.last()?)));
        let (known, _) = firsts.max_by_key(|(known, (free, name))| (*free, Reverse(known.len()), name))?;
        let known = known.clone();
        let runners = self.0.get_mut(&known)?;
        let (free, Reverse(runner)) = runners.pop_last()?;
        if runners.is_empty() {
            self.0.remove(&known);
        }
        self.add(known, runner.clone(), free - 1);
        Some(runner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn set(labels: &[&str]) -> BTreeSet<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    fn rooms(runners: &[(&str, &[&str], usize)]) -> Rooms {
        let mut rooms = Rooms::default();
        for (name, labels, free) in runners {
            rooms.add(set(labels), name.parse().unwrap(), *free);
        }
        rooms
    }

    fn taken(rooms: &mut Rooms, labels: &[&str]) -> Vec<String> {
        std::iter::from_fn(|| rooms.take(&set(labels))).map(|runner| runner.to_string()).collect()
    }

    #[test]
    fn work_spreads_over_the_fleet() {
        let mut rooms = rooms(&[("a", &[], 1), ("b", &[], 3), ("c", &[], 0), ("d", &[], 1)]);
        assert_eq!(taken(&mut rooms, &[]), ["b", "b", "a", "b", "d"]);
        assert!(rooms.is_full());
    }

    #[test]
    fn a_job_goes_to_a_runner_that_has_all_its_labels() {
        let mut rooms = rooms(&[("a", &["gpu"], 2), ("b", &["arm"], 9), ("c", &["arm", "gpu"], 1)]);
        assert!(!rooms.has(&set(&["gpu", "big"])));
        assert_eq!(taken(&mut rooms, &["gpu", "big"]), [""; 0]);
        assert_eq!(taken(&mut rooms, &["arm", "gpu"]), ["c"]);
        assert_eq!(taken(&mut rooms, &["gpu"]), ["a", "a"]);
        assert!(!rooms.has(&set(&["gpu"])) && rooms.has(&set(&["arm"])) && rooms.has(&set(&[])));
    }

    #[test]
    fn of_equally_free_runners_the_plainest_gets_the_job() {
        let mut rooms = rooms(&[("a", &["arm", "gpu"], 1), ("b", &["gpu"], 1), ("c", &[], 1)]);
        assert_eq!(taken(&mut rooms, &[]), ["c", "b", "a"]);
    }
}
