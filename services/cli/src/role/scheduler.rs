//! `patchwave scheduler`: from a resolved execution to its last job's end.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ::scheduler::{Config, DEFAULT_QUEUE_TIMEOUT, DEFAULT_TIMEOUT, JobLimits, MAX_TIMEOUT};
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
    secrets: SecretsOptions,

    #[command(flatten)]
    limits: Limits,
}

/// How secrets are opened.
#[derive(Args, Clone, Debug)]
pub(crate) struct SecretsOptions {
    /// The file with the key that opens secrets, made if there is none [default: secrets.key in the data directory]
    #[arg(long, value_name = "FILE", env = "PATCHWAVE_SECRETS_KEY", hide_env_values = true)]
    secrets_key: Option<PathBuf>,
}

/// What holds for jobs whose definition says nothing.
#[derive(Args, Clone, Debug)]
pub(crate) struct Limits {
    /// The wall-clock limit in seconds of a job whose definition sets none
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=604_800))]
    job_timeout: u64,

    /// The most seconds that a definition may set for a job; one that sets more gets this
    #[arg(long, value_name = "SECONDS", default_value_t = MAX_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT.as_secs()))]
    max_job_timeout: u64,

    /// How long in seconds a job waits for a runner before it fails, if its definition says nothing
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_QUEUE_TIMEOUT.as_secs(), value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    queue_timeout: u64,

    /// How many jobs of an execution run at once, if its definition says nothing [default: as many as there are slots]
    #[arg(long, value_name = "N")]
    max_jobs_per_execution: Option<NonZeroU32>,

    /// How many jobs over one repository run at once [default: as many as there are slots]
    #[arg(long, value_name = "N")]
    max_jobs_per_repository: Option<NonZeroU32>,

    /// How many jobs of a pool run at once; repeat it for several [default: as many as there are slots]
    #[arg(long = "max-jobs-per-pool", value_name = "POOL=N", value_parser = pool_limit)]
    max_jobs_per_pool: Vec<(String, NonZeroU32)>,
}

fn pool_limit(text: &str) -> Result<(String, NonZeroU32), String> {
    let usage = || "give the pool and a number, as in gpu=4".to_owned();
    let (pool, limit) = text.split_once('=').ok_or_else(usage)?;
    Ok((super::runner::pool(pool)?, limit.parse().map_err(|_| usage())?))
}

/// What the role is to be like.
pub(crate) fn config(data: &DataDir, secrets: &SecretsOptions, limits: &Limits) -> Config {
    Config {
        snapshot_dir: data.role(ROLE),
        secrets_key: data.secrets_key(secrets.secrets_key.as_deref()),
        default_timeout: Duration::from_secs(limits.job_timeout),
        max_timeout: Duration::from_secs(limits.max_job_timeout),
        default_queue_timeout: Duration::from_secs(limits.queue_timeout),
        job_limits: JobLimits {
            execution: limits.max_jobs_per_execution,
            repository: limits.max_jobs_per_repository,
            pools: limits.max_jobs_per_pool.iter().cloned().collect(),
        },
    }
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let broker = options.broker.connect(&User::service(ROLE), &data).await?;
    serve(ROLE, |stop| ::scheduler::run(config(&data, &options.secrets, &options.limits), broker, stop)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_of_a_pool_has_a_name_and_a_number() {
        assert_eq!(pool_limit("gpu=4"), Ok(("gpu".to_owned(), NonZeroU32::new(4).unwrap())));
        assert!(["gpu", "gpu=", "gpu=0", "=4", "a b=4"].iter().all(|text| pool_limit(text).is_err()));
    }
}
