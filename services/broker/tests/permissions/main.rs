//! What the broker lets each of its users do, on a real nats-server with the project's own `nats.conf`.
//!
//! Every refusal stands beside a control: the same attempt by a user with a wider right has its effect. So a test that
//! stopped attacking, or looked in the wrong place, would fail.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

mod acting_server;
mod blobs;
mod raw;
mod reading;
mod services;
mod subscribing;
mod world;
mod writing;
