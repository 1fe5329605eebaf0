//! Scenarios on real servers, and the rules of the house.
//!
//! Owns what a user is promised, told as stories through the program's own command line. Never looks inside a service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is the test's failure"
)]

mod admission;
mod architecture;
mod attacks;
mod bad_input;
mod documents;
mod enrollment;
mod faults;
mod fleet;
mod lifecycle;
mod limits;
mod logs;
mod main_job;
mod mounts;
mod operators;
mod patches;
mod secrets;
mod soak;
mod world;
