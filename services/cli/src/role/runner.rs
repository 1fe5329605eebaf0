//! `patchwave runner`: takes jobs and runs them in containers.

use std::collections::BTreeMap;
use std::process::ExitCode;

use ::runner::{Config, DEFAULT_TREE_CACHE_BYTES};
use clap::Args;
use events::id::RunnerId;

use super::{BrokerOptions, User, serve};
use crate::data_dir::{DataDir, DataDirOption, LOCAL_RUNNER};

/// The role.
pub(crate) const ROLE: &str = "runner";

/// Options of `patchwave runner`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Its name: 1 to 63 characters of a-z, 0-9 and inner hyphens; the broker must know it
    #[arg(long, value_name = "NAME", env = "PATCHWAVE_RUNNER", hide_env_values = true, default_value = LOCAL_RUNNER)]
    id: RunnerId,

    #[command(flatten)]
    broker: BrokerOptions,

    #[command(flatten)]
    sandbox: SandboxOptions,
}

/// What the runner works with.
#[derive(Args, Clone, Debug)]
pub(crate) struct SandboxOptions {
    /// How many jobs run at once [default: one for each core]
    #[arg(long, value_name = "N", env = "PATCHWAVE_SLOTS", hide_env_values = true, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    slots: Option<u32>,

    /// The Docker Engine: unix://… or tcp://… [default: DOCKER_HOST, else the local socket]
    #[arg(long, value_name = "HOST")]
    docker_host: Option<String>,

    /// What `runner list` shows of it; repeat it for several
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    /// The most bytes of checked-out trees that are kept for later jobs
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_TREE_CACHE_BYTES)]
    tree_cache_bytes: u64,
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a label is NAME=VALUE".to_owned()),
    }
}

/// What the role is to be like.
pub(crate) fn config(data: &DataDir, id: &RunnerId, options: &SandboxOptions) -> Config {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Config {
        id: id.clone(),
        dir: data.runner(id),
        slots: options.slots.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1)),
        labels: options.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
        docker_host: options.docker_host.clone(),
        tree_cache_bytes: options.tree_cache_bytes,
    }
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let broker = options.broker.connect(&User::runner(&options.id), &data).await?;
    let config = config(&data, &options.id, &options.sandbox);
    serve(ROLE, |stop| ::runner::run(config, broker, stop)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_a_name() {
        assert_eq!(label("arch=arm64=v8"), Ok(("arch".to_owned(), "arm64=v8".to_owned())));
        assert!(label("arch").is_err() && label("=x").is_err());
    }
}
