//! `patchwave log-collector`: one sealed log for each attempt.

use std::process::ExitCode;

use ::log_collector::Config;
use clap::Args;

use super::{BrokerOptions, User, serve};
use crate::data_dir::{DataDir, DataDirOption};

/// The role, its broker user and its folder.
pub(crate) const ROLE: &str = "log-collector";

/// Options of `patchwave log-collector`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    broker: BrokerOptions,
}

/// What the role is to be like.
pub(crate) fn config(data: &DataDir) -> Config {
    Config { snapshot_dir: data.role(ROLE), scratch_dir: data.role(ROLE).join("scratch") }
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let broker = options.broker.connect(&User::service(ROLE), &data).await?;
    serve(ROLE, |stop| ::log_collector::run(config(&data), broker, stop)).await
}
