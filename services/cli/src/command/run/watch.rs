//! Watching an execution to its plan.
//!
//! Owns the story as a person sees it, and what the program's exit code says of its end.

use std::process::ExitCode;
use std::time::Duration;

use events::execution::Outcome;
use events::id::ExecutionId;

use super::display::Display;
use super::failed_log::FailedLogs;
use super::follow::{Ending, Follower, Told};
use super::progress::{Progress, Remark};
use super::summary;
use crate::client::Client;
use crate::command::plan::Plan;
use crate::failure::{INTERRUPTED, PARTIALLY_FAILED};
use crate::output;

/// After how long without a running job a person is told where to look.
const IDLE: Duration = Duration::from_secs(10);

/// Tells the story of an execution from its beginning to its end, and then what its plan is; as JSON: its events alone.
/// An interrupt ends the watching, not the execution.
pub(in crate::command) async fn watch(
    client: &Client,
    execution: ExecutionId,
    (json, mut display): (bool, Display),
) -> anyhow::Result<ExitCode> {
    let ending = tokio::select! {
        ending = follow(client, execution, json, &mut display) => ending,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            display.finish();
            eprintln!("{execution} goes on without you: `patchwave execution watch {execution}` follows it again");
            eprintln!("`patchwave execution cancel {execution}` stops it");
            return Ok(ExitCode::from(INTERRUPTED));
        }
    };
    display.finish();
    let Ending { outcome, plan, sequence } = ending?;
    let text = match plan {
        // Also where nobody looks at it: the command that comes next must find it.
        Some(id) => summary::rendered(execution, id, outcome, &Plan::read(client, id, Some(sequence)).await?),
        None => summary::without_plan(execution, outcome),
    };
    if !json {
        output::bytes(text.as_bytes())?;
    }
    Ok(match outcome {
        Outcome::Succeeded => ExitCode::SUCCESS,
        Outcome::PartiallyFailed => ExitCode::from(PARTIALLY_FAILED),
        Outcome::Failed | Outcome::Canceled => ExitCode::FAILURE,
    })
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
