//! The attempts in hand: what the heartbeat speaks of and what can be stopped from outside.
//!
//! Owns the list and nothing of what is in it. Invariant: an attempt is in the list from the moment its ticket is on disk
//! until the broker has its end and nothing of it runs.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use events::beat::Running;
use tokio::sync::watch;

/// Why an attempt has to stop before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It is not this runner's any more: nobody wants to hear of it.
    Abandon,
    /// Somebody wants the job to stop.
    Cancel,
    /// The runner stops.
    Drain,
}

/// How many cancels are remembered whose tickets have not come. One that is forgotten is told again once its attempt has
/// started.
const EARLY: usize = 1_024;

/// The attempts in hand.
pub(crate) struct Attempts {
    list: watch::Sender<HashMap<Running, Entry>>,
    /// Attempts that are to stop and whose ticket is still on its way.
    early: Mutex<HashSet<Running>>,
}

struct Entry {
    halt: watch::Sender<Option<Halt>>,
    /// Whether it may have containers: one that an earlier process left has none to keep.
    is_live: bool,
}

/// Tells an attempt that it has to stop.
pub(crate) struct Halted(watch::Receiver<Option<Halt>>);

impl Attempts {
    pub(crate) fn new() -> Self {
        Self { list: watch::Sender::new(HashMap::new()), early: Mutex::default() }
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
        let mut early = self.early();
        let mut halted = None;
        self.list.send_if_modified(|attempts| {
            if attempts.contains_key(attempt) {
                return false;
            }
            let (halt, receiver) = watch::channel(early.remove(attempt).then_some(Halt::Cancel));
            attempts.insert(attempt.clone(), Entry { halt, is_live });
            halted = Some(Halted(receiver));
            true
        });
        halted
    }

    /// Takes an attempt off the list.
    pub(crate) fn release(&self, attempt: &Running) {
        self.list.send_modify(|attempts| drop(attempts.remove(attempt)));
    }

    /// Lets an attempt stop of which nobody wants to hear any more; false if it is not in hand.
    pub(crate) fn abandon(&self, attempt: &Running) -> bool {
        let list = self.list.borrow();
        list.get(attempt).map(|entry| entry.halt.send_replace(Some(Halt::Abandon))).is_some()
    }

    /// Lets an attempt stop because somebody wants it to. One whose ticket is still on its way stops once it is here.
    pub(crate) fn cancel(&self, attempt: &Running) {
        let mut early = self.early();
        if let Some(entry) = self.list.borrow().get(attempt) {
            return entry.halt(Halt::Cancel);
        }
        if early.len() >= EARLY {
            early.clear();
        }
        early.insert(attempt.clone());
    }

    /// Lets all stop.
    pub(crate) fn halt_all(&self, halt: Halt) {
        self.list.borrow().values().for_each(|entry| entry.halt(halt));
    }

    /// Whether an attempt is in hand and may have containers.
    pub(crate) fn is_live(&self, attempt: &Running) -> bool {
        self.list.borrow().get(attempt).is_some_and(|entry| entry.is_live)
    }

    /// All of them.
    pub(crate) fn all(&self) -> HashSet<Running> {
        self.list.borrow().keys().cloned().collect()
    }

    fn early(&self) -> MutexGuard<'_, HashSet<Running>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until none is left.
    pub(crate) async fn none_left(&self) {
        // The sender is here, so this cannot fail.
        let _ = self.list.subscribe().wait_for(HashMap::is_empty).await;
    }
}

impl Entry {
    /// The first reason counts; only that nobody wants to hear of it takes its place.
    fn halt(&self, halt: Halt) {
        self.halt.send_if_modified(|now| now.is_none() && now.replace(halt).is_none());
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
        assert!(attempts.is_live(&attempt(1)));
        assert!(!attempts.is_live(&attempt(2)), "what an earlier process left running is not to be kept");
        assert!(attempts.abandon(&attempt(2)));
        attempts.halt_all(Halt::Drain);
        assert_eq!((first.halt().await, second.halt().await), (Halt::Drain, Halt::Abandon));
        second.abandon().await;
        attempts.release(&attempt(1));
        assert!(!attempts.abandon(&attempt(1)));
        attempts.release(&attempt(2));
        attempts.none_left().await;
    }

    #[tokio::test]
    async fn a_cancel_may_come_before_its_ticket() {
        let attempts = Attempts::new();
        attempts.cancel(&attempt(3));
        let mut other = attempts.take(&attempt(4)).unwrap();
        let mut canceled = attempts.take(&attempt(3)).unwrap();
        assert_eq!(canceled.halt().await, Halt::Cancel);
        attempts.cancel(&attempt(4));
        attempts.halt_all(Halt::Drain);
        assert_eq!(other.halt().await, Halt::Cancel, "the first reason counts");
        attempts.release(&attempt(3));
        let mut again = attempts.take(&attempt(3)).unwrap();
        attempts.halt_all(Halt::Drain);
        assert_eq!(again.halt().await, Halt::Drain, "what was canceled is remembered once");
    }
}
