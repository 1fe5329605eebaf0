//! Rates: how many requests a caller may send.
//!
//! Owns the counts by token; whoever may read the data directory has one for all that they do. A stream counts when it
//! begins. In memory alone, and bounded: whoever is not known has no count, and a count that is full again is forgotten.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use events::id::TokenId;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use super::{Caller, Via};

/// How many seconds' worth of requests may come at once: a plan of many changesets is read patch by patch.
const BURST_SECONDS: u32 = 10;

/// After how many requests counts are forgotten that are full again.
const FORGET_EVERY: u64 = 1_000;

/// Whose count it is; nothing: that of the data directory.
type Key = Option<TokenId>;

type Limiter<C> = RateLimiter<Key, HashMapStateStore<Key>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// Counts requests.
pub(crate) struct Rates<C: Clock = DefaultClock> {
    /// Nothing: any number may come.
    limiter: Option<Limiter<C>>,
    clock: C,
    admitted: AtomicU64,
}

impl Rates {
    /// So many a second of each caller in the long run; nothing: any number.
    pub(crate) fn new(per_second: Option<NonZeroU32>) -> Self {
        Self::with_clock(per_second, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(per_second: Option<NonZeroU32>, clock: C) -> Self {
        let quota = |rate: NonZeroU32| {
            let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_SECONDS - 1));
            Quota::per_second(rate).allow_burst(burst)
        };
        let limiter = per_second.map(|rate| RateLimiter::hashmap_with_clock(quota(rate), clock.clone()));
        Self { limiter, clock, admitted: AtomicU64::new(0) }
    }

    /// Takes a request, or says after which time to come again.
    pub(crate) fn admit(&self, caller: &Caller) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let key = match caller.via {
            Via::Token(_, id) => Some(id),
            Via::Local | Via::Nothing => None,
        };
        let checked = limiter.check_key(&key);
        if self.admitted.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        checked.map_err(|until| until.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use events::token::TokenKind;
    use events::user::Role;
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn caller(number: u64) -> Caller {
        let id = TokenId::derived(&[&number.to_string()]);
        let via = Via::Token(TokenKind::Access, id);
        Caller { name: "anna".to_owned(), role: Role::Viewer, via }
    }

    fn rates(per_second: u32) -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rates::with_clock(NonZeroU32::new(per_second), clock.clone()), clock)
    }

    #[test]
    fn a_caller_may_come_often_for_a_moment_and_at_its_rate_for_ever() {
        let (rates, clock) = rates(5);
        for _ in 0..50 {
            rates.admit(&caller(1)).unwrap();
        }
        assert_eq!(rates.admit(&caller(1)), Err(Duration::from_millis(200)));
        rates.admit(&caller(2)).unwrap();
        rates.admit(&Caller::local(Via::Local)).unwrap();
        for _ in 0..100 {
            clock.advance(Duration::from_millis(200));
            rates.admit(&caller(1)).unwrap();
            assert!(rates.admit(&caller(1)).is_err());
        }
    }

    #[test]
    fn who_has_not_come_for_a_while_is_forgotten() {
        let (rates, clock) = rates(5);
        let limiter = rates.limiter.as_ref().unwrap();
        for number in 0..20_000 {
            rates.admit(&caller(number)).unwrap();
            clock.advance(Duration::from_millis(1));
            assert!(limiter.len() <= 1_500, "{number}: {}", limiter.len());
        }
    }

    #[test]
    fn there_need_be_no_limit() {
        let (rates, _) = rates(0);
        for _ in 0..10_000 {
            rates.admit(&caller(1)).unwrap();
        }
    }
}
