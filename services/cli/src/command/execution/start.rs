//! `patchwave execution start` and `watch`.

use std::process::ExitCode;

use clap::Args;
use events::id::{ActionId, ExecutionId};
use serde::Serialize;

use super::super::run::{self, Display, RepositoriesOption, Wanted};
use super::super::{ShowOptions, not_found};
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;
use crate::output;

/// Options of `patchwave execution start`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Start {
    /// The action's name
    action: String,

    /// Run every step, whatever the step cache has of earlier executions
    #[arg(long)]
    no_cache: bool,

    /// The pool whose runners the jobs go to [default: what the definition says]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,

    /// Stay and follow it to its plan
    #[arg(short, long)]
    follow: bool,

    #[command(flatten)]
    repositories: RepositoriesOption,

    #[command(flatten)]
    show: ShowOptions,
}

/// Options of `patchwave execution watch`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Watch {
    /// The execution's id
    execution: ExecutionId,

    #[command(flatten)]
    show: ShowOptions,
}

#[derive(Serialize)]
struct Started {
    execution: ExecutionId,
}

/// Starts an execution of the action's newest revision.
pub(super) async fn start(options: Start, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let Start { action, no_cache, pool, follow, repositories, show } = options;
    let repositories = repositories.locations()?;
    let client = show.client(data)?;
    let id = ActionId::named(&action).to_string();
    let wanted = Wanted { action: &id, repositories, no_cache, pool };
    // What is said on the way is for those who stay.
    let display = if follow { Display::new(show.json) } else { Display::lines(true) };
    let execution = wanted.start(&client, &display).await.map_err(|error| named(error, &action))?;
    if follow {
        return run::watch(&client, execution, (show.json, display)).await;
    }
    if show.json {
        output::json(&Started { execution })?;
    } else {
        output::line(&execution.to_string())?;
        eprintln!("`patchwave execution watch {execution}` follows it");
    }
    Ok(ExitCode::SUCCESS)
}

/// Follows an execution.
pub(super) async fn watch(options: Watch, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let client = options.show.client(data)?;
    let json = options.show.json;
    run::watch(&client, options.execution, (json, Display::new(json))).await
}

/// The gateway knows the action by its id alone.
fn named(error: anyhow::Error, action: &str) -> anyhow::Error {
    match error.downcast_ref::<Complaint>() {
        Some(complaint) if complaint.code.as_deref() == Some("not-found") => {
            not_found("action", action, "action list").into()
        }
        _ => error,
    }
}
