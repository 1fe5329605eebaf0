//! Jobs and their attempts as they are shown.

use async_graphql::{ComplexObject, Context, ID, Json, Result, SimpleObject};
use events::secret::SecretVersion;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::execution::{Execution, OfExecution, Starvation};
use super::scalar::{DateTime, Named, Sequence, int, sequence, states};
use super::secret::AttemptSecret;
use super::{by_id, children};
use crate::projection::{Bound, Children, Cursor, Identified, Listed, Order};

states! {
    /// How far a job is.
    JobState {
        /// It waits for a runner.
        Queued = "queued",
        /// A runner has it and has not begun.
        Assigned = "assigned",
        /// Its steps run.
        Running = "running",
        /// Its steps ran; there may be a patch.
        Succeeded = "succeeded",
        /// It ended without a patch: its last attempt failed or timed out.
        Failed = "failed",
        /// Somebody stopped it.
        Canceled = "canceled",
    }
}

states! {
    /// How far an attempt is.
    AttemptState {
        /// A runner has it and has not begun.
        Assigned = "assigned",
        /// Its steps run.
        Running = "running",
        /// Its steps ran; there may be a patch.
        Succeeded = "succeeded",
        /// A step failed, or what it ran on did.
        Failed = "failed",
        /// Lost through no fault of the job.
        Lost = "lost",
        /// Given back before it began: its runner takes no jobs any more.
        Returned = "returned",
        /// It reached a limit of time.
        TimedOut = "timed_out",
        /// Somebody stopped it.
        Canceled = "canceled",
    }
}

states! {
    /// Whose doing a failure is.
    FailureOrigin {
        /// The job's own: another attempt would most likely end the same.
        Job = "job",
        /// That of what it ran on or was to run on.
        Infrastructure = "infrastructure",
    }
}

states! {
    /// What took an attempt away.
    LossCause {
        /// Its runner went silent, was restarted, or no longer has it.
        Runner = "runner",
        /// What the runner needs did not work.
        Infrastructure = "infrastructure",
        /// Its runner was asked to stop and handed it back.
        Drained = "drained",
    }
}

/// One workspace of an execution: a branch of a repository, and a folder in it.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Job {
    pub(super) id: ID,
    execution_id: ID,
    repository: String,
    /// Where the repository is cloned from.
    url: String,
    base_ref: String,
    /// The commit to which the branch pointed when the execution was resolved.
    base_oid: String,
    /// The folder; empty for the root.
    path: String,
    state: JobState,
    /// The last attempt that was given out; 0 before the first.
    attempt: i32,
    /// Who has or had that attempt.
    runner: Option<String>,
    /// Whether it is to stop.
    cancel_requested: bool,
    /// When the next attempt may begin, while it waits after a loss.
    retry_at: Option<DateTime>,
    failure: Option<Failure>,
    diff_stat: Option<DiffStat>,
    has_patch: bool,
    queued_at: DateTime,
    started_at: Option<DateTime>,
    ended_at: Option<DateTime>,
}

/// Why a job failed.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Failure {
    /// Whose doing it is.
    origin: FailureOrigin,
    kind: String,
    /// The step, from 1.
    step: Option<i32>,
    exit_code: Option<i32>,
    message: String,
    /// What to do about it; may be empty.
    hint: String,
    /// The limit that was reached; absent where it was none.
    limit: Option<Limit>,
}

/// A limit that was reached.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Limit {
    /// `timeout`, `step_timeout`, `memory`, `workspace_bytes`, `workspace_files`, `image_bytes` or `log_bytes`.
    name: String,
    /// Milliseconds of a timeout, files of `workspace_files`, else bytes.
    value: Sequence,
}

/// How large a patch is.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct DiffStat {
    pub(super) files: i32,
    pub(super) insertions: Sequence,
    pub(super) deletions: Sequence,
}

