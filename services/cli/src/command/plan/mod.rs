//! `patchwave plan`: what an execution's patches would become.

mod create;
mod diff;
mod export;
mod show;
mod spec;

use std::process::ExitCode;

use clap::Subcommand;

use crate::data_dir::DataDirOption;

/// The commands of `patchwave plan`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a plan of the patches that a canceled execution has
    Create(create::Options),
    /// Show a plan: its changesets, what is missing and what had nothing to change
    Show(show::Options),
    /// Print the patches of a plan, one after the other
    Diff(diff::Options),
    /// Write each patch of a plan into a file of its own
    Export(export::Options),
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create(options) => create::run(options, data).await?,
        Command::Show(options) => show::run(options, data).await?,
        Command::Diff(options) => diff::run(options, data).await?,
        Command::Export(options) => export::run(options, data).await?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) use spec::{Plan, Without};
