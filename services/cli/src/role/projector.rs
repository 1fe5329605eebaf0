//! `patchwave projector`: events turned into the tables that everybody reads.

use std::process::ExitCode;

use ::projector::Config;
use clap::Args;

use super::{BrokerOptions, DatabaseOptions, User, serve};
use crate::data_dir::DataDirOption;

/// The role and its broker user.
pub(crate) const ROLE: &str = "projector";

/// Options of `patchwave projector`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    broker: BrokerOptions,

    #[command(flatten)]
    database: DatabaseOptions,
}

/// What the role is to be like.
pub(crate) fn config(database_url: &str) -> Config {
    Config { database_url: database_url.to_owned() }
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let broker = options.broker.connect(&User::service(ROLE), &data).await?;
    let config = config(&data.database_url(options.database.database_url.as_deref()));
    serve(ROLE, |stop| ::projector::run(config, broker, stop)).await
}
