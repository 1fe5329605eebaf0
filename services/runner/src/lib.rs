//! The runner: takes tickets, runs their steps in containers, and reports what happened.
//!
//! Owns the workspaces, the containers and the live logs of its own attempts. Never reads or appends an event, and never
//! connects to a code host: what a job needs is in its ticket and in blobs. Invariant: an attempt's final report is sent
//! only after each byte of its log is stored and its patch can be read.

#[cfg(test)]
mod fixture;
mod git;
mod patch;
mod sandbox;
mod trash;
mod tree_cache;
mod workspace;
