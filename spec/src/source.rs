//! What a definition is made from: a text and what its user gave beside it.
//!
//! Owns the input of [`crate::parse`]; never where the text came from.

pub use events::action::Given;

use crate::definition::{Definition, Mount, Refusal};

/// The image in which a legacy `command` step runs where nobody chose another.
pub const DEFAULT_COMMAND_IMAGE: &str = "ubuntu";

/// The text of an action definition and what is needed to read it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The name of the file, for messages; its ending tells JSON from YAML.
    pub file_name: &'a str,
    /// The text of the file.
    pub text: &'a str,
    /// What the user gave beside the file; refused for a batch spec, which says it itself.
    ///
    /// A legacy action file needs a name and a branch. Without a title it has its name as one, without a message its
    /// title, without a body none.
    pub given: &'a Given,
    /// The image in which a legacy `command` step runs.
    pub command_image: &'a str,
}

impl<'a> From<&'a events::action::Definition> for Source<'a> {
    fn from(definition: &'a events::action::Definition) -> Self {
        Self {
            file_name: &definition.file_name,
            text: &definition.source,
            given: &definition.given,
            command_image: DEFAULT_COMMAND_IMAGE,
        }
    }
}

/// What whoever reads a definition knows beside its text.
#[derive(Clone, Copy)]
pub struct Beside<'a> {
    /// Says of each mount why it cannot be, if it cannot: for whoever knows the files.
    pub mount: &'a dyn Fn(&Mount) -> Option<Refusal>,
    /// What the definition takes the place of.
    pub previous: Option<&'a Definition>,
}

impl Default for Beside<'_> {
    fn default() -> Self {
        Self { mount: &|_| None, previous: None }
    }
}
