//! The names of a template's world: which variables there are, what they hold, and where they are known.
//!
//! Owns the table; a variable that a later version supports is one entry here.

/// A template's field: it decides which variables are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A field of a step.
    Step,
    /// A field of the changeset template.
    Changeset,
    /// The changeset template's body, the only field that is rendered once the campaign exists.
    Body,
}

/// A variable: the first part of a dotted name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    Repository,
    BatchChange,
    PreviousStep,
    Steps,
}

/// Whether a variable can be used in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Availability {
    Known,
    /// It is known elsewhere; says where.
    Elsewhere(&'static str),
    /// It belongs to a part of the language that is yet to come.
    NotYet,
}

/// A name of the language and its meaning.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// What it stands for; absent for names that are yet to come.
    pub(super) root: Option<Root>,
    /// Where it is known.
    places: &'static [Place],
    /// The same in words.
    known_in: &'static str,
}

const EVERYWHERE: &[Place] = &[Place::Step, Place::Changeset, Place::Body];

const ENTRIES: &[Entry] = &[
    Entry { name: "repository", root: Some(Root::Repository), places: EVERYWHERE, known_in: "everywhere" },
    Entry { name: "batch_change", root: Some(Root::BatchChange), places: EVERYWHERE, known_in: "everywhere" },
    Entry {
        name: "previous_step",
        root: Some(Root::PreviousStep),
        places: &[Place::Step],
        known_in: "the fields of a step",
    },
    Entry { name: "steps", root: Some(Root::Steps), places: EVERYWHERE, known_in: "everywhere" },
    Entry { name: "outputs", root: None, places: EVERYWHERE, known_in: "everywhere" },
    Entry { name: "step", root: None, places: &[], known_in: "`outputs` of a step" },
    Entry {
        name: "batch_change_link",
        root: None,
        places: &[Place::Body],
        known_in: "the body of the changeset template",
    },
];

/// The entry of a name.
pub(super) fn entry(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name)
}

/// Every variable that can be used in a place today.
pub(super) fn known(place: Place) -> impl Iterator<Item = &'static str> {
    ENTRIES
        .iter()
        .filter(move |entry| entry.availability(place) == Availability::Known)
        .map(|entry| entry.name)
}

impl Entry {
    /// Whether the variable can be used in a place.
    pub(super) fn availability(&self, place: Place) -> Availability {
        if !self.places.contains(&place) {
            Availability::Elsewhere(self.known_in)
        } else if self.root.is_none() {
            Availability::NotYet
        } else {
            Availability::Known
        }
    }
}

impl Root {
    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::BatchChange => "batch_change",
            Self::PreviousStep => "previous_step",
            Self::Steps => "steps",
        }
    }

    /// The names of what it holds.
    pub(super) const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Repository => &["name", "branch", "search_result_paths"],
            Self::BatchChange => &["name", "description"],
            Self::PreviousStep => {
                &["stdout", "stderr", "modified_files", "added_files", "deleted_files", "renamed_files"]
            }
            Self::Steps => &["modified_files", "added_files", "deleted_files", "renamed_files", "path"],
        }
    }
}
