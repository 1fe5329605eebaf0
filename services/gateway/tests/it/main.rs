//! The gateway over a real broker with the users' real rights, and a real projection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed unwrap is the test's failure"
)]
#![allow(missing_docs, reason = "tests")]

mod access;
mod action_settings;
mod clients;
mod commands;
mod downloads;
mod event_log;
mod every_field;
mod files;
mod http;
mod lists;
mod long_lists;
mod metrics;
#[path = "../../../../tests/world/postgres.rs"]
mod postgres;
mod previews;
mod protection;
mod provider;
mod roles;
mod runners;
mod secrets;
mod sockets;
mod streams;
mod subscriptions;
mod terminal;
mod world;
