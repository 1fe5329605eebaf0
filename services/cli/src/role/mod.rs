//! The roles: the services, each as a process of its own or all of them in one.
//!
//! Owns how a role is connected, started, stopped and waited for. Never knows what a role does.

pub(crate) mod broker;
pub(crate) mod campaign_plan;
pub(crate) mod catalog;
mod connect;
mod enroll;
pub(crate) mod gateway;
pub(crate) mod log_collector;
mod managed;
pub(crate) mod projector;
mod provider;
pub(crate) mod provision;
pub(crate) mod registrar;
pub(crate) mod runner;
pub(crate) mod scheduler;
mod signals;
mod step_cache;
mod supervisor;
pub(crate) mod up;

use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

pub(crate) use connect::{BrokerOptions, User, host_of};

use crate::failure::INTERRUPTED;
use signals::Signals;

/// Which database holds the projection.
#[derive(Args, Clone, Debug)]
pub(crate) struct DatabaseOptions {
    /// The projection's database: postgres://… or sqlite://… [default: projection.sqlite in the data directory]
    #[arg(long, value_name = "URL", env = "PATCHWAVE_DATABASE_URL", hide_env_values = true)]
    pub(crate) database_url: Option<String>,
}

/// Runs one role until it is told to stop.
pub(crate) async fn serve<F>(
    role: &'static str,
    run: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let mut run = Box::pin(run(stop.clone()));
    tracing::info!(role, "started");
    loop {
        tokio::select! {
            ended = &mut run => return ended_as_told(role, ended, stop.is_cancelled()),
            () = signals.next() => {
                if stop.is_cancelled() {
                    tracing::warn!(role, "interrupted again: exits at once");
                    return Ok(ExitCode::from(INTERRUPTED));
                }
                tracing::info!(role, "stopping: finishes what it has begun; interrupt again to exit at once");
                stop.cancel();
            }
        }
    }
}

fn ended_as_told(role: &str, ended: anyhow::Result<()>, told: bool) -> anyhow::Result<ExitCode> {
    match ended {
        Ok(()) if told => {
            tracing::info!(role, "stopped");
            Ok(ExitCode::SUCCESS)
        }
        Ok(()) => {
            tracing::error!(role, "ended by itself");
            Err(crate::failure::Logged.into())
        }
        Err(error) => {
            tracing::error!(role, error = crate::logging::chain(&error), "cannot go on");
            Err(crate::failure::Logged.into())
        }
    }
}
