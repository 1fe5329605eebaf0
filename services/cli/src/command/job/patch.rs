//! `patchwave job patch`: what an attempt changed, as `git apply` reads it.

use clap::Args;
use events::id::JobId;
use reqwest::StatusCode;

use super::super::patch;
use crate::client::{Client, ServerOption};
use crate::data_dir::DataDirOption;

/// Options of `patchwave job patch`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The job's id
    job: JobId,

    /// Which attempt [default: the newest]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    attempt: Option<u32>,

    #[command(flatten)]
    server: ServerOption,
}

/// Runs it.
pub(super) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let client = Client::new(&options.server, data)?;
    let query: Vec<_> = options.attempt.map(|attempt| ("attempt", attempt.to_string())).into_iter().collect();
    let answer = client.get(&["jobs", &options.job.to_string(), "patch"], &query).await?;
    if answer.status() == StatusCode::NO_CONTENT {
        eprintln!("there is no patch: the attempt succeeded and changed nothing");
        return Ok(());
    }
    // Whole before the first byte is printed: half a patch may apply, too.
    let bytes = answer.bytes().await.map_err(reqwest::Error::without_url)?;
    patch::print(&bytes)
}
