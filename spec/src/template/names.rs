//! The names of a template's world: which variables there are, what they hold, and where they are known.
//!
//! Owns the table; a variable that a later version supports is one entry here.

use std::collections::BTreeSet;

/// A template's field: it decides which variables are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A field of a step.
    Step,
    /// The value of one of a step's outputs, the only field that is rendered once the step has ended.
    Output,
    /// A field of the changeset template.
    Changeset,
    /// The changeset template's body, the only field that is rendered once the campaign exists.
    Body,
}

/// What a template may name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed<'o> {
    pub(crate) place: Place,
    /// The outputs that earlier steps set.
    pub(crate) outputs: &'o BTreeSet<String>,
}

/// How much is known when a template is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// What the definition says.
    Definition,
    /// Also where it runs: the repository and the workspace's path.
    Workspace,
    /// Everything.
    All,
}

/// A variable: the first part of a dotted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Root {
    Repository,
    BatchChange,
    PreviousStep,
    Step,
    Steps,
    Outputs,
    BatchChangeLink,
}

/// A name of the language and its meaning.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// What it stands for.
    pub(super) root: Root,
    /// Where it is known.
    places: &'static [Place],
    /// The same in words.
    pub(super) known_in: &'static str,
}

const EVERYWHERE: &[Place] = &[Place::Step, Place::Output, Place::Changeset, Place::Body];

const ENTRIES: &[Entry] = &[
    Entry { name: "repository", root: Root::Repository, places: EVERYWHERE, known_in: "everywhere" },
    Entry { name: "batch_change", root: Root::BatchChange, places: EVERYWHERE, known_in: "everywhere" },
    Entry {
        name: "previous_step",
        root: Root::PreviousStep,
        places: &[Place::Step, Place::Output],
        known_in: "the fields of a step",
    },
    Entry { name: "step", root: Root::Step, places: &[Place::Output], known_in: "`outputs` of a step" },
    Entry { name: "steps", root: Root::Steps, places: EVERYWHERE, known_in: "everywhere" },
    Entry { name: "outputs", root: Root::Outputs, places: EVERYWHERE, known_in: "everywhere" },
    Entry {
        name: "batch_change_link",
        root: Root::BatchChangeLink,
        places: &[Place::Body],
        known_in: "the body of the changeset template",
    },
];

/// The entry of a name.
pub(super) fn entry(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// Every variable that can be used in a place.
pub(super) fn known(place: Place) -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().filter(move |entry| entry.is_known(place)).map(|entry| entry.name)
}

impl Entry {
    /// Whether the variable can be used in a place.
    pub(super) fn is_known(&self, place: Place) -> bool {
        self.places.contains(&place)
    }
}

impl Known {
    /// Whether a field of a variable is known.
    pub(super) fn covers(self, root: Root, field: &str) -> bool {
        match (self, root) {
            (Self::All, _) | (_, Root::BatchChange) => true,
            (Self::Workspace, Root::Repository) => true,
            (Self::Workspace, Root::Steps) => field == "path",
            _ => false,
        }
    }
}

impl Root {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::BatchChange => "batch_change",
            Self::PreviousStep => "previous_step",
            Self::Step => "step",
            Self::Steps => "steps",
            Self::Outputs => "outputs",
            Self::BatchChangeLink => "batch_change_link",
        }
    }

    /// The names of what it holds; none where they are the definition's own, or where it is a text.
    pub(crate) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Repository => &["name", "branch", "search_result_paths"],
            Self::BatchChange => &["name", "description"],
            Self::PreviousStep | Self::Step => {
                &["stdout", "stderr", "modified_files", "added_files", "deleted_files", "renamed_files"]
            }
            Self::Steps => &["modified_files", "added_files", "deleted_files", "renamed_files", "path"],
            Self::Outputs | Self::BatchChangeLink => &[],
        }
    }
}
