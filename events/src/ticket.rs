//! What the scheduler tells a runner: tickets and control messages.
//!
//! Owns the shape of the WORK stream. A ticket holds all that a runner needs; it never points at another service.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::action::Definition;
use crate::blob::BlobRef;
use crate::git::{BranchRef, Oid};
use crate::id::{ExecutionId, JobId};
use crate::image::ImagePin;
use crate::secret::{Sealed, SecretName, SecretVersion};
use crate::step_cache::Reuse;

/// One attempt at one job, given to one runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ticket {
    /// The execution that the job belongs to.
    pub execution: ExecutionId,
    /// The job.
    pub job: JobId,
    /// The attempt, from 1: the fence. A report that carries another number changes nothing.
    pub attempt: u32,
    /// The pinned definition, parsed again by the runner.
    pub definition: Definition,
    /// Where the job works.
    pub workspace: Workspace,
    /// The wall-clock limit of the attempt in milliseconds.
    pub timeout_ms: u64,
    /// The secrets that its steps ask for, as far as they are set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<TicketSecret>,
    /// What the names of images mean for the execution, as far as that is known. The runner uses these and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImagePin>,
    /// The steps that need not run again, if there are such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Reuse")]
    pub reuse: Option<Reuse>,
}

impl Ticket {
    /// What a secret of the ticket is sealed for: it opens as this secret of this attempt and as nothing else.
    pub fn secret_purpose(&self, name: &SecretName) -> String {
        format!("{} attempt {} {name}", self.job, self.attempt)
    }
}

/// A secret for one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TicketSecret {
    /// Which value it is.
    pub secret: SecretVersion,
    /// The value, sealed to the runner; absent when the scheduler has no key that opens it.
    pub sealed: Option<Sealed>,
}

/// A place in a repository where a job works: what a job is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workspace {
    /// The repository's name as users know it.
    pub repository: String,
    /// Where it is cloned from: identity and display only, a runner never connects there.
    pub url: String,
    /// The branch that a changeset would target.
    pub base_ref: BranchRef,
    /// The commit that the branch pointed at when the scope was resolved.
    pub base_oid: Oid,
    /// The folder inside the repository, without slashes at its ends; empty at the root.
    pub path: String,
    /// The files of the commit, as a git packfile.
    pub source: BlobRef,
}

/// What overtakes the tickets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Control {
    /// The attempt is no longer this runner's: stop it and say nothing.
    Abandon {
        /// The job.
        job: JobId,
        /// The attempt that was taken away.
        attempt: u32,
    },
    /// Nothing new will come: finish what you run, give back the tickets that are in your queue, and leave.
    Drain {
        /// The start of the process that is meant: a runner that was started again takes jobs again.
        incarnation: Uuid,
    },
    /// Somebody wants the job to stop: end what runs and say so. It may overtake the attempt's ticket.
    Cancel {
        /// The job.
        job: JobId,
        /// The attempt that is to stop.
        attempt: u32,
    },
}
