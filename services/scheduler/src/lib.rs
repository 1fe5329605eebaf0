//! The scheduler: from a resolved execution to its last job's end.
//!
//! Owns admission, assignment, leases and the way from a runner's report to a fact. A reconciler: messages only wake it,
//! and what it does follows from its fold and the heartbeats alone, so that a crash anywhere is a repetition of
//! harmless steps. Never runs anything and never talks to a runner but through its queue.

mod admission;
mod cancel;
mod drain;
mod facts;
mod fleet;
mod fold;
mod intake;
mod jobs;
mod leases;
#[cfg(test)]
mod model;
mod outside;
mod queueing;
mod reports;
mod retry;
mod rooms;
mod service;
mod settings;
mod step_cache;
mod tickets;
mod vault;
mod waiting;

use std::path::PathBuf;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use admission::JobLimits;
use outside::Broker;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the snapshot of the fold is kept. It is a cache: without it the log is read from the start.
    pub snapshot_dir: PathBuf,
    /// The file with the key that opens secrets, made if there is none. Nobody else may read it.
    pub secrets_key: PathBuf,
    /// The wall-clock limit of a job whose definition sets none.
    pub default_timeout: Duration,
    /// The most that a definition may ask for.
    pub max_timeout: Duration,
    /// How long a job may wait for a runner if its definition says nothing.
    pub default_queue_timeout: Duration,
    /// How many jobs may run at once.
    pub job_limits: JobLimits,
}

/// The wall-clock limit of a job unless it is set otherwise: one hour.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// The most that a definition may ask for unless it is set otherwise: 30 days, as long as one can say.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a job may wait for a runner unless it is set otherwise: a week. A large execution over a small fleet takes
/// days, and a job that nobody can run is shown as such long before.
pub const DEFAULT_QUEUE_TIMEOUT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Makes the key that opens secrets if there is none, and says in the log to which one they are sealed. [`run`] does the same:
/// this is for whoever starts others only once secrets can be set.
///
/// # Errors
/// When the key cannot be read or made, or the log not be written.
pub async fn announce_key(config: &Config, broker: &Broker) -> anyhow::Result<()> {
    vault::Vault::open(&config.secrets_key)?.announce(broker).await
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the log was cut below what was seen before, or is gone.
pub async fn run(config: Config, broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    service::Service::start(config, broker).await?.run(stop).await
}
