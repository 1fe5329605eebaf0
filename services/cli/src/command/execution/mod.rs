//! `patchwave execution`: the runs of actions.

mod change;
mod start;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use events::id::{ActionId, ExecutionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ListOptions, ShowOptions, moment, not_found, state};
use crate::client::{Client, Connection, pages};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};
use crate::terminal::inert;

/// The commands of `patchwave execution`.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// List the executions, newest first
    List(List),
    /// Show an execution with its jobs and its plan
    Show(Show),
    /// Start an execution of an action that is there already
    Start(start::Start),
    /// Follow an execution from its beginning to its plan, as `patchwave run` does
    Watch(start::Watch),
    /// Stop an execution: what waits ends at once, what runs is stopped; its patches stay
    Cancel(change::Cancel),
    /// Try the jobs again that did not succeed; earlier attempts stay
    Retry(change::Retry),
}

/// Options of `patchwave execution list`.
#[derive(Args, Clone, Debug)]
pub(crate) struct List {
    /// Only those of the action with this name
    #[arg(long, value_name = "NAME")]
    action: Option<String>,

    #[command(flatten)]
    list: ListOptions,
}

/// Options of `patchwave execution show`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Show {
    /// The execution's id
    execution: ExecutionId,

    #[command(flatten)]
    show: ShowOptions,
}

const LIST: &str = "query($first: Int!, $after: String, $actionId: ID) {
  executions(first: $first, after: $after, actionId: $actionId) { nodes {
    id actionName revision state cancelRequested retries actor requestedAt completedAt plan { id } planIsCurrent
    counts { workspaces skipped unreachable queued running succeeded failed canceled } }
    pageInfo { hasNextPage endCursor } } }";

const SHOW: &str = "query($id: ID!) { execution(id: $id) {
    id actionName revision state cancelRequested retries actor requestedAt completedAt plan { id } planIsCurrent
    counts { workspaces skipped unreachable queued running succeeded failed canceled }
    starved { since pool lack message hint } } }";

const SKIPPED: &str = "query($id: ID!, $first: Int!, $after: String) { execution(id: $id) {
  skipped(first: $first, after: $after) { nodes { repository reason message }
    pageInfo { hasNextPage endCursor } } } }";

const JOBS: &str = "query($id: ID!, $first: Int!, $after: String) { execution(id: $id) {
  jobs(first: $first, after: $after) { nodes {
    id repository path state attempt runner failure { origin message } diffStat { files insertions deletions } hasPatch }
    pageInfo { hasNextPage endCursor } } } }";

#[derive(Deserialize)]
struct Listed {
    executions: Connection<Execution>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    id: String,
    action_name: String,
    revision: u32,
    state: String,
    cancel_requested: bool,
    retries: u32,
    actor: String,
    requested_at: String,
    completed_at: Option<String>,
    plan: Option<Plan>,
    plan_is_current: bool,
    counts: Counts,
}

