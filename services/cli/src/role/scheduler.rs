//! `patchwave scheduler`: from a resolved execution to its last job's end.

use std::process::ExitCode;
use std::time::Duration;

use ::scheduler::{Config, DEFAULT_TIMEOUT};
use clap::Args;

use super::{BrokerOptions, User, serve};
use crate::data_dir::{DataDir, DataDirOption};

/// The role, its broker user and its folder.
pub(crate) const ROLE: &str = "scheduler";

/// Options of `patchwave scheduler`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    broker: BrokerOptions,

    #[command(flatten)]
    limits: Limits,
}

/// What holds for jobs whose definition says nothing.
#[derive(Args, Clone, Debug)]
pub(crate) struct Limits {
    /// The wall-clock limit in seconds of a job whose definition sets none
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=604_800))]
    job_timeout: u64,
}

/// What the role is to be like.
pub(crate) fn config(data: &DataDir, limits: &Limits) -> Config {
    Config { snapshot_dir: data.role(ROLE), default_timeout: Duration::from_secs(limits.job_timeout) }
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let broker = options.broker.connect(&User::service(ROLE), &data).await?;
    serve(ROLE, |stop| ::scheduler::run(config(&data, &options.limits), broker, stop)).await
}
