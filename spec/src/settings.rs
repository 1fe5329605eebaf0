//! What a definition says below `patchwave`: where and when its jobs run, and how much each may take.
//!
//! Owns the shape only; every value in it is within the fixed bounds of the reading. What is absent here is the site's
//! to choose, and what is present may still be lowered by it.

use std::collections::BTreeSet;
use std::time::Duration;

use events::secret::SecretName;

/// What holds for every job of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The pool of runners that its jobs run on.
    pub pool: Option<String>,
    /// The labels that such a runner must have, all of them.
    pub labels: BTreeSet<String>,
    /// How many of its jobs may run at once.
    pub max_jobs: Option<u32>,
    /// How long one job may take by the wall clock.
    pub timeout: Option<Duration>,
    /// How long each step may take that says nothing itself.
    pub step_timeout: Option<Duration>,
    /// How long a job may wait for a runner.
    pub queue_timeout: Option<Duration>,
    /// What the steps may reach.
    pub network: Option<Network>,
    /// The registries of images that want a login, each host once.
    pub registries: Vec<Registry>,
    /// How much of each thing a job may use.
    pub limits: Limits,
}

/// A registry of images that wants a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Its host as the names of its images begin, with a port where they have one; `docker.io` is that of names without.
    pub host: String,
    /// Who logs in.
    pub username: String,
    /// The secret that is the password, or a token in place of one.
    pub password: SecretName,
}

/// What the steps of a job may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The public internet, and nothing private.
    Egress,
    /// Nothing.
    None,
}

impl Network {
    /// The word in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Egress => "egress",
            Self::None => "none",
        }
    }
}

/// How much of each thing a job may use; absent: what the site says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all processes together, swap included.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a processor.
    pub cpu_millis: Option<u32>,
    /// Processes and threads at once.
    pub pids: Option<u32>,
    /// What the steps write into the workspace.
    pub workspace_bytes: Option<u64>,
    /// Files and folders that the steps make or change in the workspace.
    pub workspace_files: Option<u64>,
    /// What the steps write into their containers outside of the workspace.
    pub image_bytes: Option<u64>,
    /// What the steps print, all together.
    pub log_bytes: Option<u64>,
    /// What becomes of a job whose log is full.
    pub on_log_limit: Option<OnLogLimit>,
    /// How much of one line the log keeps.
    pub log_line_bytes: Option<u64>,
}

/// What becomes of a job whose log is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLogLimit {
    /// It goes on, and what it prints from then on is dropped.
    Continue,
    /// It fails.
    Fail,
}
