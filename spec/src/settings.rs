//! What a definition says below `patchwave`: where and when its jobs run, and how much each may take.
//!
//! Owns the shape only; every value in it is within the fixed bounds of the reading. What is absent here is the site's
//! to choose, and what is present may still be lowered by it.

use std::time::Duration;

/// What holds for every job of an action.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The pool of runners that its jobs run on.
    pub pool: Option<String>,
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
    /// How much of each thing a job may use.
    pub limits: Limits,
}

/// What the steps of a job may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// The public internet, and nothing private.
    Egress,
    /// Nothing.
    None,
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
