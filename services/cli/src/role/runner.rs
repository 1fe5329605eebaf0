//! `patchwave runner`: takes jobs and runs them in containers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use ::runner::{
    Config, DEFAULT_KEPT_BYTES, DEFAULT_TREE_CACHE_BYTES, NetworkSettings, Peer, Range, Reach, Reserve,
};
use clap::Args;
use events::id::RunnerId;
use events::runner::{DEFAULT_POOL, MAX_LABEL, MAX_POOL, is_pool, read_label};

use super::{BrokerOptions, enroll, host_of, serve};
use crate::data_dir::{DataDir, DataDirOption};
use crate::duration;

/// The role.
pub(crate) const ROLE: &str = "runner";

/// Options of `patchwave runner`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Its name: 1 to 63 characters of a-z, 0-9 and inner hyphens [default: the one that was enrolled here, else local]
    #[arg(long, value_name = "NAME", env = "PATCHWAVE_RUNNER", hide_env_values = true)]
    id: Option<RunnerId>,

    /// Enroll this machine with a token of `runner token create` first; later starts need none
    #[arg(long, value_name = "TOKEN", env = "PATCHWAVE_JOIN", hide_env_values = true, conflicts_with = "id")]
    join: Option<String>,

    /// Abandon the jobs that still run so many seconds after it was told to stop [default: let them end]
    #[arg(long, value_name = "SECONDS")]
    drain_timeout: Option<u64>,

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

    /// The pool that it belongs to: it gets the jobs whose definition asks for this one
    #[arg(long, value_name = "NAME", default_value = DEFAULT_POOL, value_parser = pool)]
    pool: String,
    /// What the engine runs the jobs' containers with, such as `runsc` [default: what it runs all others with]
    #[arg(long, value_name = "NAME", env = "PATCHWAVE_RUNTIME", hide_env_values = true)]
    runtime: Option<String>,

    /// The image in which `command` steps of legacy action files run; all runners of a pool should have the same
    #[arg(
        long,
        value_name = "IMAGE",
        env = "PATCHWAVE_COMMAND_IMAGE",
        hide_env_values = true,
        default_value = spec::DEFAULT_COMMAND_IMAGE,
        value_parser = image
    )]
    command_image: String,

    /// The most that a job may reach: `none`, `egress` (the public internet) or `unrestricted`
    #[arg(
        long,
        value_name = "REACH",
        env = "PATCHWAVE_NETWORK",
        hide_env_values = true,
        default_value = "egress"
    )]
    network: Reach,

    /// A private address or range that jobs may reach all the same; repeat it for several
    #[arg(long = "network-allow", value_name = "ADDRESS")]
    network_allow: Vec<Range>,

    /// A public address, range or host that jobs must not reach; repeat it for several. The broker is one
    #[arg(long = "network-deny", value_name = "ADDRESS")]
    network_deny: Vec<Peer>,

    /// Who looks up names for jobs; repeat it for several [default: who does it for this host]
    #[arg(long = "dns", value_name = "ADDRESS")]
    dns: Vec<Ipv4Addr>,

    /// What it has, such as `gpu` or `arch=arm64`, for the jobs whose definition asks for it; repeat it for several
    #[arg(long = "label", value_name = "NAME[=VALUE]", value_parser = label)]
    labels: Vec<(String, String)>,

    /// Take no more jobs while fewer bytes are free at the runner's folder
    #[arg(long, value_name = "BYTES", default_value_t = Reserve::default().disk_bytes)]
    min_free_disk: u64,

    /// Take no more jobs while fewer bytes of memory are available
    #[arg(long, value_name = "BYTES", default_value_t = Reserve::default().memory_bytes)]
    min_free_memory: u64,

    /// The most bytes of checked-out trees and of actions' files that are kept for later jobs
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_TREE_CACHE_BYTES)]
    tree_cache_bytes: u64,

    /// The most bytes that are kept for later jobs in folders that steps name in cacheDirs
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_KEPT_BYTES)]
    kept_bytes: u64,

    /// What a job may use whose definition does not say it, written as there below patchwave.limits:
    /// "{ memory: 2GiB, cpu: 2 }"
    #[arg(long, value_name = "LIMITS", env = "PATCHWAVE_DEFAULT_LIMITS", hide_env_values = true, value_parser = default_limits)]
    default_limits: Option<spec::Limits>,

    /// The most that a definition may ask for, written in the same way; without, there is no bound
    #[arg(long, value_name = "LIMITS", env = "PATCHWAVE_MAX_LIMITS", hide_env_values = true, value_parser = max_limits)]
    max_limits: Option<spec::Limits>,

    /// How long a step that is to stop may take to end after SIGTERM before it is killed: 10s, 2m
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "10s")]
    grace: Duration,
}

