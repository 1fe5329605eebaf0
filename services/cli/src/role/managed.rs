//! The managed broker: a nats-server of our own, with its streams, and where it is written down.
//!
//! Owns the order in which it comes up and goes down: `broker.json` is there exactly while the streams can be used.

mod leftover;
mod port;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use broker::server::{Passwords, Server, ServerConfig, Sync, disk_bytes, locate};
use broker::{Broker, CacheLimits, Config};
use clap::{Args, ValueEnum};
use events::id::RunnerId;

use super::User;
use super::step_cache::StepCacheOptions;
use crate::data_dir::{DataDir, EndpointFile};

/// How long a connection to a server that listens may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The managed nats-server.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerOptions {
    /// The nats-server to run, 2.14 or later [default: NATS_SERVER, else the one on PATH, else .tools/nats-server]
    #[arg(long, value_name = "PATH")]
    nats_server: Option<PathBuf>,

    /// The broker's port on 127.0.0.1 [default: a free one, the same at each start if it can be had]
    #[arg(long, value_name = "PORT")]
    broker_port: Option<u16>,

    /// When a message is on disk: before it is acknowledged, or within a second (a power cut may lose that second)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t)]
    sync: SyncOption,

    #[command(flatten)]
    step_cache: StepCacheOptions,
}

/// When a message is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum SyncOption {
    #[default]
    Always,
    #[value(name = "1s")]
    EverySecond,
}

impl From<SyncOption> for Sync {
    fn from(option: SyncOption) -> Self {
        match option {
            SyncOption::Always => Self::Always,
            SyncOption::EverySecond => Self::EverySecond,
        }
    }
}

/// A nats-server that was found.
pub(crate) struct Found {
    program: PathBuf,
    options: ServerOptions,
}

impl ServerOptions {
    /// Finds the program, so that its absence is the first thing to be said.
    pub(crate) fn locate(self) -> anyhow::Result<Found> {
        let program = locate(self.nats_server.as_deref())?;
        Ok(Found { program, options: self })
    }
}

/// The broker as long as this lives.
pub(crate) struct Managed {
    server: Server,
    endpoint: EndpointFile,
}

impl Found {
    /// Starts the server, makes the streams and writes down where it is. The data directory's lock must be held.
    pub(crate) async fn start(self, data: &DataDir, runners: Vec<RunnerId>) -> anyhow::Result<Managed> {
        let endpoint = data.broker_endpoint();
        endpoint.remove();
        let folder = data.broker();
        leftover::await_end(&folder).await?;
        let kept = port::Kept::in_folder(&folder);
        let port = self.options.broker_port.filter(|port| *port != 0).or_else(|| kept.free_port());
        let wanted = self.options.step_cache.limits();
        // What is only kept to save work must not fill the disk under the log.
        let cache = CacheLimits { bytes: wanted.bytes.min(disk_bytes(&folder) / 10), ..wanted };
        let config = ServerConfig { folder, port, runners, sync: self.options.sync.into() };
        let server = Server::start(self.program, config).await?;
        let managed = Managed { server, endpoint };
        match managed.prepare(&kept, &cache).await {
            Ok(()) => Ok(managed),
            Err(error) => {
                managed.stop().await;
                Err(error)
            }
        }
    }
}

impl Managed {
    async fn prepare(&self, kept: &port::Kept, cache: &CacheLimits) -> anyhow::Result<()> {
        kept.remember(self.server.url())?;
        let config = User::service("provisioner").with(self.server.url(), self.passwords(), PATIENCE)?;
        let broker = Broker::connect(&config).await?;
        broker.provision(cache).await.context("the streams cannot be made")?;
        self.endpoint.write(self.server.url(), None)
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        self.server.url()
    }

    /// Its users' passwords.
    pub(crate) const fn passwords(&self) -> &Passwords {
        self.server.passwords()
    }

    /// How one of its users connects.
    pub(crate) fn config(&self, user: &User) -> anyhow::Result<Config> {
        Ok(user.with(self.url(), self.passwords(), PATIENCE)?)
    }

    /// Connects as one of its users.
    pub(crate) async fn connect(&self, user: &User) -> anyhow::Result<Broker> {
        Ok(Broker::connect(&self.config(user)?).await?)
    }

    /// Ends it.
    pub(crate) async fn stop(self) {
        self.endpoint.remove();
        self.server.stop().await;
    }
}
