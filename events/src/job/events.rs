//! What can happen to a job.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Limit;
use crate::Timestamp;
use crate::blob::BlobRef;
use crate::event::event_types;
use crate::id::{ExecutionId, JobId, RunnerId};
use crate::log::LogEnd;
use crate::secret::SecretVersion;
use crate::ticket::Workspace;

event_types! {
    /// The job waits for a runner.
    Queued = "queued" / 1,
    /// A runner was chosen for the next attempt.
    Assigned = "assigned" / 1,
    /// The runner began to work on the attempt.
    Started = "started" / 1,
    /// A step of the attempt began.
    StepStarted = "step_started" / 1,
    /// A step of the attempt ended.
    StepFinished = "step_finished" / 1,
    /// A step of the attempt does not run: its `if` says so.
    StepSkipped = "step_skipped" / 1,
    /// Steps of the attempt do not run again: what they came to in an earlier job was taken from there.
    StepsReused = "steps_reused" / 1,
    /// The attempt ended well, and with it the job.
    Succeeded = "succeeded" / 2,
    /// The attempt failed, and with it the job.
    Failed = "failed" / 3,
    /// The attempt was lost through no fault of the job, which waits for the next.
    Lost = "lost" / 2,
    /// The attempt came back before it began, which is no loss: its runner takes no jobs any more.
    Returned = "returned" / 1,
    /// The attempt, or a step of it, reached its wall-clock limit, and with it the job ended.
    TimedOut = "timed_out" / 2,
    /// The job waited for a runner as long as it may, and ended.
    QueueTimedOut = "queue_timed_out" / 1,
    /// Somebody wants the job to stop.
    CancelRequested = "cancel_requested" / 1,
    /// The job was stopped.
    Canceled = "canceled" / 2,
    /// Somebody wants another attempt after the end; earlier attempts stay readable.
    Retried = "retried" / 1,
    /// The attempt's log is stored as one blob.
    LogSealed = "log_sealed" / 1,
}

/// The payload of `job.queued`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queued {
    /// Where it works.
    pub workspace: Workspace,
}

/// The payload of `job.assigned`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assigned {
    /// The attempt, from 1.
    pub attempt: u32,
    /// The runner.
    pub runner: RunnerId,
    /// Which values the steps get of the secrets that they ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretVersion>,
}

/// The payload of `job.started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Started {
    /// The attempt.
    pub attempt: u32,
}

/// The payload of `job.step_started`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepStarted {
    /// The attempt.
    pub attempt: u32,
    /// The step, from 1.
    pub step: u32,
}

/// The payload of `job.step_finished`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepFinished {
    /// The attempt.
    pub attempt: u32,
    /// The step, from 1.
    pub step: u32,
    /// The exit code; 128 plus the signal's number for a killed process.
    pub exit_code: i64,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
}

/// The payload of `job.step_skipped`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepSkipped {
    /// The attempt.
    pub attempt: u32,
    /// The step, from 1.
    pub step: u32,
}

/// The payload of `job.steps_reused`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepsReused {
    /// The attempt.
    pub attempt: u32,
    /// The last of them, from 1: it and those before it do not run.
    pub step: u32,
    /// The execution in which they ran.
    pub execution: ExecutionId,
    /// The job in which they ran.
    pub job: JobId,
}

/// What the steps of a job hand on, by name: what `outputs` in the definition says, read as text, JSON or YAML. At most 64 KiB
/// all together.
pub type Outputs = BTreeMap<String, serde_json::Value>;

/// The payload of `job.succeeded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Succeeded {
    /// The attempt.
    pub attempt: u32,
    /// The changes, as `git apply` reads them; absent when there are none.
    pub patch: Option<BlobRef>,
    /// Their size.
    pub diff_stat: DiffStat,
    /// What the steps hand on to the changeset template, by name.
    #[serde(default, skip_serializing_if = "Outputs::is_empty")]
    pub outputs: Outputs,
    /// What the log must amount to.
    pub log: LogEnd,
}

/// How large a patch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiffStat {
    /// Files that it touches.
    pub files: u32,
    /// Lines that it adds; binary files count none.
    pub insertions: u64,
    /// Lines that it removes; binary files count none.
    pub deletions: u64,
}

