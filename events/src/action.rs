//! Actions: what to change, with every revision kept.
//!
//! Owns the history of a definition. Never reads the definition itself: whether it makes sense is `spec`'s to say,
//! before a command gets here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blob::BlobRef;
use crate::event::event_types;
use crate::rejection::{Code, Rejection};

/// An action's definition as its user wrote it. The text is what is pinned: every reader parses it again and gets the
/// same result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Definition {
    /// The name of the file, for messages about it.
    pub file_name: String,
    /// The text of the file.
    pub source: String,
    /// What the user gave beside the file.
    #[serde(default)]
    pub given: Given,
    /// The files that its steps mount, as one archive of kind `files`; absent where none mounts any.
    #[serde(default)]
    pub files: Option<Box<BlobRef>>,
}

/// What a legacy action file cannot say and its user gives instead. Empty for a batch spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Given {
    /// The action's name.
    pub name: Option<String>,
    /// The changesets' branch.
    pub branch: Option<String>,
    /// The changesets' title.
    pub title: Option<String>,
    /// The changesets' description.
    pub body: Option<String>,
    /// The commits' message.
    pub message: Option<String>,
}

event_types! {
    /// The action exists, with its first revision.
    Created = "created" / 2,
    /// The action has a new definition; executions of earlier revisions keep theirs.
    Revised = "revised" / 2,
    /// The action runs no more.
    Archived = "archived" / 1,
}

/// The payload of `action.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// Its name, unique and never changed.
    pub name: String,
    /// Revision 1.
    pub definition: Definition,
}

/// The payload of `action.revised`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revised {
    /// The new revision, one more than the last.
    pub revision: u32,
    /// Its definition.
    pub definition: Definition,
}

/// The payload of `action.archived`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Archived {}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// The newest revision; 0 before the first.
    pub revision: u32,
    /// The name; empty before the first revision.
    pub name: String,
    /// The newest definition.
    pub definition: Option<Definition>,
    /// Whether it runs no more.
    pub archived: bool,
}

/// What can be asked of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make this the newest definition, and the action if there is none.
    Apply {
        /// The action's name.
        name: String,
        /// The definition.
        definition: Definition,
    },
    /// Let it run no more.
    Archive,
}

/// Decides what a command means for an action in this state.
pub fn decide(action: &Action, command: Command) -> Result<Option<Event>, Rejection> {
    match command {
        Command::Apply { .. } if action.archived => Err(Rejection::new(
            Code::ActionArchived,
            format!("the action `{}` is archived", action.name),
            "Give the definition another name.",
        )),
        Command::Apply { definition, .. } if action.definition.as_ref() == Some(&definition) => Ok(None),
        Command::Apply { name, definition } if action.revision == 0 => {
            Ok(Some(Created { name, definition }.into()))
        }
        Command::Apply { definition, .. } => {
            Ok(Some(Revised { revision: action.revision.saturating_add(1), definition }.into()))
        }
        Command::Archive if action.revision == 0 => Err(Rejection::new(
            Code::NotFound,
            "there is no such action",
            "`patchwave action list` shows the actions there are.",
        )),
        Command::Archive if action.archived => Ok(None),
        Command::Archive => Ok(Some(Archived {}.into())),
    }
}

/// Takes an event in.
pub fn evolve(mut action: Action, event: &Event) -> Action {
    match event {
        Event::Created(created) => {
            action.revision = 1;
            action.name.clone_from(&created.name);
            action.definition = Some(created.definition.clone());
        }
        Event::Revised(revised) => {
            action.revision = revised.revision;
            action.definition = Some(revised.definition.clone());
        }
        Event::Archived(Archived {}) => action.archived = true,
    }
    action
}
