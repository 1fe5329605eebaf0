//! Limits: how much of each thing an attempt may use, and what is said when it used it up.
//!
//! Owns the names of limits and their words, so that events, lists, the command line and logs say the same. Never decides
//! how much is allowed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{QueueTimedOut, TimedOut};

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// Which.
    pub name: LimitName,
    /// How much it allows, in the unit of its kind.
    pub value: u64,
}

/// The limits that end an attempt, by the names that a definition has for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitName {
    /// The wall clock of the whole attempt, in milliseconds.
    Timeout,
    /// The wall clock of one step, in milliseconds.
    StepTimeout,
    /// Memory of all processes together, in bytes.
    Memory,
    /// What is written into the workspace, in bytes.
    WorkspaceBytes,
    /// Files and folders that are made or changed in the workspace.
    WorkspaceFiles,
    /// What is written elsewhere in a container, in bytes.
    ImageBytes,
    /// What is printed, in bytes.
    LogBytes,
}

impl LimitName {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::StepTimeout => "step_timeout",
            Self::Memory => "memory",
            Self::WorkspaceBytes => "workspace_bytes",
            Self::WorkspaceFiles => "workspace_files",
            Self::ImageBytes => "image_bytes",
            Self::LogBytes => "log_bytes",
        }
    }
}

/// What happened when a time limit was reached, of a step or of the whole attempt, in words.
pub fn timed_out(limit_ms: u64, step: Option<u32>) -> String {
    let limit = Limit { name: LimitName::Timeout, value: limit_ms };
    match step {
        Some(step) => format!("step {step} reached its time limit of {limit}"),
        None => format!("the job reached its time limit of {limit}"),
    }
}

/// The value with its unit, as a person reads it.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            LimitName::Timeout | LimitName::StepTimeout => write_duration(f, self.value),
            LimitName::WorkspaceFiles => write!(f, "{} files", self.value),
            LimitName::Memory | LimitName::WorkspaceBytes | LimitName::ImageBytes | LimitName::LogBytes => {
                write_bytes(f, self.value)
            }
        }
    }
}

fn write_duration(f: &mut fmt::Formatter<'_>, ms: u64) -> fmt::Result {
    match (ms % 1_000, ms / 1_000) {
        (0, seconds) if seconds > 0 && seconds.is_multiple_of(3_600) => write!(f, "{} h", seconds / 3_600),
        (0, seconds) if seconds > 0 && seconds.is_multiple_of(60) => write!(f, "{} min", seconds / 60),
        (0, seconds) => write!(f, "{seconds} s"),
        _ => write!(f, "{ms} ms"),
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => write!(f, "{} {name}", bytes / unit),
        None => write!(f, "{bytes} bytes"),
    }
}

impl QueueTimedOut {
    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        "Start more runners, or give the definition a longer `patchwave.queueTimeout`."
    }

    /// What happened, in words.
    pub fn message(&self) -> String {
        let limit = Limit { name: LimitName::Timeout, value: self.limit_ms };
        format!("the job waited {limit} for a runner, which is its limit: {}", self.reason)
    }
}

impl TimedOut {
    /// The limit that was reached.
    pub const fn limit(&self) -> Limit {
        let name = if self.step.is_some() { LimitName::StepTimeout } else { LimitName::Timeout };
        Limit { name, value: self.limit_ms }
    }

    /// What to do about it.
    pub const fn hint(&self) -> &'static str {
        match self.step {
            Some(_) => "Give the step a longer `patchwave.timeout` in the definition, or let it do less.",
            None => "Give the definition a longer `patchwave.timeout`, or let its steps do less.",
        }
    }

    /// What happened, in words.
    pub fn message(&self) -> String {
        timed_out(self.limit_ms, self.step)
    }
}
