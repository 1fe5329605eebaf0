//! The catalog on real git repositories and a real broker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a failed unwrap is the test's failure"
)]

mod crash;
mod dead;
mod fleet;
mod hosts;
mod http;
mod local;
mod on;
mod previews;
mod repository;
mod source;
mod workspaces;
mod world;
