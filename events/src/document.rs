//! Documents: facts that may be larger than a message, stored as blobs of JSON and named by an event.
//!
//! Owns their shapes. A document is written before the event that names it and never changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blob::BlobRef;
use crate::git::{BranchRef, Oid};
use crate::id::JobId;
use crate::job::DiffStat;
use crate::ticket::Workspace;

/// What an execution's scope resolved to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Scope {
    /// Where jobs will work, each once.
    pub workspaces: Vec<Workspace>,
    /// What was asked for and gets no job.
    pub skipped: Vec<Skipped>,
}

/// What a preview found: what would be an execution's scope, without anything that a job could start from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preview {
    /// Where jobs would work, each once.
    pub places: Vec<Place>,
    /// What was asked for and would get no job.
    pub skipped: Vec<Skipped>,
}

/// Where a job would work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The repository's name as users know it.
    pub repository: String,
    /// Where it is cloned from.
    pub url: String,
    /// The branch that a changeset would target.
    pub base_ref: BranchRef,
    /// The commit that the branch pointed at.
    pub base_oid: Oid,
    /// The folder inside the repository, without slashes at its ends; empty at the root.
    pub path: String,
}

impl Place {
    /// The workspace of a job that starts from the files in `source`.
    pub fn with(self, source: BlobRef) -> Workspace {
        let Self { repository, url, base_ref, base_oid, path } = self;
        Workspace { repository, url, base_ref, base_oid, path, source }
    }
}

/// A repository that gets no job, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {
    /// The repository's name, or what was given where none could be made out.
    pub repository: String,
    /// Why.
    pub reason: SkipReason,
    /// The same in words, with what to do about it.
    pub message: String,
}

/// Why a repository gets no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// It could not be reached or read. Counts as failed: the user asked for it and did not get it.
    Unreachable,
    /// It has no commits.
    Empty,
    /// It has no default branch, or not the branch that was asked for.
    NoBranch,
    /// A `.batchignore` at its root keeps it out.
    Ignored,
    /// No folder holds the file at which `workspaces` puts the roots.
    NoWorkspace,
    /// The `if` of every step says that it does not run there.
    NoSteps,
    /// Two entries of `workspaces` claim it. Counts as failed: nobody can tell what is wanted.
    TwoRules,
}

impl SkipReason {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Empty => "empty",
            Self::NoBranch => "no_branch",
            Self::Ignored => "ignored",
            Self::NoWorkspace => "no_workspace",
            Self::NoSteps => "no_steps",
            Self::TwoRules => "two_rules",
        }
    }

    /// Whether the execution counts it as failed.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Unreachable | Self::TwoRules)
    }
}

/// What a plan would publish, and what it could not take in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// One for each pull request to be, ordered by repository and branch.
    pub changeset_specs: Vec<ChangesetSpec>,
    /// Jobs that gave no patch because they did not succeed, and repositories that could not be reached.
    pub missing: Vec<Missing>,
    /// Repositories where there was nothing to change.
    pub unchanged: Vec<Unchanged>,
    /// Changesets that exist already and are to be tracked, in the order of the definition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<Import>,
}

/// A changeset that exists already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Import {
    /// The repository, as the definition names it.
    pub repository: String,
    /// Its name on the code host, as the number of a pull request.
    pub external_id: String,
}

/// What one pull request would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChangesetSpec {
    /// The job that made the patch.
    pub job: JobId,
    /// The repository.
    pub repository: String,
    /// Where it is cloned from.
    pub url: String,
    /// The branch that it targets.
    pub base_ref: BranchRef,
    /// The commit that the patch applies to.
    pub base_oid: Oid,
    /// The branch that it is pushed to.
    pub head_ref: BranchRef,
    /// The title.
    pub title: String,
    /// The description, Markdown; may be empty.
    pub body: String,
    /// The commit's message.
    pub message: String,
    /// The commit's author, as `Name <email>`; absent: the one configured for publishing.
    pub author: Option<String>,
    /// Whether it is pushed to a fork; absent: as the server does.
    #[serde(default)]
    pub fork: Option<bool>,
    /// What happens to it by itself.
    #[serde(default)]
    pub publication: Publication,
    /// The changes.
    pub patch: BlobRef,
    /// Their size.
    pub diff_stat: DiffStat,
}

/// What happens to a changeset by itself: its `published` in the definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Publication {
    /// Nobody said: decided by hand.
    #[default]
    Undecided,
    /// It stays unpublished.
    Unpublished,
    /// It is published as a draft.
    Draft,
    /// It is published.
    Published,
}

impl Publication {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Unpublished => "unpublished",
            Self::Draft => "draft",
            Self::Published => "published",
        }
    }
}

/// A repository that should be in the plan and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missing {
    /// The job; absent where the repository did not even get one.
    pub job: Option<JobId>,
    /// The repository.
    pub repository: String,
    /// Why, in words.
    pub reason: String,
}

/// A repository that is as the action wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unchanged {
    /// The job that found nothing to change; absent where the repository was skipped.
    pub job: Option<JobId>,
    /// The repository.
    pub repository: String,
    /// Why, in words.
    pub reason: String,
}
