//! The language, tested from outside: contracts as golden files, each aggregate's decisions, and what holds for every
//! history.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's failure")]

mod arbitrary;
mod contract;
mod decisions;
mod envelope;
mod given;
mod histories;
