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
mod wish;

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use events::execution::Outcome;
use events::id::ExecutionId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::fresh;
use super::plan::Plan;
use crate::client::Client;
use crate::data_dir::DataDirOption;
use crate::failure::INTERRUPTED;
use crate::output;
use failed_log::FailedLogs;
use follow::{Ending, Follower, Told};
use progress::{Progress, Remark};

pub(super) use apply::apply;
pub(super) use display::Display;
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

/// After how long without a running job a person is told where to look.
const IDLE: Duration = Duration::from_secs(10);

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
    let mut display = Display::new(options.json);
    let execution = start(&client, &options, repositories, &display).await?;
    let ending = tokio::select! {
        ending = follow(&client, execution, options.json, &mut display) => ending,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            display.finish();
            eprintln!("{execution} goes on without you: `patchwave execution show {execution}` shows how it stands");
            eprintln!("`patchwave execution cancel {execution}` stops it");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    display.finish();
    let Ending { outcome, plan, sequence } = ending?;
    let text = match plan {
        // Also where nobody looks at it: the command that comes next must find it.
        Some(id) => {
            summary::rendered(execution, id, outcome, &Plan::read(&client, id, Some(sequence)).await?)
        }
        None => summary::without_plan(execution, outcome),
    };
    if !options.json {
        output::bytes(text.as_bytes())?;
    }
    Ok(match outcome {
        Outcome::Succeeded => ExitCode::SUCCESS,
        Outcome::PartiallyFailed => ExitCode::from(2),
        Outcome::Failed | Outcome::Canceled => ExitCode::FAILURE,
    })
}

/// Sends the definition and asks for its execution.
async fn start(
    client: &Client,
    options: &Options,
    repositories: Vec<String>,
    display: &Display,
) -> anyhow::Result<ExecutionId> {
    let action = apply::apply(client, &options.wish.parcel, display).await?.action;
    let mut input = json!({ "actionId": action.id, "noCache": options.no_cache, "pool": options.pool,
        "mutationId": fresh() });
    if let (false, Some(input)) = (repositories.is_empty(), input.as_object_mut()) {
        input.insert("repositories".to_owned(), Value::from(repositories));
    }
    let created = client.mutate::<Created>(EXECUTE, &json!({ "input": input })).await;
    let Created { create_action_execution } = created.map_err(say_how_to_name_repositories)?;
    let execution = create_action_execution.execution.id;
    display.say(&format!("{execution}"));
    Ok(execution)
}

/// The next event. Where jobs wait and none runs for long, a person is told where to look.
async fn next(
    follower: &mut Follower<'_>,
    progress: &Progress,
    display: &Display,
) -> anyhow::Result<Option<Told>> {
    let waits = progress.expected.is_some() && progress.running().next().is_none();
    let mut next = std::pin::pin!(follower.next());
    tokio::select! {
        told = &mut next => return told,
        () = tokio::time::sleep(IDLE), if waits => {}
    }
    display.say("no job runs: is a runner there (`patchwave runner list`), and does its container engine answer (its log says)?");
    next.await
}

/// Tells the story as it happens.
async fn follow(
    client: &Client,
    execution: ExecutionId,
    json: bool,
    display: &mut Display,
) -> anyhow::Result<Ending> {
    let mut follower = Follower::new(client, execution);
    let mut progress = Progress::default();
    let mut logs = FailedLogs::new(client);
    while let Some(told) = next(&mut follower, &progress, display).await? {
        if json {
            output::line(&told.text)?;
            continue;
        }
        match progress.take(&told) {
            Some(Remark::Plain(line)) => display.say(&line),
            Some(Remark::Good(line)) => display.good(&line),
            Some(Remark::Bad { line, hint, log }) => {
                display.bad(&line);
                for line in logs.lines(log).await {
                    display.say(&format!("    {line}"));
                }
                if !hint.is_empty() {
                    display.say(&format!("  hint: {hint}"));
                }
            }
            None => {}
        }
        display.show(&progress);
    }
    follower.ending().ok_or_else(|| anyhow::anyhow!("the story of {execution} has no end"))
}
