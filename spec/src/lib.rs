//! Action definitions: from the text of a file to one typed definition, and from its templates to text.
//!
//! Owns what a definition may say (batch specs and legacy action files), every error message about one, and the
//! template language. Pure: it never reads a file, a clock or the environment, so the same source always gives the
//! same definition. Invariant: whatever the text and whatever the templates, parsing and rendering end, within fixed
//! bounds on time and memory, and never panic.

mod cache;
mod changeset;
mod context;
mod definition;
mod diagnostic;
mod document;
mod output;
mod reading;
mod schema;
mod segments;
mod settings;
mod source;
mod static_if;
mod template;
mod text;
mod transform;
mod workspaces;

pub use cache::{CacheFacts, JobFacts, StepFacts};
pub use changeset::{Author, Changeset, ChangesetAuthor, ChangesetTemplate, PublicationRule, Published};
pub use context::{BATCH_CHANGE_LINK, BatchChange, Context, FileChanges, Repository, StepResult, Steps};
pub use definition::{Action, Container, Definition, Import, Kind, Mount, Parsed, Refusal, Scope, Step};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Severity};
pub use output::{Output, OutputError, OutputFormat, OutputValue, Outputs};
pub use schema::{ACTION_FILE_SCHEMA, BATCH_SPEC_SCHEMA};
pub use settings::{Limits, Network, OnLogLimit, Registry, Settings};
pub use source::{Beside, DEFAULT_COMMAND_IMAGE, Given, Source};
pub use static_if::{Decision, NO_STEPS};
pub use template::{Glob, RenderError, RenderFault, Template};
pub use transform::{Group, Share, TransformChanges};
pub use workspaces::{TwoRules, WorkspaceRule, within};

/// Reads a definition and says everything that is wrong with it at once.
pub fn parse(source: &Source<'_>) -> Result<Parsed, Diagnostics> {
    reading::read(source, &Beside::default())
}

/// The same for whoever knows more than the text.
pub fn parse_beside(source: &Source<'_>, beside: &Beside<'_>) -> Result<Parsed, Diagnostics> {
    reading::read(source, beside)
}

/// Reads limits as a definition says them below `patchwave.limits`, for a site that says them too: `{ memory: 2GiB }`.
/// `name` is what errors call the text.
pub fn parse_limits(name: &str, text: &str) -> Result<Limits, Diagnostics> {
    reading::read_limits(name, text)
}
