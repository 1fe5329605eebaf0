//! The step cache: what steps came to, found again by a key that says all that decides it.
//!
//! Owns the shape of what passes between scheduler, cache and runners. A key is made by the scheduler from facts alone; what
//! a runner says came of steps is kept under the key of the job that the runner was given, and under no other. What is in a
//! result is the runners' own affair.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blob::BlobRef;
use crate::id::{ExecutionId, JobId};
use crate::image::ImagePin;

/// What a runner says of a step that ended well: what it and those before it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepResult {
    /// The step, from 1.
    pub step: u32,
    /// What they came to.
    pub result: BlobRef,
    /// What the names of images meant that the ticket said nothing of. Two jobs may have looked at different times: what came
    /// of another image than the one that stands is not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImagePin>,
}

/// What the cache knows of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheEntry {
    /// What the steps came to.
    pub result: BlobRef,
    /// The execution in which they ran.
    pub execution: ExecutionId,
    /// The job.
    pub job: JobId,
}

/// What an attempt need not do again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reuse {
    /// The last step that need not run, from 1; those before it need not either.
    pub step: u32,
    /// What they came to.
    pub result: BlobRef,
    /// The execution in which they ran.
    pub execution: ExecutionId,
    /// The job.
    pub job: JobId,
    /// The images on which they ran. Where a name stands for another by now, all steps run.
    pub images: Vec<ImagePin>,
}
