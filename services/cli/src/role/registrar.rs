//! `patchwave registrar`: lets machines enroll as runners, and says at the broker's door which key is whose.

use std::process::ExitCode;

use ::registrar::Config;
use broker::door::DoorKeys;
use clap::Args;

use super::{BrokerOptions, User, serve};
use crate::data_dir::{DataDir, DataDirOption};
use crate::output;

/// The role and its broker user.
pub(crate) const ROLE: &str = "registrar";

/// Options of `patchwave registrar`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Print the public keys that a broker of your own needs in its environment, and make them if there are none
    #[arg(long)]
    print_keys: bool,

    #[command(flatten)]
    broker: BrokerOptions,
}

/// What the role is to be like. Its keys are where the managed broker takes their public halves from.
pub(crate) fn config(data: &DataDir, connection: broker::Config) -> anyhow::Result<Config> {
    Ok(Config { connection, keys: DoorKeys::load_or_create(&data.broker())? })
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    if options.print_keys {
        for (name, key) in DoorKeys::load_or_create(&data.broker())?.variables() {
            output::line(&format!("{name}={key}"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let connection = options.broker.config(&User::service(ROLE), &data).await?;
    let broker = broker::Broker::connect(&connection).await?;
    let config = config(&data, connection)?;
    serve(ROLE, |stop| ::registrar::run(config, broker, stop)).await
}
