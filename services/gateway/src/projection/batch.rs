//! What many ask for at once is read at once: the same number of statements for a page of two and of two hundred.
//!
//! A library's loader waits a fixed time for others to ask, which is slow on a quiet machine and too short on a busy one.
//! Fields that are resolved at once belong to one task, so that nobody has to wait: whoever asks gives way once, and all that
//! could ask have asked when its turn comes again.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};

use crate::fault::Fault;

/// Reads many things of one kind at once.
pub(crate) trait Load: Send + Sync + 'static {
    /// What is asked for.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;
    /// What is found.
    type Value: Clone + Send + Sync + 'static;

    /// How many keys one statement names.
    const AT_ONCE: usize;

    /// Reads what there is of these, which are at most [`Self::AT_ONCE`].
    fn load(
        &self,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<HashMap<Self::Key, Self::Value>, Fault>> + Send;
}

/// What all who asked together are told.
type Answer<L> = Result<Arc<HashMap<<L as Load>::Key, <L as Load>::Value>>, Fault>;

type Reading<L> = BoxFuture<'static, Answer<L>>;

/// A batch that still takes keys. It is gone once nobody waits for it.
struct Open<L: Load> {
    keys: HashSet<L::Key>,
    reading: Option<WeakShared<Reading<L>>>,
}

/// Gathers what is asked for at once.
pub(crate) struct Batches<L: Load> {
    load: Arc<L>,
    open: Arc<Mutex<Open<L>>>,
}

impl<L: Load> Batches<L> {
    pub(crate) fn new(load: L) -> Self {
        Self {
            load: Arc::new(load),
            open: Arc::new(Mutex::new(Open { keys: HashSet::new(), reading: None })),
        }
    }

    /// Reads one thing, together with all that is asked for meanwhile. None: there is no such thing.
    pub(crate) async fn load(&self, key: L::Key) -> Result<Option<L::Value>, Fault> {
        let reading = self.join(key.clone());
        tokio::task::yield_now().await;
        Ok(reading.await?.get(&key).cloned())
    }

    fn join(&self, key: L::Key) -> Shared<Reading<L>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited_for = open.reading.as_ref().and_then(WeakShared::upgrade);
        let reading = waited_for.unwrap_or_else(|| {
            open.keys.clear();
            let reading = read(self.load.clone(), self.open.clone()).boxed().shared();
            open.reading = reading.downgrade();
            reading
        });
        open.keys.insert(key);
        reading
    }
}

/// Reads what has been asked for until it is first polled; what is asked for later is another batch.
async fn read<L: Load>(load: Arc<L>, open: Arc<Mutex<Open<L>>>) -> Answer<L> {
    let keys = {
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        open.reading = None;
        mem::take(&mut open.keys)
    };
    let keys = Vec::from_iter(keys);
    let mut found = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(L::AT_ONCE) {
        found.extend(load.load(keys).await?);
    }
    Ok(Arc::new(found))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use futures::future::{join_all, try_join_all};

    use super::*;

    /// Knows every number's double but that of 13, and what it was asked.
    #[derive(Clone, Default)]
    struct Doubles(Arc<Mutex<Vec<Vec<u32>>>>);

    impl Load for Doubles {
        type Key = u32;
        type Value = u32;

        const AT_ONCE: usize = 100;

        async fn load(&self, keys: &[u32]) -> Result<HashMap<u32, u32>, Fault> {
            let mut asked = keys.to_vec();
            asked.sort_unstable();
            self.0.lock().unwrap().push(asked);
            tokio::task::yield_now().await;
            if keys.contains(&99) {
                return Err(Fault::invalid("99 is too many", "Ask for fewer."));
            }
            Ok(keys.iter().filter(|key| **key != 13).map(|key| (*key, 2 * key)).collect())
        }
    }

    fn batches() -> (Batches<Doubles>, Doubles) {
        let doubles = Doubles::default();
        (Batches::new(doubles.clone()), doubles)
    }

    /// Asks for these, and then for their doubles.
    async fn twice(batches: &Batches<Doubles>, keys: std::ops::Range<u32>) -> Vec<u32> {
        let both = |key| async move {
            let double = batches.load(key).await?.unwrap_or_default();
            Ok::<_, Fault>(batches.load(double).await?.unwrap_or_default())
        };
        try_join_all(keys.map(both)).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn each_level_is_read_at_once_however_busy_others_are() {
        for _ in 0..200 {
            let busy = tokio::spawn(async {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            });
            let (batches, doubles) = batches();
            let found = tokio::spawn(async move { twice(&batches, 100..180).await }).await.unwrap();
            assert_eq!(found, (100..180).map(|key| 4 * key).collect::<Vec<_>>());
            let asked = doubles.0.lock().unwrap().clone();
            let doubled = (100..180).map(|key| 2 * key).collect::<Vec<_>>();
            assert_eq!(asked, [(100..180).collect::<Vec<_>>(), doubled]);
            busy.await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_asked_twice_is_read_once_and_what_is_not_there_is_none() {
        let (batches, doubles) = batches();
        let found = join_all([1, 13, 1, 2].map(|key| batches.load(key))).await;
        let found: Vec<Option<u32>> = found.into_iter().map(Result::unwrap).collect();
        assert_eq!(found, [Some(2), None, Some(2), Some(4)]);
        assert_eq!(*doubles.0.lock().unwrap(), [[1, 2, 13]]);
    }

    #[tokio::test]
    async fn many_are_read_by_so_many() {
        let (batches, doubles) = batches();
        assert_eq!(try_join_all((200..450).map(|key| batches.load(key))).await.unwrap().len(), 250);
        let asked: Vec<usize> = doubles.0.lock().unwrap().iter().map(Vec::len).collect();
        assert_eq!(asked, [100, 100, 50]);
    }

    #[tokio::test]
    async fn all_who_asked_are_told_what_failed_and_the_next_is_not() {
        let (batches, _) = batches();
        assert!(join_all([1, 99].map(|key| batches.load(key))).await.iter().all(Result::is_err));
        assert_eq!(batches.load(1).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn who_goes_away_takes_nobody_along() {
        let (batches, doubles) = batches();
        let mut gone = Box::pin(batches.load(1));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut stays = Box::pin(batches.load(2));
        assert!(stays.as_mut().now_or_never().is_none());
        drop(gone);
        assert_eq!(stays.await.unwrap(), Some(4));
        assert_eq!(*doubles.0.lock().unwrap(), [[1, 2]]);

        let mut alone = Box::pin(batches.load(3));
        assert!(alone.as_mut().now_or_never().is_none());
        drop(alone);
        assert_eq!(batches.load(4).await.unwrap(), Some(8));
        assert_eq!(*doubles.0.lock().unwrap(), [vec![1, 2], vec![4]], "nobody waits for 3");
    }
}
