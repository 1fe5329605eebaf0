//! `patchwave job show`.

use clap::Args;
use events::id::JobId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::{ShowOptions, moment, not_found, state};
use crate::data_dir::DataDirOption;
use crate::output::{self, Column};

/// Options of `patchwave job show`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The job's id
    job: JobId,

    #[command(flatten)]
    show: ShowOptions,
}

const SHOW: &str = "query($id: ID!) { job(id: $id) {
  id executionId repository url baseRef baseOid path state attempt runner cancelRequested retryAt hasPatch
  queuedAt startedAt endedAt failure { origin kind step exitCode message hint limit { name value } }
  diffStat { files insertions deletions }
  attempts { number runner state reason failureOrigin lossCause assignedAt startedAt endedAt hasPatch logSealed logLines logBytes
             secrets { name actionId version }
             outputs reused { step executionId jobId }
             steps { number startedAt skipped exitCode durationMs } } } }";

#[derive(Deserialize)]
struct Shown {
    job: Option<Job>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Job {
    id: String,
    execution_id: String,
    repository: String,
    url: String,
    base_ref: String,
    base_oid: String,
    path: String,
    state: String,
    attempt: u32,
    runner: Option<String>,
    cancel_requested: bool,
    retry_at: Option<String>,
    has_patch: bool,
    queued_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    failure: Option<Failure>,
    diff_stat: Option<DiffStat>,
    attempts: Vec<Attempt>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    origin: String,
    kind: String,
    step: Option<u32>,
    exit_code: Option<i64>,
    message: String,
    hint: String,
    limit: Option<Limit>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Limit {
    name: String,
    value: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct DiffStat {
    files: u32,
    insertions: u64,
    deletions: u64,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    number: u32,
    runner: String,
    state: String,
    reason: Option<String>,
    failure_origin: Option<String>,
    loss_cause: Option<String>,
    has_patch: bool,
    assigned_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    log_sealed: bool,
    log_lines: Option<u64>,
    log_bytes: Option<u64>,
    secrets: Vec<Secret>,
    outputs: Option<serde_json::Map<String, serde_json::Value>>,
    reused: Option<Reused>,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reused {
    step: u32,
    execution_id: String,
    job_id: String,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Secret {
    name: String,
    action_id: Option<String>,
    version: u32,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    number: u32,
    started_at: String,
    skipped: bool,
    exit_code: Option<i64>,
    duration_ms: Option<u64>,
}

/// Runs it.
pub(super) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.show.client(data)?;
    let shown: Shown = client.graphql(SHOW, &json!({ "id": options.job })).await?;
    let job =
        shown.job.ok_or_else(|| not_found("job", &options.job.to_string(), "execution show EXECUTION"))?;
    if options.show.json { output::json(&job) } else { output::line(&rendered(&job)) }
}

fn rendered(job: &Job) -> String {
    let or_dash = |time: &Option<String>| time.as_deref().map_or_else(|| "-".to_owned(), moment);
    let mut fields = vec![
        ("job", job.id.clone()),
        ("execution", job.execution_id.clone()),
        ("repository", job.repository.clone()),
        ("from", job.url.clone()),
        ("base", format!("{} at {}", job.base_ref, job.base_oid)),
    ];
    if !job.path.is_empty() {
        fields.push(("path", job.path.clone()));
    }
    fields.extend([
        ("state", stands(job)),
        ("queued", moment(&job.queued_at)),
        ("started", or_dash(&job.started_at)),
        ("ended", or_dash(&job.ended_at)),
    ]);
    if let Some(failure) = &job.failure {
        fields.push(("failure", failure.message.clone()));
        fields.push(("origin", origin(&failure.origin).to_owned()));
        fields.push(("hint", failure.hint.clone()));
    }
    if let Some(stat) = &job.diff_stat {
        fields.push(("changes", format!("{} files +{} −{}", stat.files, stat.insertions, stat.deletions)));
    }
    let mut text = output::fields(&fields);
    for attempt in &job.attempts {
        text.push_str(&rendered_attempt(attempt));
    }
    text
}

/// How it stands, in words.
fn stands(job: &Job) -> String {
    let name = state(&job.state);
    match &job.retry_at {
        _ if job.cancel_requested && job.ended_at.is_none() => format!("{name}, is being canceled"),
        Some(time) => format!("{name}, tries again at {}", moment(time)),
        None => name,
    }
}

/// Whose doing a failure is, in words.
fn origin(name: &str) -> &str {
    match name {
        "JOB" => "the job's own doing",
        "INFRASTRUCTURE" => "the infrastructure's doing",
        other => other,
    }
}

fn rendered_attempt(attempt: &Attempt) -> String {
    let mut text = format!("\n\nattempt {} on {}: {}", attempt.number, attempt.runner, state(&attempt.state));
    if let Some(reason) = &attempt.reason {
        text.push_str(&format!(" ({reason})"));
    }
    if let (Some(lines), Some(bytes)) = (attempt.log_lines, attempt.log_bytes) {
        text.push_str(&format!(", log of {lines} lines, {bytes} bytes"));
    }
    if attempt.has_patch {
        text.push_str(", with a patch");
    }
    if !attempt.secrets.is_empty() {
        let used = attempt.secrets.iter().map(|secret| {
            let scope = if secret.action_id.is_some() { " of the action" } else { "" };
            format!("{} version {}{scope}", secret.name, secret.version)
        });
        text.push_str(&format!(", given the secrets {}", used.collect::<Vec<_>>().join(", ")));
    }
    if let Some(Reused { step, execution_id, job_id }) = &attempt.reused {
        let steps = if *step == 1 { "step 1".to_owned() } else { format!("steps 1 to {step}") };
        text.push_str(&format!("\n{steps} did not run again: as in {job_id} of {execution_id}"));
    }
    for (name, value) in attempt.outputs.iter().flatten() {
        text.push_str(&format!("\noutput {name}: {value}"));
    }
    text = text.split("\n\n").map(crate::terminal::inert).collect::<Vec<_>>().join("\n\n");
    if attempt.steps.is_empty() {
        return text;
    }
    let columns = [
        Column::Right("step"),
        Column::Left("started"),
        Column::Right("exit code"),
        Column::Right("seconds"),
    ];
    let rows = attempt.steps.iter().map(|step| {
        let exit = match step.exit_code {
            Some(code) => code.to_string(),
            None if step.skipped => "skipped".to_owned(),
            None => "-".to_owned(),
        };
        let seconds =
            step.duration_ms.map_or_else(|| "-".to_owned(), |ms| format!("{}.{:03}", ms / 1_000, ms % 1_000));
        vec![step.number.to_string(), moment(&step.started_at), exit, seconds]
    });
    text + "\n" + &output::table(&columns, rows)
}