impl FromRow<'_, AnyRow> for Job {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let number = |column| row.try_get::<Option<i64>, _>(column);
        let kind: Option<String> = row.try_get("failure_kind")?;
        let text =
            |column| Ok::<_, sqlx::Error>(row.try_get::<Option<String>, _>(column)?.unwrap_or_default());
        let limit: (Option<String>, _) = (row.try_get("failure_limit")?, number("failure_limit_value")?);
        let failure = match kind {
            Some(kind) => Some(Failure {
                origin: FailureOrigin::read(row, "failure_origin")?.unwrap_or(FailureOrigin::Job),
                kind,
                step: number("failure_step")?.map(int),
                exit_code: number("failure_exit_code")?.map(int),
                message: text("failure_message")?,
                hint: text("failure_hint")?,
                limit: match limit {
                    (Some(name), Some(value)) => Some(Limit { name, value: sequence(value) }),
                    _ => None,
                },
            }),
            None => None,
        };
        Ok(Self {
            id: ID(row.try_get("id")?),
            execution_id: ID(row.try_get("execution_id")?),
            repository: row.try_get("repository")?,
            url: row.try_get("url")?,
            base_ref: row.try_get("base_ref")?,
            base_oid: row.try_get("base_oid")?,
            path: row.try_get("path")?,
            state: JobState::of(row)?,
            attempt: int(row.try_get("attempt")?),
            runner: row.try_get("runner_id")?,
            cancel_requested: row.try_get::<i64, _>("cancel_requested")? != 0,
            retry_at: row.try_get::<Option<String>, _>("retry_at")?.map(DateTime),
            failure,
            diff_stat: diff_stat(row)?,
            has_patch: row.try_get::<Option<String>, _>("patch_sha256")?.is_some(),
            queued_at: DateTime(row.try_get("queued_at")?),
            started_at: row.try_get::<Option<String>, _>("started_at")?.map(DateTime),
            ended_at: row.try_get::<Option<String>, _>("ended_at")?.map(DateTime),
        })
    }
}

fn diff_stat(row: &AnyRow) -> sqlx::Result<Option<DiffStat>> {
    let number = |column| row.try_get::<Option<i64>, _>(column);
    Ok(match (number("files")?, number("insertions")?, number("deletions")?) {
        (Some(files), Some(insertions), Some(deletions)) => Some(DiffStat {
            files: int(files),
            insertions: sequence(insertions),
            deletions: sequence(deletions),
        }),
        _ => None,
    })
}

impl Listed for Job {
    const VIEW: &'static str = "jobs";
    const ORDER: Order = Order { columns: &["repository", "id"], descending: false };

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Text(self.repository.clone()), Bound::Text(self.id.0.clone())])
    }
}

impl Identified for Job {
    const VIEW: &'static str = "jobs";

    fn id(&self) -> &str {
        &self.id
    }
}

#[ComplexObject]
impl Job {
    /// The execution of `executionId`.
    async fn execution(&self, ctx: &Context<'_>) -> Result<Option<Execution>> {
        by_id(ctx, self.execution_id.to_string(), None).await
    }

    /// Why it waits in vain; absent while it does not wait, or not in vain.
    async fn starved(&self, ctx: &Context<'_>) -> Result<Option<Starvation>> {
        if self.state != JobState::Queued {
            return Ok(None);
        }
        let execution: Option<OfExecution> = children(ctx, &self.execution_id).await?.pop();
        Ok(execution.and_then(|execution| execution.starved))
    }

    /// Every attempt, oldest first.
    #[graphql(complexity = "2 * child_complexity")]
    async fn attempts(&self, ctx: &Context<'_>) -> Result<Vec<Attempt>> {
        children(ctx, &self.id).await
    }
}

/// One try.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Attempt {
    /// From 1.
    number: i32,
    runner: String,
    state: AttemptState,
    /// Why it did not succeed.
    reason: Option<String>,
    /// Whose doing that is.
    failure_origin: Option<FailureOrigin>,
    /// What took it away, if it was lost.
    loss_cause: Option<LossCause>,
    assigned_at: DateTime,
    started_at: Option<DateTime>,
    ended_at: Option<DateTime>,
    /// How large its patch is.
    diff_stat: Option<DiffStat>,
    has_patch: bool,
    /// Whether its log is stored for good.
    log_sealed: bool,
    log_lines: Option<Sequence>,
    log_bytes: Option<Sequence>,
    /// Which values of secrets its steps were given.
    secrets: Vec<AttemptSecret>,
    /// What its steps handed on to the changeset template, by name.
    outputs: Option<Json<serde_json::Value>>,
    /// The steps that did not run again, because the step cache had what they came to.
    reused: Option<Reused>,
    #[graphql(skip)]
    job_id: String,
}

