//! Campaign plans: what an execution's patches would become if they were published.
//!
//! Owns the way from a completed execution to its plan. A plan is made of facts alone, so that making it again makes the
//! same plan under the same id; nothing about an execution is kept between two completions. Never publishes anything.

mod build;
mod changed_files;
mod divide;
mod make;
mod service;
mod story;

use std::path::PathBuf;

use broker::Broker;
use tokio_util::sync::CancellationToken;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the snapshot of the completions without a plan is kept. It is a cache: without it the log is read from the
    /// start.
    pub snapshot_dir: PathBuf,
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the log was cut below what was seen before, or is gone.
pub async fn run(config: Config, broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    service::Service::start(&config, broker).await?.run(stop).await
}
