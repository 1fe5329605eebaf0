//! The catalog: from what an execution or a preview was asked to run over to pinned branches and commits.
//!
//! Owns the repositories, their mirrors and the source packs; the only service that speaks to code hosts. A mirror is a
//! cache: it may be removed at any time while the catalog does not run. Invariant: a base reference and its commit come out
//! of one look at the repository, and the pack that a job gets is that very commit's.

mod fold;
mod git;
mod heads;
mod known;
mod local;
mod mirror;
mod names;
mod pack;
mod registry;
mod remote;
mod resolve;
mod scope;
mod service;
mod sources;
mod targets;
mod trouble;
mod workspaces;

use std::path::PathBuf;

use broker::Broker;
use tokio_util::sync::CancellationToken;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the mirrors (in `mirrors/`) and the snapshot are kept. All of it can be made again.
    pub dir: PathBuf,
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the log was cut below what was seen before or is gone, when the folder cannot be used, or when there is no git.
pub async fn run(config: Config, broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    service::Service::start(config, broker).await?.run(stop).await
}
