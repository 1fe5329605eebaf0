//! Rooms: which runner gets the next job.
//!
//! Owns the choice among the runners of one pool; pure. Work spreads over the fleet before it piles up.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use events::id::RunnerId;

/// The runners of a pool that have free slots.
#[derive(Debug, Default)]
pub(crate) struct Rooms(BTreeSet<(usize, Reverse<RunnerId>)>);

impl Rooms {
    /// Adds a runner with so many free slots.
    pub(crate) fn add(&mut self, runner: RunnerId, free: usize) {
        if free > 0 {
            self.0.insert((free, Reverse(runner)));
        }
    }

    /// Whether no slot is free.
    pub(crate) fn is_full(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a slot of the runner with the most free ones, the first by name of several.
    pub(crate) fn take(&mut self) -> Option<RunnerId> {
        let (free, Reverse(runner)) = self.0.pop_last()?;
        self.add(runner.clone(), free - 1);
        Some(runner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn work_spreads_over_the_fleet() {
        let mut rooms = Rooms::default();
        for (name, free) in [("a", 1), ("b", 3), ("c", 0), ("d", 1)] {
            rooms.add(name.parse().unwrap(), free);
        }
        let taken: Vec<String> =
            std::iter::from_fn(|| rooms.take()).map(|runner| runner.to_string()).collect();
        assert_eq!(taken, ["b", "b", "a", "b", "d"]);
        assert!(rooms.is_full());
    }
}
