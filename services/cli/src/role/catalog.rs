//! `patchwave catalog`: repositories, their branches and commits, and what runners check out.

use std::process::ExitCode;

use ::catalog::Config;
use clap::Args;

use super::{BrokerOptions, User, serve};
use crate::data_dir::{DataDir, DataDirOption};

/// The role, its broker user and its folder.
pub(crate) const ROLE: &str = "catalog";

/// Options of `patchwave catalog`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    broker: BrokerOptions,
}

/// What the role is to be like.
pub(crate) fn config(data: &DataDir) -> Config {
    Config { dir: data.role(ROLE) }
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let broker = options.broker.connect(&User::service(ROLE), &data).await?;
    serve(ROLE, |stop| ::catalog::run(config(&data), broker, stop)).await
}
