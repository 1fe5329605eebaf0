//! What each aggregate decides: one line for each arm.

mod action;
mod execution;
mod job;
mod plan;
mod repository;
mod runner;
