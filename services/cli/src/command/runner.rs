//! `patchwave runner list`, `show` and `drain`: who takes jobs, and who is to leave.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use events::Timestamp;
use events::id::RunnerId;
use events::runner::label_words;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::enrollment::{self, Token};
use super::{ShowOptions, moment, not_found, state};
use crate::client::{Connection, pages};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};

/// The commands about runners.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// List the runners: those that take jobs, are gone, or were invited, enrolled or revoked
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

const LIST: &str = "query($first: Int!, $after: String) { runners(first: $first, after: $after) {
  nodes { ...Shown } pageInfo { hasNextPage endCursor } } }";

const SHOW: &str = "query($id: ID!) { runner(id: $id) { ...Shown } }";

const DRAIN: &str = "mutation($id: ID!) { drainRunner(input: { id: $id }) { runner { ...Shown } } }";

/// What is asked of a runner.
const SHOWN: &str = "fragment Shown on Runner { id state pool slots labels version since reason
  enrollment { state since tokenExpiresAt } now { slots running { jobId attempt } trouble } }";

/// A request with what it asks of a runner.
fn asking(request: &str) -> String {
    format!("{request} {SHOWN}")
}

#[derive(Deserialize)]
struct Listed {
    runners: Connection<Runner>,
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
    /// What it says when it registers is absent before it ever did.
    pool: Option<String>,
    slots: Option<u32>,
    /// A JSON object as text.
    labels: Option<String>,
    version: Option<String>,
    since: String,
    reason: Option<String>,
    /// Whether a machine may connect as it; absent where nats.conf says so.
    enrollment: Option<Enrollment>,
    /// What it says of itself; absent while it is silent.
    now: Option<Now>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Enrollment {
    state: String,
    since: String,
    token_expires_at: Option<String>,
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
    let client = options.client(data)?;
    let query = asking(LIST);
    let runners = pages(usize::MAX, async |page| {
        let variables = json!({ "first": page.first, "after": page.after });
        Ok(client.graphql::<Listed>(&query, &variables).await?.runners)
    })
    .await?;
    if options.json {
        return runners.iter().try_for_each(output::json);
    }
    if runners.is_empty() {
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
    let now = chrono::Utc::now();
    output::line(&output::table(&columns, runners.iter().map(|runner| row(runner, now))))
}

async fn show(one: One, data: &DataDirOption) -> anyhow::Result<()> {
    let shown: Shown = one.show.client(data)?.graphql(&asking(SHOW), &json!({ "id": one.runner })).await?;
    let runner = shown.runner.ok_or_else(|| not_found("runner", one.runner.as_str(), "runner list"))?;
    if one.show.json { output::json(&runner) } else { output::line(&rendered(&runner, chrono::Utc::now())) }
}

async fn drain(one: One, data: &DataDirOption) -> anyhow::Result<()> {
    let drained: Drained =
        one.show.client(data)?.graphql(&asking(DRAIN), &json!({ "id": one.runner })).await?;
    let runner = drained.drain_runner.runner;
    if one.show.json {
        return output::json(&runner);
    }
    let running = runner.now.as_ref().map_or(0, |now| now.running.len());
    output::line(&format!("{} drains: it finishes the {running} that it runs, and leaves", runner.id))
}

fn row(runner: &Runner, now: Timestamp) -> Vec<String> {
    vec![
        runner.id.clone(),
        stands(runner),
        runner.pool.clone().unwrap_or_default(),
        slots(runner),
        runner.now.as_ref().map(|now| now.running.len().to_string()).unwrap_or_default(),
        labels(runner),
        runner.version.clone().unwrap_or_default(),
        moment(&runner.since),
        trouble(runner, now),
    ]
}

fn rendered(runner: &Runner, now: Timestamp) -> String {
    let mut fields = vec![("runner", runner.id.clone()), ("state", stands(runner))];
    if let (Some(pool), Some(version)) = (&runner.pool, &runner.version) {
        fields.push(("pool", pool.clone()));
        fields.push(("slots", slots(runner)));
        fields.push(("labels", labels(runner)));
        fields.push(("version", version.clone()));
    }
    fields.push(("since", moment(&runner.since)));
    fields.push(("trouble", trouble(runner, now)));
    if let Some(enrollment) = &runner.enrollment {
        fields.push((
            "enrollment",
            format!("{} since {}", state(&enrollment.state), moment(&enrollment.since)),
        ));
    }
    // Of one that is invited, that is the trouble.
    if let Some(token) = token(runner, now).filter(|_| runner.state != "INVITED") {
        fields.push(("token", token));
    }
    let mut text = output::fields(&fields);
    let running = runner.now.iter().flat_map(|now| &now.running);
    let rows: Vec<Vec<String>> =
        running.map(|one| vec![one.job_id.clone(), one.attempt.to_string()]).collect();
    if !rows.is_empty() {
        text.push_str("\n\n");
        text.push_str(&output::table(&[Column::Left("running"), Column::Right("attempt")], rows));
    }
    text
}

/// How it stands to jobs, and that it was revoked.
fn stands(runner: &Runner) -> String {
    let revoked = runner.enrollment.as_ref().is_some_and(|enrollment| enrollment.state == "REVOKED");
    match state(&runner.state) {
        name if revoked && name != "revoked" => format!("{name}, revoked"),
        name => name,
    }
}

/// How many jobs it runs at once; what it offers now stands before that while it is less.
fn slots(runner: &Runner) -> String {
    match (&runner.now, runner.slots) {
        (Some(now), Some(slots)) if now.slots < slots => format!("{} of {slots}", now.slots),
        (_, slots) => slots.map(|slots| slots.to_string()).unwrap_or_default(),
    }
}

/// Why it takes fewer jobs than it could, or none.
fn trouble(runner: &Runner, now: Timestamp) -> String {
    match runner.state.as_str() {
        "INVITED" => token(runner, now).unwrap_or_default(),
        "ENROLLED" => "it was never started".to_owned(),
        "REVOKED" => "it was never started, and may not be any more".to_owned(),
        _ => {
            let said = runner.now.as_ref().and_then(|now| now.trouble.clone());
            let silent =
                || (runner.now.is_none() && runner.state != "GONE").then(|| "it is silent".to_owned());
            runner.reason.clone().or(said).or_else(silent).unwrap_or_default()
        }
    }
}

/// What has become of the token that was made for it last, while nobody has redeemed that.
fn token(runner: &Runner, now: Timestamp) -> Option<String> {
    let expires_at = runner.enrollment.as_ref()?.token_expires_at.as_deref()?;
    let over = expires_at.parse::<Timestamp>().is_ok_and(|end| end <= now);
    let until = moment(expires_at);
    Some(if over {
        format!("its token expired at {until}: `patchwave runner token create {}` makes another", runner.id)
    } else {
        format!("its token can be redeemed until {until}")
    })
}

/// Its labels, as a definition asks for them.
fn labels(runner: &Runner) -> String {
    let json = runner.labels.as_deref().unwrap_or_default();
    let labels: BTreeMap<String, String> = serde_json::from_str(json).unwrap_or_default();
    label_words(&labels).into_iter().collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn runner(fields: Value) -> Runner {
        let mut runner = json!({
            "id": "north", "state": "REGISTERED", "pool": null, "slots": null, "labels": null, "version": null,
            "since": "2026-01-02T03:04:05.000000Z", "reason": null, "enrollment": null, "now": null,
        });
        runner.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(runner).unwrap()
    }

    /// A minute before the tokens here expire.
    fn now() -> Timestamp {
        "2026-01-02T03:59:00Z".parse().unwrap()
    }

    fn enrollment(state: &str, expires_at: Option<&str>) -> Value {
        json!({ "state": state, "since": "2026-01-02T03:00:00.000000Z", "tokenExpiresAt": expires_at })
    }

    #[test]
    fn labels_are_shown_as_a_definition_asks_for_them() {
        let shown = |text: &str| labels(&runner(json!({ "labels": text })));
        assert_eq!(shown(r#"{"os":"linux","gpu":"","arch":"arm64"}"#), "arch=arm64,gpu,os=linux");
        assert_eq!((shown("{}"), shown("nonsense")), (String::new(), String::new()));
    }

    #[test]
    fn a_runner_reads_like_a_page() {
        let runner = runner(json!({
            "pool": "gpu", "slots": 4, "labels": "{\"arch\":\"arm64\"}", "version": "0.1.0",
            "now": { "slots": 1, "running": [{ "jobId": "job_1", "attempt": 2 }], "trouble": "memory is short" },
        }));
        assert_eq!(
            rendered(&runner, now()),
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

    #[test]
    fn one_that_never_came_says_why_and_what_to_do() {
        let token = Some("2026-01-02T04:00:00.000000Z");
        let invited = runner(json!({ "state": "INVITED", "enrollment": enrollment("INVITED", token) }));
        let waits = "its token can be redeemed until 2026-01-02 04:00:00Z";
        assert_eq!(
            rendered(&invited, now()),
            format!(
                "\
runner      north
state       invited
since       2026-01-02 03:04:05Z
trouble     {waits}
enrollment  invited since 2026-01-02 03:00:00Z"
            )
        );
        let late = trouble(&invited, now() + chrono::Duration::minutes(1));
        assert!(late.contains("expired") && late.contains("runner token create north"), "{late}");
        let enrolled = runner(json!({ "state": "ENROLLED", "enrollment": enrollment("ENROLLED", None) }));
        assert_eq!(trouble(&enrolled, now()), "it was never started");
    }

    #[test]
    fn one_that_was_revoked_says_so_wherever_it_stood() {
        let stood = |state: &str| {
            stands(&runner(json!({ "state": state, "enrollment": enrollment("REVOKED", None) })))
        };
        assert_eq!(stood("GONE"), "gone, revoked");
        assert_eq!(stood("REGISTERED"), "registered, revoked");
        assert_eq!(stood("REVOKED"), "revoked");
        assert_eq!(stands(&runner(json!({ "state": "GONE" }))), "gone");
    }
}
