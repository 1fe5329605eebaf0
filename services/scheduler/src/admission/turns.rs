//! Turns: who is next among equals.
//!
//! Owns the order of those that can be served. Whoever holds the fewest slots comes first; of those that hold equally
//! many, whoever was served longest ago. Invariant: finding the next and moving one cost the logarithm of how many there
//! are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// Where somebody stands: the slots that it holds, and when it was served last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) holds: u32,
    pub(super) served: u64,
}

/// Those that can be served.
#[derive(Clone, Debug)]
pub(super) struct Turns<K> {
    order: BTreeSet<(Place, K)>,
    places: HashMap<K, Place>,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { order: BTreeSet::new(), places: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Turns<K> {
    /// Puts somebody into their place; absent: they cannot be served.
    pub(super) fn put(&mut self, who: &K, place: Option<Place>) {
        if self.places.get(who).copied() == place {
            return;
        }
        if let Some(old) = self.places.remove(who) {
            self.order.remove(&(old, who.clone()));
        }
        if let Some(place) = place {
            self.places.insert(who.clone(), place);
            self.order.insert((place, who.clone()));
        }
    }

    /// Who is next, and where they stand.
    pub(super) fn first(&self) -> Option<&(Place, K)> {
        self.order.first()
    }
}

/// Puts somebody into their place in one of several lines; a line without anybody is none.
pub(super) fn put<L: Clone + Ord, K: Clone + Eq + Hash + Ord>(
    lines: &mut BTreeMap<L, Turns<K>>,
    line: &L,
    who: &K,
    place: Option<Place>,
) {
    match (lines.get_mut(line), place) {
        (Some(turns), _) => {
            turns.put(who, place);
            if turns.order.is_empty() {
                lines.remove(line);
            }
        }
        (None, Some(_)) => lines.entry(line.clone()).or_default().put(who, place),
        (None, None) => {}
    }
}
