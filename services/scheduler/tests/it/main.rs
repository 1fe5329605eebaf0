//! The scheduler on a real broker, as people and runners see it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is the test's failure")]

mod admission;
mod step_cache;
mod world;
