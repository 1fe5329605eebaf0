//! The typed definition: what an action says, whichever format said it.
//!
//! Owns the shape only. Everything in it was checked by [`crate::parse`]; what depends on a repository is a
//! [`Template`] and is checked when it is rendered.

use std::collections::BTreeSet;
use std::time::Duration;

use events::secret::SecretName;

use crate::changeset::ChangesetTemplate;
use crate::diagnostic::Diagnostic;
use crate::output::Output;
use crate::settings::Settings;
use crate::template::Template;
use crate::transform::TransformChanges;
use crate::workspaces::WorkspaceRule;

/// A definition without errors, and what its user should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The definition.
    pub definition: Definition,
    /// What is accepted but should be written differently, in the order of the text.
    pub warnings: Vec<Diagnostic>,
}

/// What an action does, to which repositories, and what becomes of the changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The format that it came from.
    pub kind: Kind,
    /// The action's name: ASCII letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// What it is for, in Markdown; empty where nothing is said.
    pub description: String,
    /// Which repositories, in the order in which later entries replace earlier ones.
    pub on: Vec<Scope>,
    /// Which folders of which repositories are workspaces of their own.
    pub workspaces: Vec<WorkspaceRule>,
    /// What runs in each workspace, in order.
    pub steps: Vec<Step>,
    /// Which changes become changesets of their own.
    pub transform_changes: TransformChanges,
    /// Changesets that exist already and are to be tracked, each once.
    pub import_changesets: Vec<Import>,
    /// What becomes of the changes; always present where there are steps.
    pub changeset_template: Option<ChangesetTemplate>,
    /// Where and when its jobs run, and how much each may take.
    pub settings: Settings,
}

impl Definition {
    /// Every mount of every step, in order.
    pub fn mounts(&self) -> impl Iterator<Item = &Mount> {
        self.steps.iter().flat_map(|step| &step.mounts)
    }

    /// The secrets that its steps and the registries of their images ask for, each once.
    pub fn secrets(&self) -> BTreeSet<&SecretName> {
        let logins = self.settings.registries.iter().map(|registry| &registry.password);
        self.steps.iter().flat_map(|step| &step.secrets).chain(logins).collect()
    }
}

/// The format of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A batch spec (`.batch.yaml`).
    BatchSpec {
        /// Its version, 1 to 3. From 2 on, queries search by keyword unless they say otherwise.
        version: u8,
    },
    /// A legacy action file (`action.json`).
    Legacy,
}

/// One entry of `on`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The repositories that a search finds.
    Query {
        /// The search.
        query: String,
    },
    /// One repository by its name.
    Repository {
        /// The full name.
        name: String,
        /// Branches as they are written, each once; empty: the default branch.
        branches: Vec<String>,
    },
}

/// A changeset that exists already.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Import {
    /// The repository as the definition names it.
    pub repository: String,
    /// Its name on the code host, as the number of a pull request.
    pub external_id: String,
}

/// One step: a container and what runs in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Where it runs.
    pub container: Container,
    /// What runs.
    pub action: Action,
    /// Whether it runs: what `if` says; absent: it does.
    pub condition: Option<Template>,
    /// What it hands on once it has ended, in the order of the definition, each name once.
    pub outputs: Vec<Output>,
    /// Environment variables, each name once.
    pub env: Vec<(String, Template)>,
    /// Secrets that it finds as variables of their own names, each once and none of a name in `env`.
    pub secrets: Vec<SecretName>,
    /// Files that the step finds read-only in its container: absolute path and content, each path once.
    pub files: Vec<(String, Template)>,
    /// Files and folders from beside the definition that the step finds read-only in its container.
    pub mounts: Vec<Mount>,
    /// Absolute container paths that are kept between the runs of one repository.
    pub cache_dirs: Vec<String>,
    /// How long it may take by the wall clock; absent: what the settings say.
    pub timeout: Option<Duration>,
}

/// A file or folder from beside the definition, and where a step finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Relative to the definition's folder, without `.`, `..` and empty names; empty: the folder itself.
    pub path: String,
    /// Absolute in the container.
    pub mountpoint: String,
}

/// Why a mount is refused by whoever knows the files; its place in the text is found here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// The image of a step's container.
#[derive(Clone, Debug, PartialEq)]
pub enum Container {
    /// An image reference.
    Image(Template),
    /// The text of a Dockerfile without a build context, to be built first.
    Dockerfile(String),
}

/// What runs in a step's container.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A script for bash if the image has it, else for sh; the image's entry point is not used.
    Script(Template),
    /// The image's own entry point, with these arguments in place of its CMD; none: with its CMD.
    Arguments(Vec<String>),
    /// A program and its arguments; the image's entry point is not used.
    Command(Vec<String>),
}
