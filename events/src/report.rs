//! What a runner says happened: reports.
//!
//! Owns the shape of the REPORTS stream, of which a message is a list of reports on one attempt. A report is not a
//! fact: the scheduler checks it against the attempt that it gave out and appends the fact, or drops what comes too
//! late.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::blob::BlobRef;
use crate::id::{ExecutionId, JobId};
use crate::image::ImagePin;
use crate::job::{DiffStat, Failure, LossCause, Outputs};
use crate::log::LogEnd;
use crate::step_cache::StepResult;

/// One thing that happened in one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The execution that the job belongs to.
    pub execution: ExecutionId,
    /// The job.
    pub job: JobId,
    /// The attempt that the runner was given.
    pub attempt: u32,
    /// From 1 in each attempt, without a gap.
    pub number: u32,
    /// When it happened, by the runner's clock.
    pub time: Timestamp,
    /// What happened.
    pub what: What,
}

/// What happened. `Succeeded`, `Failed`, `TimedOut`, `Canceled` and `Abandoned` are final; they are sent only after every
/// chunk of the log is stored. `Returned` is the only report of its attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum What {
    /// The runner began to work on it.
    Started,
    /// The names of images that the ticket says nothing of mean these.
    Images {
        /// Each name once.
        images: Vec<ImagePin>,
    },
    /// A step began.
    StepStarted {
        /// From 1.
        step: u32,
    },
    /// A step's process ended.
    StepFinished {
        /// From 1.
        step: u32,
        /// The exit code; 128 plus the signal's number for a killed process.
        exit_code: i64,
        /// How long it ran, in milliseconds.
        duration_ms: u64,
    },
    /// A step does not run: its `if` says so.
    StepSkipped {
        /// From 1.
        step: u32,
    },
    /// Steps do not run again: they ran in an earlier job, and what they came to was taken from there.
    Reused {
        /// The last of them, from 1.
        step: u32,
        /// The execution in which they ran.
        execution: ExecutionId,
        /// The job.
        job: JobId,
    },
    /// All steps ended with 0.
    Succeeded {
        /// The changes; absent when there are none.
        patch: Option<BlobRef>,
        /// Their size.
        diff_stat: DiffStat,
        /// What the steps hand on to the changeset template, by name.
        #[serde(default, skip_serializing_if = "Outputs::is_empty")]
        outputs: Outputs,
        /// What the steps came to, as far as it is kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        results: Vec<StepResult>,
        /// What the log must amount to.
        log: LogEnd,
    },
    /// A step or the definition failed. The user's to mend.
    Failed {
        /// Why.
        failure: Failure,
        /// What the steps before came to, as far as it is kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        results: Vec<StepResult>,
        /// What the log must amount to.
        log: LogEnd,
    },
    /// A wall-clock limit was reached and everything was stopped.
    TimedOut {
        /// The limit in milliseconds.
        limit_ms: u64,
        /// The step whose limit it was, from 1; absent: the whole attempt's.
        step: Option<u32>,
        /// What the steps before came to, as far as it is kept.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        results: Vec<StepResult>,
        /// What the log must amount to.
        log: LogEnd,
    },
    /// It was to stop, and everything was stopped.
    Canceled {
        /// What the log must amount to.
        log: LogEnd,
    },
    /// The runner cannot finish it through no fault of the job: it restarted, the engine went away, the disk is full.
    Abandoned {
        /// What took it. A runner that says nothing of it speaks of the infrastructure.
        #[serde(default)]
        cause: LossCause,
        /// Why, in words for an operator.
        reason: String,
        /// What the log must amount to.
        log: LogEnd,
    },
    /// The runner never began to work on it and does not want to: it drains.
    Returned {
        /// Why, in words for an operator.
        reason: String,
    },
}

impl What {
    /// What the steps came to, where the end says so.
    pub fn results(&self) -> &[StepResult] {
        match self {
            Self::Succeeded { results, .. }
            | Self::Failed { results, .. }
            | Self::TimedOut { results, .. } => results,
            _ => &[],
        }
    }
}