/// Steps that ran in an earlier job, and not again.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Reused {
    /// The last of them, from 1: those before it did not run either.
    pub(super) step: i32,
    /// The execution in which they ran.
    pub(super) execution_id: ID,
    /// The job in which they ran.
    pub(super) job_id: ID,
}

fn reused(row: &AnyRow) -> sqlx::Result<Option<Reused>> {
    let id = |column| row.try_get::<Option<String>, _>(column);
    Ok(match (row.try_get("reused_step")?, id("reused_execution_id")?, id("reused_job_id")?) {
        (Some(step), Some(execution), Some(job)) => {
            Some(Reused { step: int(step), execution_id: ID(execution), job_id: ID(job) })
        }
        _ => None,
    })
}

impl FromRow<'_, AnyRow> for Attempt {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            number: int(row.try_get("number")?),
            runner: row.try_get("runner_id")?,
            state: AttemptState::of(row)?,
            reason: row.try_get("reason")?,
            failure_origin: FailureOrigin::read(row, "failure_origin")?,
            loss_cause: LossCause::read(row, "loss_cause")?,
            diff_stat: diff_stat(row)?,
            has_patch: row.try_get::<Option<String>, _>("patch_sha256")?.is_some(),
            assigned_at: DateTime(row.try_get("assigned_at")?),
            started_at: row.try_get::<Option<String>, _>("started_at")?.map(DateTime),
            ended_at: row.try_get::<Option<String>, _>("ended_at")?.map(DateTime),
            log_sealed: row.try_get::<Option<String>, _>("sealed_sha256")?.is_some(),
            log_lines: row.try_get::<Option<i64>, _>("log_lines")?.map(sequence),
            log_bytes: row.try_get::<Option<i64>, _>("log_bytes")?.map(sequence),
            outputs: outputs(row.try_get("outputs")?)?,
            reused: reused(row)?,
            secrets: secrets(&row.try_get::<String, _>("secrets")?)?,
            job_id: row.try_get("job_id")?,
        })
    }
}

fn outputs(json: Option<String>) -> sqlx::Result<Option<Json<serde_json::Value>>> {
    let read = json.map(|json| serde_json::from_str(&json)).transpose();
    read.map(|value| value.map(Json)).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

fn secrets(json: &str) -> sqlx::Result<Vec<AttemptSecret>> {
    let used: Vec<SecretVersion> =
        serde_json::from_str(json).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    Ok(used.into_iter().map(AttemptSecret::from).collect())
}

impl Children for Attempt {
    const VIEW: &'static str = "attempts";
    const PARENT: &'static str = "job_id";
    const ORDER: &'static str = "number";

    fn parent(&self) -> &str {
        &self.job_id
    }
}

#[ComplexObject]
impl Attempt {
    /// The steps that began or were skipped, in order.
    #[graphql(complexity = "5 * child_complexity")]
    async fn steps(&self, ctx: &Context<'_>) -> Result<Vec<AttemptStep>> {
        let mut steps: Vec<AttemptStep> = children(ctx, &self.job_id).await?;
        steps.retain(|step| step.attempt == self.number);
        Ok(steps)
    }
}

/// A step of an attempt.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct AttemptStep {
    /// From 1.
    number: i32,
    /// Or when it was passed over.
    started_at: DateTime,
    /// Whether it did not run, because its `if` says so.
    skipped: bool,
    /// Absent while it runs, and where it was skipped.
    exit_code: Option<i32>,
    duration_ms: Option<Sequence>,
    #[graphql(skip)]
    job_id: String,
    #[graphql(skip)]
    attempt: i32,
}

impl FromRow<'_, AnyRow> for AttemptStep {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            number: int(row.try_get("number")?),
            started_at: DateTime(row.try_get("started_at")?),
            skipped: row.try_get::<i64, _>("skipped")? != 0,
            exit_code: row.try_get::<Option<i64>, _>("exit_code")?.map(int),
            duration_ms: row.try_get::<Option<i64>, _>("duration_ms")?.map(sequence),
            job_id: row.try_get("job_id")?,
            attempt: int(row.try_get("attempt")?),
        })
    }
}

impl Children for AttemptStep {
    const VIEW: &'static str = "steps";
    const PARENT: &'static str = "job_id";
    const ORDER: &'static str = "attempt, number";

    fn parent(&self) -> &str {
        &self.job_id
    }
}
