//! Definitions, tested from outside: what is accepted and as what, what is refused and in which words, what the
//! template language prints, and that no text breaks any of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's failure")]

mod bad;
mod cache;
mod changesets;
mod definitions;
mod evaluation;
mod given;
mod good;
mod language;
mod legacy;
mod properties;
mod soak;
mod wild;