#[derive(Debug, Deserialize, Serialize)]
struct Plan {
    id: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Counts {
    workspaces: u32,
    skipped: u32,
    unreachable: u32,
    queued: u32,
    running: u32,
    succeeded: u32,
    failed: u32,
    canceled: u32,
}

#[derive(Deserialize)]
struct Shown {
    execution: Option<Whole>,
}

/// A part of an execution that comes page by page.
#[derive(Deserialize)]
struct WithPart<T> {
    execution: Option<T>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Whole {
    #[serde(flatten)]
    execution: Execution,
    starved: Option<Starved>,
    /// Filled page by page after the rest.
    #[serde(default)]
    skipped: Vec<Skipped>,
    /// The same.
    #[serde(default)]
    jobs: Vec<Job>,
}

/// Why its jobs wait in vain.
#[derive(Debug, Deserialize, Serialize)]
struct Starved {
    since: String,
    pool: String,
    lack: String,
    message: String,
    hint: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Skipped {
    repository: String,
    reason: String,
    message: String,
}

#[derive(Deserialize)]
struct WithJobs {
    jobs: Connection<Job>,
}

#[derive(Deserialize)]
struct WithSkipped {
    skipped: Connection<Skipped>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    id: String,
    repository: String,
    path: String,
    state: String,
    attempt: u32,
    runner: Option<String>,
    failure: Option<Failure>,
    diff_stat: Option<DiffStat>,
    has_patch: bool,
}

#[derive(Debug, Deserialize, Serialize)]
struct Failure {
    origin: String,
    message: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct DiffStat {
    files: u32,
    insertions: u64,
    deletions: u64,
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list(options, data).await?,
        Command::Show(options) => show(options, data).await?,
        Command::Start(options) => return start::start(options, data).await,
        Command::Watch(options) => return start::watch(options, data).await,
        Command::Cancel(options) => change::cancel(options, data).await?,
        Command::Retry(options) => change::retry(options, data).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(options: List, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.list.show.client(data)?;
    let action = options.action.as_deref().map(ActionId::named);
    let executions = pages(options.list.limit, async |page| {
        let variables = json!({ "first": page.first, "after": page.after, "actionId": action });
        Ok(client.graphql::<Listed>(LIST, &variables).await?.executions)
    })
    .await?;
    if options.list.show.json {
        return executions.iter().try_for_each(output::json);
    }
    if executions.is_empty() {
        eprintln!("there are no executions yet: `patchwave run FILE --repo PATH` starts one");
        return Ok(());
    }
    let rows = executions.iter().map(|execution| {
        vec![
            execution.id.clone(),
            format!("{} #{}", execution.action_name, execution.revision),
            stands(execution),
            counts(&execution.counts),
            moment(&execution.requested_at),
        ]
    });
    let columns = ["execution", "action", "state", "jobs", "requested"].map(Column::Left);
    output::line(&output::table(&columns, rows))
}

/// How it stands, in words.
fn stands(execution: &Execution) -> String {
    let stopping = execution.cancel_requested && execution.completed_at.is_none();
    if stopping { format!("{}, is being canceled", state(&execution.state)) } else { state(&execution.state) }
}

fn plan(execution: &Execution) -> String {
    match &execution.plan {
        None if execution.state == "CANCELED" => "none: `patchwave plan create` makes one".to_owned(),
        None => "none yet".to_owned(),
        Some(plan) if execution.plan_is_current => plan.id.clone(),
        Some(plan) => format!("{}, of an earlier end", plan.id),
    }
}

/// How the jobs stand, in words; what is nothing is left out.
fn counts(counts: &Counts) -> String {
    let parts = [
        (counts.succeeded, "succeeded"),
        (counts.failed, "failed"),
        (counts.canceled, "canceled"),
        (counts.running, "running"),
        (counts.queued, "queued"),
        (counts.unreachable, "unreachable"),
        (counts.skipped, "skipped"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, name)| format!("{count} {name}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

async fn show(options: Show, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.show.client(data)?;
    let id = options.execution;
    let shown: Shown = client.graphql(SHOW, &json!({ "id": id })).await?;
    let mut whole =
        shown.execution.ok_or_else(|| not_found("execution", &id.to_string(), "execution list"))?;
    whole.skipped = part(&client, id, (SKIPPED, |part: WithSkipped| part.skipped)).await?;
    whole.jobs = part(&client, id, (JOBS, |part: WithJobs| part.jobs)).await?;
    if options.show.json { output::json(&whole) } else { output::line(&rendered(&whole)) }
}

/// Reads a part of an execution to its end.
async fn part<P: DeserializeOwned, T>(
    client: &Client,
    id: ExecutionId,
    (query, list): (&str, fn(P) -> Connection<T>),
) -> anyhow::Result<Vec<T>> {
    let all = pages(usize::MAX, async |page| {
        let variables = json!({ "id": id, "first": page.first, "after": page.after });
        let shown: WithPart<P> = client.graphql(query, &variables).await?;
        let gone = || not_found("execution", &id.to_string(), "execution list");
        Ok(list(shown.execution.ok_or_else(|| crate::client::Failed::Last(gone().into()))?))
    });
    Ok(all.await?)
}

fn rendered(whole: &Whole) -> String {
    let execution = &whole.execution;
    let mut text = output::fields(&[
        ("execution", execution.id.clone()),
        ("action", format!("{}, revision {}", execution.action_name, execution.revision)),
        ("state", stands(execution)),
        ("jobs", counts(&execution.counts)),
        ("by", execution.actor.clone()),
        ("requested", moment(&execution.requested_at)),
        ("completed", execution.completed_at.as_deref().map_or_else(|| "not yet".to_owned(), moment)),
        ("plan", plan(execution)),
    ]);
    if let Some(starved) = &whole.starved {
        let since = moment(&starved.since);
        let waits = format!("the queued jobs wait in vain since {since}: {}", starved.message);
        text.push_str(&format!("\n\n{}\n  hint: {}", inert(&waits), inert(&starved.hint)));
    }
    if !whole.jobs.is_empty() {
        let columns = [
            Column::Left("job"),
            Column::Left("repository"),
            Column::Left("state"),
            Column::Right("attempt"),
            Column::Left("result"),
        ];
        text.push_str("\n\n");
        text.push_str(&output::table(
            &columns,
            whole.jobs.iter().map(|job| row(job, whole.starved.is_some())),
        ));
    }
    if !whole.skipped.is_empty() {
        let rows = whole
            .skipped
            .iter()
            .map(|skipped| vec![skipped.repository.clone(), state(&skipped.reason), skipped.message.clone()]);
        text.push_str("\n\n");
        text.push_str(&output::table(&["skipped", "reason", "message"].map(Column::Left), rows));
    }
    text
}

fn row(job: &Job, starved: bool) -> Vec<String> {
    let place =
        if job.path.is_empty() { job.repository.clone() } else { format!("{}/{}", job.repository, job.path) };
    let result = match (&job.failure, &job.diff_stat, job.runner.as_deref()) {
        (Some(failure), _, _) => output::shortened(&failure.message, 100),
        (None, Some(_), _) if !job.has_patch => "nothing to change".to_owned(),
        (None, Some(stat), _) => {
            let files = if stat.files == 1 { "file" } else { "files" };
            format!("{} {files} +{} −{}", stat.files, stat.insertions, stat.deletions)
        }
        (None, None, Some(runner)) => format!("on {runner}"),
        (None, None, None) if starved && job.state == "QUEUED" => "waits in vain".to_owned(),
        (None, None, None) => String::new(),
    };
    vec![job.id.clone(), place, state(&job.state), job.attempt.to_string(), result]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_execution_reads_like_a_page() {
        let whole: Whole = serde_json::from_value(json!({
            "id": "execution_1", "actionName": "tidy", "revision": 3, "state": "PARTIALLY_FAILED", "cancelRequested": false, "retries": 0, "planIsCurrent": false, "actor": "user:anna",
            "requestedAt": "2026-01-02T03:04:05.000000Z", "completedAt": null, "plan": null,
            "counts": { "workspaces": 3, "skipped": 1, "unreachable": 0, "queued": 0, "running": 0,
                        "succeeded": 2, "failed": 1, "canceled": 0 },
            "starved": { "since": "2026-01-02T03:05:00.000000Z", "pool": "gpu", "lack": "no_runner",
                         "message": "there is no runner in pool gpu", "hint": "start one" },
            "skipped": [{ "repository": "empty", "reason": "empty", "message": "it has no commits" }],
            "jobs": [
                { "id": "job_1", "repository": "alpha", "path": "", "state": "SUCCEEDED", "attempt": 1, "runner": "local",
                  "failure": null, "diffStat": { "files": 1, "insertions": 2, "deletions": 3 }, "hasPatch": true },
                { "id": "job_2", "repository": "beta", "path": "lib", "state": "SUCCEEDED", "attempt": 2, "runner": "local",
                  "failure": null, "diffStat": { "files": 0, "insertions": 0, "deletions": 0 }, "hasPatch": false },
                { "id": "job_3", "repository": "gam\u{1b}[2Jma", "path": "", "state": "FAILED", "attempt": 1, "runner": null,
                  "failure": { "origin": "JOB", "message": "step 1 ended with 1" }, "diffStat": null, "hasPatch": false },
            ],
        }))
        .unwrap();
        assert_eq!(
            rendered(&whole),
            "\
execution  execution_1
action     tidy, revision 3
state      partially failed
jobs       2 succeeded, 1 failed, 1 skipped
by         user:anna
requested  2026-01-02 03:04:05Z
completed  not yet
plan       none yet

the queued jobs wait in vain since 2026-01-02 03:05:00Z: there is no runner in pool gpu
  hint: start one

job    repository  state      attempt  result
job_1  alpha       succeeded        1  1 file +2 −3
job_2  beta/lib    succeeded        2  nothing to change
job_3  gamma       failed           1  step 1 ended with 1

skipped  reason  message
empty    empty   it has no commits"
        );
    }
}
