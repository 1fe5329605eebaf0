//! The runner: takes tickets, runs their steps in containers, and reports what happened.
//!
//! Owns the workspaces, the containers and the live logs of its own attempts. Never reads or appends an event, and never
//! connects to a code host: what a job needs is in its ticket and in blobs. Invariant: an attempt's final report is sent
//! only after each byte of its log is stored and its patch can be read.

mod attempt;
mod attempts;
mod beats;
mod cache;
#[cfg(test)]
mod fixture;
mod git;
mod health;
mod import;
mod journal;
mod kept;
mod leaving;
mod limits;
mod log;
mod mask;
mod mounted;
mod outbox;
mod patch;
mod reach;
mod reserve;
mod sandbox;
mod secrets;
mod service;
mod slots;
#[cfg(test)]
mod tests;
mod trash;
mod tree_cache;
mod usage;
mod workspace;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use import::{Import, Imported, Refused, Stage, import};
pub use reach::{NetworkSettings, Peer, Range, Reach};

use broker::Broker;
use events::id::RunnerId;
use tokio_util::sync::CancellationToken;

pub use reserve::Reserve;
pub use sandbox::is_image_name;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// The runner's name.
    pub id: RunnerId,
    /// Its own folder: attempts in hand, cached trees, workspaces. Overlays need a file system such as ext4 there.
    pub dir: PathBuf,
    /// How many jobs it runs at once; at least one.
    pub slots: u32,
    /// The pool that it belongs to: it gets the jobs that ask for this one.
    pub pool: String,
    /// What its operator says of it.
    pub labels: BTreeMap<String, String>,
    /// The container engine; absent: `DOCKER_HOST`, else the default socket.
    pub docker_host: Option<String>,
    /// What runs the jobs' containers; absent: what the engine runs all others with.
    pub runtime: Option<String>,
    /// What jobs may reach.
    pub networks: NetworkSettings,
    /// The image in which the `command` steps of legacy action files run.
    pub command_image: String,
    /// How many bytes of checked-out trees and of actions' files it keeps for later jobs.
    pub tree_cache_bytes: u64,
    /// How much must be free before a job is taken.
    pub reserve: Reserve,
    /// How long jobs may go on once the runner is to leave; absent: as long as they take.
    pub drain_timeout: Option<Duration>,
    /// How many bytes of folders that steps keep between jobs it keeps.
    pub kept_bytes: u64,
    /// What a job may use whose definition does not say it.
    pub default_limits: spec::Limits,
    /// The most that a definition may ask for.
    pub max_limits: spec::Limits,
    /// How long a step that is to stop may take to end after SIGTERM before it is killed.
    pub grace: Duration,
}

/// The grace of a step that is to stop unless it is set otherwise.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

/// The size of the cache of trees unless it is set otherwise: 20 GiB.
pub const DEFAULT_TREE_CACHE_BYTES: u64 = 20 * 1024 * 1024 * 1024;

/// The size of what steps keep between jobs unless it is set otherwise: 20 GiB.
pub const DEFAULT_KEPT_BYTES: u64 = 20 * 1024 * 1024 * 1024;

/// Runs until it is told to stop, by the token or by the scheduler. Then it takes no more tickets, lets what runs go on
/// for as long as it may, and abandons the rest with a reason, so that other runners take it up at once.
///
/// # Errors
/// When there are no slots, git is missing, the folder cannot be written, or another runner works in it.
pub async fn run(config: Config, broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    service::Service::open(config, broker).await?.run(stop).await
}
