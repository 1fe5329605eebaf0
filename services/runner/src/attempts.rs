//! The attempts in hand: what the heartbeat speaks of and what can be stopped from outside.
//!
//! Owns the list and nothing of what is in it. Invariant: an attempt is in the list from the moment its ticket is on disk
//! until the broker has its end and nothing of it runs.

use std::collections::{HashMap, HashSet};

use events::beat::Running;
use tokio::sync::watch;

/// Why an attempt has to stop before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It is not this runner's any more: nobody wants to hear of it.
    Abandon,
    /// The runner stops.
    Drain,
}

/// The attempts in hand.
pub(crate) struct Attempts(watch::Sender<HashMap<Running, Entry>>);

struct Entry {
    halt: watch::Sender<Option<Halt>>,
    /// Whether it may have containers: one that an earlier process left has none to keep.
    is_live: bool,
}

/// Tells an attempt that it has to stop.
pub(crate) struct Halted(watch::Receiver<Option<Halt>>);

impl Attempts {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(HashMap::new()))
    }

    /// Takes an attempt into the list, to run it; none if it is there already.
    pub(crate) fn take(&self, attempt: &Running) -> Option<Halted> {
        self.insert(attempt, true)
    }

    /// Takes an attempt into the list that an earlier process left, to conclude it.
    pub(crate) fn take_leftover(&self, attempt: &Running) -> Option<Halted> {
        self.insert(attempt, false)
    }

    fn insert(&self, attempt: &Running, is_live: bool) -> Option<Halted> {
        let mut halted = None;
        self.0.send_if_modified(|attempts| {
            if attempts.contains_key(attempt) {
                return false;
            }
            let (halt, receiver) = watch::channel(None);
            attempts.insert(attempt.clone(), Entry { halt, is_live });
            halted = Some(Halted(receiver));
            true
        });
        halted
    }

    /// Takes an attempt off the list.
    pub(crate) fn release(&self, attempt: &Running) {
        self.0.send_modify(|attempts| drop(attempts.remove(attempt)));
    }

    /// Lets an attempt stop; false if it is not in hand.
    pub(crate) fn halt(&self, attempt: &Running, halt: Halt) -> bool {
        self.0.borrow().get(attempt).map(|entry| entry.halt.send_replace(Some(halt))).is_some()
    }

    /// Lets all stop.
    pub(crate) fn halt_all(&self, halt: Halt) {
        for entry in self.0.borrow().values() {
            // What nobody wants to hear of stays so.
            entry.halt.send_if_modified(|now| now.is_none() && now.replace(halt).is_none());
        }
    }

    /// Those whose containers are theirs.
    pub(crate) fn live(&self) -> HashSet<Running> {
        let attempts = self.0.borrow();
        attempts.iter().filter(|(_, entry)| entry.is_live).map(|(attempt, _)| attempt.clone()).collect()
    }

    /// All of them.
    pub(crate) fn all(&self) -> HashSet<Running> {
        self.0.borrow().keys().cloned().collect()
    }

    /// Waits until none is left.
    pub(crate) async fn none_left(&self) {
        // The sender is here, so this cannot fail.
        let _ = self.0.subscribe().wait_for(HashMap::is_empty).await;
    }
}

impl Halted {
    /// Waits until the attempt has to stop.
    pub(crate) async fn halt(&mut self) -> Halt {
        match self.0.wait_for(Option::is_some).await.map(|halt| *halt) {
            Ok(Some(halt)) => halt,
            // It was taken off the list, by whoever asks.
            _ => std::future::pending().await,
        }
    }

    /// Waits until nobody wants to hear of the attempt any more.
    pub(crate) async fn abandon(&mut self) {
        if self.0.wait_for(|halt| *halt == Some(Halt::Abandon)).await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use events::id::JobId;

    use super::*;

    fn attempt(number: u32) -> Running {
        Running { job: JobId::derived(&["job"]), attempt: number }
    }

    #[tokio::test]
    async fn an_attempt_is_in_the_list_once_and_can_be_stopped_there() {
        let attempts = Attempts::new();
        let mut first = attempts.take(&attempt(1)).unwrap();
        let mut second = attempts.take_leftover(&attempt(2)).unwrap();
        assert!(attempts.take(&attempt(1)).is_none());
        assert_eq!(attempts.all(), [attempt(1), attempt(2)].into());
        assert_eq!(
            attempts.live(),
            [attempt(1)].into(),
            "what an earlier process left running is not to be kept"
        );
        assert!(attempts.halt(&attempt(2), Halt::Abandon));
        attempts.halt_all(Halt::Drain);
        assert_eq!((first.halt().await, second.halt().await), (Halt::Drain, Halt::Abandon));
        second.abandon().await;
        attempts.release(&attempt(1));
        assert!(!attempts.halt(&attempt(1), Halt::Drain));
        attempts.release(&attempt(2));
        attempts.none_left().await;
    }
}
