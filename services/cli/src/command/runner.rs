//! `patchwave runner list`, `show` and `drain`: who takes jobs, and who is to leave.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use events::id::RunnerId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::enrollment::{self, Token};
use super::{ShowOptions, moment, not_found, state};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};

/// The commands about runners.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// List the runners
    List(ShowOptions),
    /// Show a runner and what it runs
    Show(One),
    /// Let a runner finish what it runs, take nothing new, and leave
    Drain(One),
    /// Tokens with which machines enroll as runners
    #[command(subcommand)]
    Token(Token),
    /// Cut an enrolled runner off, for ever
    Revoke(One),
}

/// A runner.
#[derive(Args, Clone, Debug)]
pub(crate) struct One {
    /// The runner's name
    pub(super) runner: RunnerId,

    #[command(flatten)]
    pub(super) show: ShowOptions,
}

const LIST: &str = "{ runners { id state pool slots labels version since reason
  now { slots running { jobId attempt } trouble } } }";

const SHOW: &str = "query($id: ID!) { runner(id: $id) { id state pool slots labels version since reason
  now { slots running { jobId attempt } trouble } } }";

const DRAIN: &str =
    "mutation($id: ID!) { drainRunner(input: { id: $id }) { runner { id state pool slots labels
  version since reason now { slots running { jobId attempt } trouble } } } }";

#[derive(Deserialize)]
struct Listed {
    runners: Vec<Runner>,
}

#[derive(Deserialize)]
struct Shown {
    runner: Option<Runner>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Drained {
    drain_runner: DrainedRunner,
}

#[derive(Deserialize)]
struct DrainedRunner {
    runner: Runner,
}

#[derive(Debug, Deserialize, Serialize)]
struct Runner {
    id: String,
    state: String,
    pool: String,
    slots: u32,
    /// A JSON object as text.
    labels: String,
    version: String,
    since: String,
    reason: Option<String>,
    /// What it says of itself; absent while it is silent.
    now: Option<Now>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Now {
    slots: u32,
    running: Vec<Running>,
    trouble: Option<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Running {
    job_id: String,
    attempt: u32,
}

/// Runs a command.
pub(crate) async fn run(command: Command, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(options) => list(options, data).await?,
        Command::Show(one) => show(one, data).await?,
        Command::Drain(one) => drain(one, data).await?,
        Command::Token(Token::Create(options)) => enrollment::create(options, data).await?,
        Command::Revoke(one) => enrollment::revoke(one, data).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(options: ShowOptions, data: &DataDirOption) -> anyhow::Result<()> {
    let listed: Listed = options.client(data)?.graphql(LIST, &json!({})).await?;
    if options.json {
        return listed.runners.iter().try_for_each(output::json);
    }
    if listed.runners.is_empty() {
        eprintln!("there are no runners: `patchwave up` starts one, `patchwave runner` another");
        return Ok(());
    }
    let columns = [
        Column::Left("runner"),
        Column::Left("state"),
        Column::Left("pool"),
        Column::Right("slots"),
        Column::Right("running"),
        Column::Left("labels"),
        Column::Left("version"),
        Column::Left("since"),
        Column::Left("trouble"),
    ];
    output::line(&output::table(&columns, listed.runners.iter().map(row)))
}

async fn show(one: One, data: &DataDirOption) -> anyhow::Result<()> {
    let shown: Shown = one.show.client(data)?.graphql(SHOW, &json!({ "id": one.runner })).await?;
    let runner = shown.runner.ok_or_else(|| not_found("runner", one.runner.as_str(), "runner list"))?;
    if one.show.json { output::json(&runner) } else { output::line(&rendered(&runner)) }
}

async fn drain(one: One, data: &DataDirOption) -> anyhow::Result<()> {
    let drained: Drained = one.show.client(data)?.graphql(DRAIN, &json!({ "id": one.runner })).await?;
    let runner = drained.drain_runner.runner;
    if one.show.json {
        return output::json(&runner);
    }
    let running = runner.now.as_ref().map_or(0, |now| now.running.len());
    output::line(&format!("{} drains: it finishes the {running} that it runs, and leaves", runner.id))
}

fn row(runner: &Runner) -> Vec<String> {
    vec![
        runner.id.clone(),
        state(&runner.state),
        runner.pool.clone(),
        slots(runner),
        runner.now.as_ref().map(|now| now.running.len().to_string()).unwrap_or_default(),
        labels(&runner.labels),
        runner.version.clone(),
        moment(&runner.since),
        trouble(runner),
    ]
}

fn rendered(runner: &Runner) -> String {
    let mut text = output::fields(&[
        ("runner", runner.id.clone()),
        ("state", state(&runner.state)),
        ("pool", runner.pool.clone()),
        ("slots", slots(runner)),
        ("labels", labels(&runner.labels)),
        ("version", runner.version.clone()),
        ("since", moment(&runner.since)),
        ("trouble", trouble(runner)),
    ]);
    let running = runner.now.iter().flat_map(|now| &now.running);
    let rows: Vec<Vec<String>> =
        running.map(|one| vec![one.job_id.clone(), one.attempt.to_string()]).collect();
    if !rows.is_empty() {
        text.push_str("\n\n");
        text.push_str(&output::table(&[Column::Left("running"), Column::Right("attempt")], rows));
    }
    text
}

/// How many jobs it runs at once; what it offers now stands before that while it is less.
fn slots(runner: &Runner) -> String {
    match &runner.now {
        Some(now) if now.slots < runner.slots => format!("{} of {}", now.slots, runner.slots),
        _ => runner.slots.to_string(),
    }
}

/// Why it takes fewer jobs than it could, or why it is gone.
fn trouble(runner: &Runner) -> String {
    let said = runner.now.as_ref().and_then(|now| now.trouble.clone());
    let silent = || (runner.now.is_none() && runner.state != "GONE").then(|| "it is silent".to_owned());
    runner.reason.clone().or(said).or_else(silent).unwrap_or_default()
}

/// `name=value` pairs of a JSON object.
fn labels(json: &str) -> String {
    let labels: BTreeMap<String, Value> = serde_json::from_str(json).unwrap_or_default();
    let pair = |(name, value): (&String, &Value)| match value.as_str() {
        Some(value) => format!("{name}={value}"),
        None => format!("{name}={value}"),
    };
    labels.iter().map(pair).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs() {
        assert_eq!(labels(r#"{"os":"linux","arch":"arm64"}"#), "arch=arm64,os=linux");
        assert_eq!((labels("{}"), labels("nonsense")), (String::new(), String::new()));
    }

    #[test]
    fn a_runner_reads_like_a_page() {
        let runner: Runner = serde_json::from_value(json!({
            "id": "north", "state": "REGISTERED", "pool": "gpu", "slots": 4, "labels": "{\"arch\":\"arm64\"}",
            "version": "0.1.0", "since": "2026-01-02T03:04:05.000000Z", "reason": null,
            "now": { "slots": 1, "running": [{ "jobId": "job_1", "attempt": 2 }], "trouble": "memory is short" },
        }))
        .unwrap();
        assert_eq!(
            rendered(&runner),
            "\
runner   north
state    registered
pool     gpu
slots    1 of 4
labels   arch=arm64
version  0.1.0
since    2026-01-02 03:04:05Z
trouble  memory is short

running  attempt
job_1          2"
        );
    }
}
