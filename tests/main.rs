//! Scenarios on real servers, and the rules of the house.
//!
//! Owns what a user is promised, told as stories through the program's own command line. Never looks inside a service.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is the test's failure"
)]

mod access;
mod admission;
mod architecture;
mod attacks;
mod bad_input;
mod browser_login;
mod command_line;
mod definitions;
mod documents;
mod enrollment;
mod faults;
mod fleet;
mod followers;
mod images;
mod lifecycle;
mod limits;
mod logs;
mod long_lists;
mod main_job;
mod monorepo;
mod mounts;
mod operators;
mod patches;
mod previews;
mod secrets;
mod settings;
mod soak;
mod step_cache;
mod subscribers;
mod world;
