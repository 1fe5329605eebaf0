//! `patchwave campaign-plan`: patches turned into a plan.

use std::process::ExitCode;

use ::campaign_plan::Config;
use clap::Args;

use super::{BrokerOptions, User, serve};
use crate::data_dir::{DataDir, DataDirOption};

/// The role, its broker user and its folder.
pub(crate) const ROLE: &str = "campaign-plan";

/// Options of `patchwave campaign-plan`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    broker: BrokerOptions,
}

/// What the role is to be like.
pub(crate) fn config(data: &DataDir) -> Config {
    Config { snapshot_dir: data.role(ROLE) }
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let broker = options.broker.connect(&User::service(ROLE), &data).await?;
    serve(ROLE, |stop| ::campaign_plan::run(config(&data), broker, stop)).await
}
