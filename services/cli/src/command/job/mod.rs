//! `patchwave job`: one workspace of an execution, what its steps printed and what they changed.

mod change;
mod logs;
mod patch;
mod show;

use std::process::ExitCode;

use clap::Subcommand;

use crate::data_dir::DataDirOption;

/// The commands of `patchwave job`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what a job's steps printed, byte by byte
    Logs(logs::Options),
    /// Print what an attempt changed, as `git apply` reads it
    Patch(patch::Options),
    /// Show a job with its attempts and steps
    Show(show::Options),
    /// Stop a job: at once if it waits, by its runner if it runs
    Cancel(change::Options),
    /// Try a job again that has ended; its earlier attempts stay
    Retry(change::Options),
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::Logs(options) => logs::run(options, data).await?,
        Command::Patch(options) => patch::run(options, data).await?,
        Command::Show(options) => show::run(options, data).await?,
        Command::Cancel(options) => change::cancel(options, data).await?,
        Command::Retry(options) => change::retry(options, data).await?,
    }
    Ok(ExitCode::SUCCESS)
}
