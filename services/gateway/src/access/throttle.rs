//! The throttle: how fast passwords can be guessed.
//!
//! Owns the counts of failures by name and by the client's address. An attempt counts before it is tried, so that many at
//! once are no way around. In memory alone, and bounded: a restart forgets, and so does an hour of silence.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many attempts go unhindered: for one name, and for one address, behind which many people may be.
const FREE_BY_NAME: u32 = 5;
const FREE_BY_ADDRESS: u32 = 30;

/// The longest wait. By name it is short: whoever knows a name could keep its user out otherwise.
const LONGEST_BY_NAME: Duration = Duration::from_secs(60);
const LONGEST_BY_ADDRESS: Duration = Duration::from_secs(15 * 60);

/// How long a failure is remembered.
const MEMORY: Duration = Duration::from_secs(60 * 60);

/// How many names and addresses are remembered.
const ROOM: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Name(String),
    Address(IpAddr),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
    until: Instant,
}

/// Counts failures.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<Key, Failures>>);

impl Throttle {
    /// Takes an attempt, of somebody who gives a name or who does not, or says after which time to come again.
    pub(crate) fn admit<'n>(
        &self,
        name: impl Into<Option<&'n str>>,
        address: IpAddr,
        now: Instant,
    ) -> Result<(), Duration> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys(name.into(), address);
        let waits = keys.iter().filter_map(|key| known.get(key)?.until.checked_duration_since(now));
        if let Some(wait) = waits.filter(|wait| !wait.is_zero()).max() {
            return Err(wait);
        }
        if known.len() + keys.len() > ROOM {
            known.retain(|_, failures| now.saturating_duration_since(failures.last) < MEMORY);
        }
        for key in keys {
            if known.len() >= ROOM && !known.contains_key(&key) {
                forget_oldest(&mut known);
            }
            let (free, longest) = match key {
                Key::Name(_) => (FREE_BY_NAME, LONGEST_BY_NAME),
                Key::Address(_) => (FREE_BY_ADDRESS, LONGEST_BY_ADDRESS),
            };
            let failures = known.entry(key).or_insert(Failures { count: 0, last: now, until: now });
            if now.saturating_duration_since(failures.last) >= MEMORY {
                failures.count = 0;
            }
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
            failures.until = now + delay(failures.count, free).min(longest);
        }
        Ok(())
    }

    /// The attempt was none to guess.
    pub(crate) fn succeeded<'n>(&self, name: impl Into<Option<&'n str>>, address: IpAddr) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys(name.into(), address) {
            if let Key::Name(_) = key {
                known.remove(&key);
            } else if let Some(failures) = known.get_mut(&key) {
                failures.count = failures.count.saturating_sub(1);
                failures.until = failures.last;
            }
        }
    }
}

/// How long to wait after so many failures: a second, and twice as long each time.
fn delay(count: u32, free: u32) -> Duration {
    match count.checked_sub(free) {
        None => Duration::ZERO,
        Some(beyond) => Duration::from_secs(1 << beyond.min(20)),
    }
}

/// Whom an attempt counts for.
fn keys(name: Option<&str>, address: IpAddr) -> Vec<Key> {
    let name = name.map(|name| Key::Name(name.chars().take(64).collect()));
    name.into_iter().chain([Key::Address(network(address))]).collect()
}

/// What somebody has at least: one address of IPv4, or a whole network of IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

fn forget_oldest(known: &mut HashMap<Key, Failures>) {
    let oldest = known.iter().min_by_key(|(_, failures)| failures.last).map(|(key, _)| key.clone());
    if let Some(key) = oldest {
        known.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn each_failure_beyond_the_fifth_makes_the_next_wait_longer() {
        let (throttle, start) = (Throttle::default(), Instant::now());
        for _ in 0..5 {
            throttle.admit("anna", address(1), start).unwrap();
        }
        assert_eq!(throttle.admit("anna", address(2), start), Err(Duration::from_secs(1)));
        let mut now = start;
        for seconds in [2, 4, 8, 16, 32, 60, 60] {
            now += throttle.admit("anna", address(2), now).unwrap_err();
            throttle.admit("anna", address(2), now).unwrap();
            assert_eq!(throttle.admit("anna", address(2), now), Err(Duration::from_secs(seconds)));
        }
        assert_eq!(throttle.admit("bob", address(2), now), Ok(()), "others are not hindered");
        throttle.admit("anna", address(3), now + MEMORY).unwrap();
        assert_eq!(
            throttle.admit("anna", address(3), now + MEMORY),
            Ok(()),
            "after an hour all is forgotten"
        );
    }

    #[test]
    fn whoever_signs_in_starts_anew() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..100 {
            throttle.admit("anna", address(1), now).unwrap();
            throttle.succeeded("anna", address(1));
        }
    }

    #[test]
    fn an_address_that_tries_many_names_is_slowed_down_too() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..30 {
            throttle.admit(format!("user-{number}").as_str(), address(1), now).unwrap();
        }
        assert!(throttle.admit("another", address(1), now).is_err());
        throttle.admit("another", address(2), now).unwrap();
        let [one, other] = ["2001:db8::1", "2001:db8::ffff:2"].map(|text| text.parse().unwrap());
        for number in 0..30 {
            throttle.admit(format!("user-six-{number}").as_str(), one, now).unwrap();
        }
        assert!(throttle.admit("another-one", other, now).is_err(), "one network");
    }

    #[test]
    fn whoever_gives_no_name_counts_by_address_alone() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..30 {
            throttle.admit(None, address(1), now).unwrap();
        }
        assert!(throttle.admit(None, address(1), now).is_err());
        throttle.admit(None, address(2), now).unwrap();
        throttle.succeeded(None, address(1));
        throttle.admit(None, address(1), now).unwrap();
    }

    #[test]
    fn its_memory_has_an_end() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for number in 0..5_500_u32 {
            let address = IpAddr::from((number | 0x0a00_0000).to_be_bytes());
            throttle.admit(format!("user-{number}").as_str(), address, now).unwrap();
            assert!(throttle.0.lock().unwrap().len() <= ROOM);
        }
    }
}
