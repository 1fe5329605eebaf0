//! Slots: how many jobs run at once, and which place each has.
//!
//! Owns the numbers of the places. Never knows what runs in one. Invariant: no two hold the same number at once, so that
//! what belongs to a place, such as its network, belongs to one job at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of a runner.
pub(crate) struct Slots {
    permits: Arc<Semaphore>,
    free: Mutex<BTreeSet<u32>>,
}

/// The right to run one job's steps, in a place of its own.
pub(crate) struct Slot {
    number: u32,
    slots: Arc<Slots>,
    /// None once it was given back.
    permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    pub(crate) fn new(count: u32) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(count as usize));
        Arc::new(Self { permits, free: Mutex::new((0..count).collect()) })
    }

    /// Waits for a free place; the lowest number is given out first.
    pub(crate) async fn take(self: &Arc<Self>) -> Option<Slot> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok()?;
        let number = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop_first()?;
        Some(Slot { number, slots: Arc::clone(self), permit: Some(permit) })
    }
}

impl Slot {
    /// Its number, from 0.
    pub(crate) const fn number(&self) -> u32 {
        self.number
    }

    /// Lets another have the place: nothing that used it runs any more.
    pub(crate) fn give_back(&mut self) {
        // Whoever gets the permit finds a number.
        if let Some(permit) = self.permit.take() {
            self.slots.free.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number);
            drop(permit);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_place_is_taken_by_one_and_given_out_again() {
        let slots = Slots::new(2);
        let (mut first, second) = (slots.take().await.unwrap(), slots.take().await.unwrap());
        assert_eq!((first.number(), second.number()), (0, 1));
        assert!(slots.take().now_or_never().is_none());
        first.give_back();
        drop(first);
        assert_eq!(slots.take().await.unwrap().number(), 0);
    }
}
