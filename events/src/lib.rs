//! The language of the system: ids, subjects, the envelope, the aggregates and what services say to runners.
//!
//! Owns every name that crosses a process border. Pure: no IO, no async, no clock, no randomness; time and ids come
//! in as arguments, so that the same history always folds to the same state. Never knows who sends or stores a
//! message.

pub mod action;
pub mod asyncapi;
pub mod beat;
pub mod blob;
pub mod document;
pub mod enrollment;
pub mod envelope;
pub mod execution;
pub mod filter;
pub mod git;
pub mod id;
pub mod image;
pub mod job;
pub mod location;
pub mod log;
pub mod name;
pub mod path;
pub mod plan;
pub mod preview;
pub mod rejection;
pub mod report;
pub mod repository;
pub mod runner;
pub mod schema;
pub mod sealing_key;
pub mod secret;
pub mod step_cache;
pub mod subject;
pub mod ticket;
pub mod token;
pub mod user;

mod event;

pub use event::{Aggregate, AggregateKind, Event, EventType, Undecodable};
pub use name::Name;
pub use rejection::Rejection;

/// A point in time, UTC, written as RFC 3339.
pub type Timestamp = chrono::DateTime<chrono::Utc>;
