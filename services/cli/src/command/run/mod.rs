//! `patchwave run`: an action definition over repositories, followed to its plan.
//!
//! Owns the order: everything that can be wrong here is found before anything is sent, and what is sent twice happens
//! once.

mod apply;
mod definition;
mod display;
mod failed_log;
mod files;
mod follow;
mod progress;
mod repositories;
mod summary;
mod watch;
mod wish;

use std::process::ExitCode;

use clap::Args;
use events::id::ExecutionId;
use serde::Deserialize;
use serde_json::json;

use super::fresh;
use crate::client::Client;
use crate::data_dir::DataDirOption;

pub(super) use apply::apply;
pub(super) use display::Display;
pub(super) use repositories::RepositoriesOption;
pub(super) use watch::watch;
pub(super) use wish::{Parcel, Wish, say_how_to_name_repositories};

/// Options of `patchwave run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Run every step, whatever the step cache has of earlier executions
    #[arg(long)]
    no_cache: bool,

    /// The pool whose runners the jobs go to [default: what the definition says]
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,

    /// Print each event as one line of JSON, and nothing else
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    wish: Wish,
}

const EXECUTE: &str = "mutation($input: CreateActionExecutionInput!) {
  createActionExecution(input: $input) { execution { id } } }";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    create_action_execution: CreatePayload,
}

#[derive(Deserialize)]
struct CreatePayload {
    execution: Execution,
}

#[derive(Deserialize)]
struct Execution {
    id: ExecutionId,
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let repositories = options.wish.locations()?;
    let client = options.wish.parcel.client(data)?;
    let display = Display::new(options.json);
    let action = apply(&client, &options.wish.parcel, &display).await?.action;
    let Options { no_cache, pool, .. } = options;
    let execution =
        Wanted { action: &action.id, repositories, no_cache, pool }.start(&client, &display).await?;
    watch(&client, execution, (options.json, display)).await
}

/// An execution that somebody wants.
pub(super) struct Wanted<'a> {
    /// The action's id.
    pub(super) action: &'a str,
    /// Clone URLs and absolute paths; none: what the definition says.
    pub(super) repositories: Vec<String>,
    /// Whether every step runs, whatever the step cache has.
    pub(super) no_cache: bool,
    /// The pool; none: the one that the definition says.
    pub(super) pool: Option<String>,
}

impl Wanted<'_> {
    /// Asks for it.
    pub(super) async fn start(self, client: &Client, display: &Display) -> anyhow::Result<ExecutionId> {
        let Self { action, repositories, no_cache, pool } = self;
        let mut input =
            json!({ "actionId": action, "noCache": no_cache, "pool": pool, "mutationId": fresh() });
        if !repositories.is_empty() {
            input["repositories"] = repositories.into();
        }
        let created = client.mutate::<Created>(EXECUTE, &json!({ "input": input })).await;
        let Created { create_action_execution } = created.map_err(say_how_to_name_repositories)?;
        let execution = create_action_execution.execution.id;
        display.say(&format!("{execution}"));
        Ok(execution)
    }
}
