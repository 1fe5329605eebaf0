//! A model of the whole: the scheduler's very code and the domain, among simulated servers and runners that fail.
//!
//! Owns random histories: commands of people, reports, heartbeats, and faults (a process that dies between any two steps,
//! a snapshot that is gone, a network that is cut, a message that is lost on the way, late or twice). After each event a
//! referee checks what is promised; then the faults stop, and all has to come to its end. A history is made of one number:
//!
//! ```text
//! PATCHWAVE_MODEL_SEED=17 PATCHWAVE_MODEL_HISTORIES=1 cargo test -p scheduler model
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed unwrap is the test's failure"
)]
#![allow(unreachable_pub, reason = "what takes the place of another crate's type is as public")]

pub(crate) mod connection;
pub(crate) mod machine;
mod people;
mod referee;
mod runner;
mod servers;
mod values;
mod world;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use tempfile::TempDir;
use world::World;

use crate::vault::Vault;

/// How many histories there are unless `PATCHWAVE_MODEL_HISTORIES` says otherwise.
const HISTORIES: u64 = 100_000;

/// How often something happened in all histories.
type Seen = BTreeMap<&'static str, u64>;

/// What has to happen in so many histories: a model in which it does not proves nothing about it.
const EVERYTHING: [&str; 34] = [
    "assigned",
    "canceled",
    "completed",
    "draining",
    "failed",
    "gone",
    "images_pinned",
    "log_sealed",
    "lost",
    "plan_requested",
    "queue_timed_out",
    "queued",
    "registered",
    "retried",
    "returned",
    "requested",
    "resolved",
    "started",
    "step_finished",
    "step_started",
    "succeeded",
    "timed_out",
    "worn out",
    "an append met news",
    "a report came twice",
    "reports came together",
    "a ticket came twice",
    "the scheduler died",
    "a snapshot was lost",
    "a runner died",
    "a runner was cut off",
    "a runner left",
    "an attempt was stopped",
    "an attempt was taken away",
];

#[test]
fn every_history_keeps_what_is_promised() {
    let histories = number("PATCHWAVE_MODEL_HISTORIES").unwrap_or(HISTORIES);
    let first =
        number("PATCHWAVE_MODEL_SEED").unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed, seen) = (AtomicU64::new(0), AtomicU64::new(u64::MAX), Mutex::new(Seen::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut own = Seen::new();
                while failed.load(Ordering::Relaxed) == u64::MAX {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= histories {
                        break;
                    }
                    let seed = first.wrapping_add(number);
                    match catch_unwind(AssertUnwindSafe(|| World::new(seed, false).live())) {
                        Ok(seen) => add(&mut own, &seen),
                        Err(_) => failed.store(seed, Ordering::Relaxed),
                    }
                }
                add(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), &own);
            });
        }
    });
    let failed = failed.into_inner();
    if failed != u64::MAX {
        eprintln!("\nthe history of PATCHWAVE_MODEL_SEED={failed}:");
        World::new(failed, true).live();
    }
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    eprintln!("{histories} histories from seed {first}: {seen:?}");
    // A few histories need not get everywhere.
    let missing: Vec<_> = EVERYTHING.iter().filter(|what| !seen.contains_key(**what)).collect();
    assert!(histories < HISTORIES || missing.is_empty(), "it never happened: {missing:?}");
}

/// The file with the site's sealing key, the same for all histories.
fn key() -> &'static Path {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        Vault::open(&folder.path().join("key")).expect("a key");
        folder
    });
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| FOLDER.path().join("key"));
    &FILE
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn add(to: &mut Seen, seen: &Seen) {
    for (what, times) in seen {
        *to.entry(what).or_default() += times;
    }
}
