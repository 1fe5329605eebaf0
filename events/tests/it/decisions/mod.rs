//! What each aggregate decides: one line for each arm.

mod action;
mod execution;
mod job;
mod plan;
mod preview;
mod repository;
mod runner;
