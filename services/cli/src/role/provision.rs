//! `patchwave provision`: makes the streams on a broker of the operator's own.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use broker::Broker;
use clap::Args;

use super::User;
use super::connect::password_from_environment;
use super::step_cache::StepCacheOptions;

/// The user that may make streams.
const USER: &str = "provisioner";

/// Options of `patchwave provision`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The broker; the password of its user `provisioner` is in PATCHWAVE_BROKER_PASSWORD
    #[arg(long, value_name = "URL", env = "PATCHWAVE_BROKER_URL", hide_env_values = true)]
    broker_url: String,

    /// How long to wait for the broker: 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::duration::parse)]
    connect_timeout: Duration,

    #[command(flatten)]
    step_cache: StepCacheOptions,
}

/// Runs it. Doing it again changes nothing.
pub(crate) async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let password = password_from_environment(USER)?;
    let patience = options.connect_timeout;
    let broker = Broker::connect(&User::service(USER).at(&options.broker_url, &password, patience)).await?;
    broker.provision(&options.step_cache.limits()).await.context("the streams cannot be made")?;
    eprintln!("the streams at {} are as they have to be", options.broker_url);
    Ok(ExitCode::SUCCESS)
}
