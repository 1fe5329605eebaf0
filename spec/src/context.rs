//! What templates can know about a job when they are rendered.
//!
//! Owns the shapes; the names under which templates see them are in [`crate::template`]. Every list is in the order
//! given here, so callers sort where order matters.

use events::git::BranchRef;

use crate::definition::Definition;
use crate::output::Outputs;

/// Everything that a template may name. What is not known in a field was refused when the definition was parsed, so
/// the parts that do not apply are left at their defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Context {
    /// The job's repository.
    pub repository: Repository,
    /// The campaign's definition.
    pub batch_change: BatchChange,
    /// The last step that ran; empty before the first.
    pub previous_step: StepResult,
    /// The step that has just ended; only for its own `outputs`.
    pub step: StepResult,
    /// All steps so far.
    pub steps: Steps,
    /// What steps so far handed on.
    pub outputs: Outputs,
    /// Where the batch change is seen; until that is known, [`BATCH_CHANGE_LINK`].
    pub batch_change_link: String,
}

impl Context {
    /// What is known of a workspace before anything runs there.
    pub fn of(definition: &Definition, repository: &str, base_ref: &BranchRef, path: &str) -> Self {
        let repository = Repository {
            name: repository.to_owned(),
            branch: base_ref.short().to_owned(),
            search_result_paths: Vec::new(),
        };
        let batch_change =
            BatchChange { name: definition.name.clone(), description: definition.description.clone() };
        let steps = Steps { path: path.to_owned(), ..Steps::default() };
        Self { repository, batch_change, steps, ..Self::default() }
    }
}

/// What stands for `batch_change_link` in a rendered body until the changeset is created: what a definition would say, so
/// that a reader of the plan knows what will come.
pub const BATCH_CHANGE_LINK: &str = "${{ batch_change_link }}";

/// `repository.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repository {
    /// The full name.
    pub name: String,
    /// The base branch without `refs/heads/`.
    pub branch: String,
    /// The files that the search found, unique and sorted; printed with spaces between them.
    pub search_result_paths: Vec<String>,
}

/// `batch_change.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchChange {
    /// The definition's name.
    pub name: String,
    /// The definition's description.
    pub description: String,
}

/// `previous_step.*` and `step.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepResult {
    /// What the step wrote to standard output.
    pub stdout: String,
    /// What the step wrote to standard error.
    pub stderr: String,
    /// The cumulative changes after the step.
    pub changes: FileChanges,
}

/// `steps.*`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// The cumulative changes of all steps so far.
    pub changes: FileChanges,
    /// The workspace's folder in the repository, empty at the root.
    pub path: String,
}

/// The paths that a diff touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileChanges {
    /// Files with other content.
    pub modified: Vec<String>,
    /// New files.
    pub added: Vec<String>,
    /// Files that are gone.
    pub deleted: Vec<String>,
    /// Files that moved, by their new names.
    pub renamed: Vec<String>,
}
