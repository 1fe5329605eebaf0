//! The log collector: each ended attempt's live log becomes one sealed blob.
//!
//! Owns the way from LOGS to BLOBS. A live log is purged only after the log has the event that names its blob; whatever
//! step a crash interrupts, the next start finds the live log or the event and goes on. Never changes a byte.

mod ended;
mod fold;
mod live;
mod seal;
mod service;
mod sweep;

use std::path::PathBuf;

use broker::Broker;
use tokio_util::sync::CancellationToken;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the snapshot of the fold is kept. It is a cache: without it the log is read from the start.
    pub snapshot_dir: PathBuf,
    /// Where logs are put together before they are stored. Nobody else may use it: what is left in it is removed.
    pub scratch_dir: PathBuf,
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the log was cut below what was seen before, or a stream is gone.
pub async fn run(config: Config, broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    service::Service::start(config, broker).await?.run(stop).await
}
