//! Action definitions: from the text of a file to one typed definition, and from its templates to text.
//!
//! Owns what a definition may say (batch specs and legacy action files), every error message about one, and the
//! template language. Pure: it never reads a file, a clock or the environment, so the same source always gives the
//! same definition. Invariant: whatever the text and whatever the templates, parsing and rendering end, within fixed
//! bounds on time and memory, and never panic.

mod changeset;
mod context;
mod definition;
mod diagnostic;
mod document;
mod reading;
mod settings;
mod source;
mod template;
mod text;

pub use changeset::{
    Author, Changeset, ChangesetAuthor, ChangesetTemplate, Publication, PublicationRule, Published,
};
pub use context::{BatchChange, Context, FileChanges, Repository, StepResult, Steps};
pub use definition::{Action, Container, Definition, Kind, Mount, MountRefusal, Parsed, Scope, Step};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Severity};
pub use settings::{Limits, Network, OnLogLimit, Settings};
pub use source::{DEFAULT_COMMAND_IMAGE, Given, Source};
pub use template::{RenderError, RenderFault, Template};

/// Reads a definition and says everything that is wrong with it at once.
pub fn parse(source: &Source<'_>) -> Result<Parsed, Diagnostics> {
    reading::read(source, &|_| None)
}

/// The same for whoever knows the files beside the definition: `refuse` says of each mount why it cannot be, if it cannot.
pub fn parse_with_files(
    source: &Source<'_>,
    refuse: &dyn Fn(&Mount) -> Option<MountRefusal>,
) -> Result<Parsed, Diagnostics> {
    reading::read(source, refuse)
}

/// Reads limits as a definition says them below `patchwave.limits`, for a site that says them too: `{ memory: 2GiB }`.
/// `name` is what errors call the text.
pub fn parse_limits(name: &str, text: &str) -> Result<Limits, Diagnostics> {
    reading::read_limits(name, text)
}