/// The payload of `job.failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// The attempt.
    pub attempt: u32,
    /// Why.
    pub failure: Failure,
    /// Whose doing it is. What is the job's own is never tried again by itself.
    pub origin: FailureOrigin,
    /// What the log must amount to; absent when the runner was lost with it.
    pub log: Option<LogEnd>,
}

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureOrigin {
    /// The job's own: a step, the definition, a limit. Another attempt would most likely end the same.
    Job,
    /// That of what it ran on or was to run on: runners, their disks, the container engine, a registry.
    Infrastructure,
}

impl FailureOrigin {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Infrastructure => "infrastructure",
        }
    }
}

/// Why a job failed, in words that a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// What kind of thing went wrong.
    pub kind: FailureKind,
    /// The step, from 1; absent outside of any step.
    pub step: Option<u32>,
    /// The step's exit code, where it had one.
    pub exit_code: Option<i64>,
    /// The limit that was reached; absent where it was none.
    pub limit: Option<Limit>,
    /// What happened.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// A step ended with another code than 0.
    StepExit,
    /// A template could not be rendered.
    Template,
    /// The step's image does not exist, cannot be pulled or has no shell.
    Image,
    /// The repository's files cannot be what the job needs.
    Workspace,
    /// A secret is not set, cannot be opened, or would be part of the patch.
    Secret,
    /// Its runners were lost, again and again.
    Lost,
    /// The processes wanted more memory than they may have.
    OutOfMemory,
    /// Another limit was reached.
    Limit,
    /// What it ran on did not work, again and again: the container engine, a registry, the runner's disk.
    Infrastructure,
}

impl FailureKind {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StepExit => "step_exit",
            Self::Template => "template",
            Self::Image => "image",
            Self::Workspace => "workspace",
            Self::Secret => "secret",
            Self::Lost => "lost",
            Self::OutOfMemory => "out_of_memory",
            Self::Limit => "limit",
            Self::Infrastructure => "infrastructure",
        }
    }

    /// Whose doing it is.
    pub const fn origin(self) -> FailureOrigin {
        match self {
            Self::StepExit
            | Self::Template
            | Self::Image
            | Self::Workspace
            | Self::Secret
            | Self::OutOfMemory
            | Self::Limit => FailureOrigin::Job,
            Self::Lost | Self::Infrastructure => FailureOrigin::Infrastructure,
        }
    }
}

/// The payload of `job.lost`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// The attempt.
    pub attempt: u32,
    /// The runner that had it.
    pub runner: RunnerId,
    /// What took it.
    pub cause: LossCause,
    /// Why, in words for an operator.
    pub reason: String,
    /// When the next attempt may begin; absent: at once.
    pub retry_at: Option<Timestamp>,
}

/// What took an attempt away, through no fault of the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LossCause {
    /// Its runner went silent, was restarted, or no longer has it.
    Runner,
    /// What the runner needs did not work: the container engine, a registry, the disk.
    #[default]
    Infrastructure,
    /// Its runner was asked to stop and handed it back: not counted as a loss.
    Drained,
}

impl LossCause {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Runner => "runner",
            Self::Infrastructure => "infrastructure",
            Self::Drained => "drained",
        }
    }
}

/// The payload of `job.returned`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Returned {
    /// The attempt.
    pub attempt: u32,
    /// The runner that had it.
    pub runner: RunnerId,
    /// Why, in words for an operator.
    pub reason: String,
}

/// The payload of `job.timed_out`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimedOut {
    /// The attempt.
    pub attempt: u32,
    /// The limit that was reached, in milliseconds.
    pub limit_ms: u64,
    /// The step whose limit it was, from 1; absent: the whole attempt's.
    pub step: Option<u32>,
    /// What the log must amount to.
    pub log: LogEnd,
}

/// The payload of `job.queue_timed_out`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueTimedOut {
    /// The limit that was reached, in milliseconds.
    pub limit_ms: u64,
    /// What it waited for, in words.
    pub reason: String,
}

/// The payload of `job.cancel_requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequested {}

/// The payload of `job.canceled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Canceled {
    /// The attempt that was stopped; absent if none was under way.
    pub attempt: Option<u32>,
    /// What its log must amount to; absent without an attempt, and when the runner was lost with it.
    pub log: Option<LogEnd>,
}

/// The payload of `job.retried`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Retried {}

/// The payload of `job.log_sealed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogSealed {
    /// The attempt.
    pub attempt: u32,
    /// The sealed log.
    pub blob: BlobRef,
    /// What is in it.
    pub log: LogEnd,
}