fn default_limits(text: &str) -> Result<spec::Limits, String> {
    spec::parse_limits("--default-limits", text).map_err(|wrong| format!("\n{wrong}"))
}

fn max_limits(text: &str) -> Result<spec::Limits, String> {
    match spec::parse_limits("--max-limits", text) {
        Ok(spec::Limits { on_log_limit: Some(_), .. }) => {
            Err("`onLogLimit` has no most: put it into --default-limits".to_owned())
        }
        limits => limits.map_err(|wrong| format!("\n{wrong}")),
    }
}

/// A name as `docker pull` takes it.
pub(crate) fn image(text: &str) -> Result<String, String> {
    match ::runner::is_image_name(text) {
        true => Ok(text.to_owned()),
        false => Err("an image is named as `docker pull` takes it, such as `debian:12`".to_owned()),
    }
}

/// The names that a definition can ask for.
pub(crate) fn pool(text: &str) -> Result<String, String> {
    match is_pool(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("a pool is named by 1 to {MAX_POOL} ASCII letters, digits, `_` and `-`")),
    }
}

/// A label that a definition can ask for.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    read_label(text).ok_or_else(|| {
        format!("a label is NAME or NAME=VALUE, in ASCII without blanks and commas, at most {MAX_LABEL} characters")
    })
}

/// What the role is to be like.
pub(crate) fn config(
    data: &DataDir,
    id: &RunnerId,
    options: &SandboxOptions,
    drain_timeout: Option<Duration>,
) -> Config {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    Config {
        id: id.clone(),
        dir: data.runner(id),
        pool: options.pool.clone(),
        slots: options.slots.unwrap_or_else(|| u32::try_from(cores()).unwrap_or(1)),
        labels: options.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
        docker_host: options.docker_host.clone(),
        runtime: options.runtime.clone(),
        command_image: options.command_image.clone(),
        networks: NetworkSettings {
            most: options.network,
            allow: options.network_allow.clone(),
            deny: options.network_deny.clone(),
            resolvers: options.dns.clone(),
        },
        tree_cache_bytes: options.tree_cache_bytes,
        reserve: Reserve { disk_bytes: options.min_free_disk, memory_bytes: options.min_free_memory },
        drain_timeout,
        kept_bytes: options.kept_bytes,
        default_limits: options.default_limits.clone().unwrap_or_default(),
        max_limits: options.max_limits.clone().unwrap_or_default(),
        grace: options.grace,
    }
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let id = match (&options.join, options.id) {
        (Some(token), _) => enroll::join(token, &options.broker, &data).await?,
        (None, Some(id)) => id,
        (None, None) => enroll::default_runner(&data)?,
    };
    let (broker, url) = enroll::connect(&id, &options.broker, &data).await?;
    let drain_timeout = options.drain_timeout.map(Duration::from_secs);
    let mut config = config(&data, &id, &options.sandbox, drain_timeout);
    config.networks.deny.extend(url.as_deref().and_then(host_of).and_then(|host| host.parse().ok()));
    serve(ROLE, |stop| async move {
        ::runner::run(config, broker, stop.clone()).await?;
        // One that was told to drain by the scheduler has done what it was asked for, too.
        stop.cancel();
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_a_word() {
        assert_eq!(pool("gpu-2_x"), Ok("gpu-2_x".to_owned()));
        assert!(["", "a b", "ä", &"x".repeat(64)].iter().all(|text| pool(text).is_err()));
    }

    #[test]
    fn a_label_is_a_word_or_a_pair() {
        assert_eq!(label("arch=arm64=v8"), Ok(("arch".to_owned(), "arm64=v8".to_owned())));
        assert_eq!(label("gpu"), Ok(("gpu".to_owned(), String::new())));
        assert!(
            ["", "=x", "arch=", "a b", "a,b", "ä", &"x".repeat(128)].iter().all(|text| label(text).is_err())
        );
    }

    #[test]
    fn limits_are_written_as_in_a_definition() {
        let limits = max_limits("{ memory: 2GiB }").unwrap_or_default();
        assert_eq!(limits, spec::Limits { memory_bytes: Some(2 << 30), ..spec::Limits::default() });
        let wrong = default_limits("{ memory: 2G }").unwrap_err();
        assert!(wrong.contains("`2G` is no size") && wrong.contains("--default-limits:1:11"), "{wrong}");
        assert!(max_limits("{ onLogLimit: fail }").is_err());
    }
}
