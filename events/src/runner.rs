//! Runners: who takes jobs.
//!
//! Owns when a runner came and went. Whether it lives right now is in its heartbeat and not in the log: the log would
//! drown in it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::event_types;
use crate::rejection::{Code, Rejection};

event_types! {
    /// The runner is there and takes jobs.
    Registered = "registered" / 2,
    /// The runner finishes what it runs and takes nothing new.
    Draining = "draining" / 1,
    /// The runner is gone: it left, or fell silent and what it ran is lost.
    Gone = "gone" / 1,
}

/// The pool of a runner that names none, and of a job that asks for none.
pub const DEFAULT_POOL: &str = "default";

/// What a version that knew no pools meant.
pub(crate) fn default_pool() -> String {
    DEFAULT_POOL.to_owned()
}

/// The longest name of a pool.
pub const MAX_POOL: usize = 63;

/// The longest label.
pub const MAX_LABEL: usize = 127;

/// Whether a text can be the name of a pool: ASCII letters, digits, `_` and `-`.
pub fn is_pool(text: &str) -> bool {
    let valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=MAX_POOL).contains(&text.len()) && text.chars().all(valid)
}

/// Reads a label, `NAME` or `NAME=VALUE` in printable ASCII without blanks and commas; nothing if it is none.
pub fn read_label(text: &str) -> Option<(String, String)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => (name, value),
        Some(_) => return None,
        None => (text, ""),
    };
    let valid = |c: char| c.is_ascii_graphic() && c != ',';
    let fits = (1..=MAX_LABEL).contains(&text.len()) && text.chars().all(valid);
    fits.then(|| (name.to_owned(), value.to_owned()))
}

/// A runner's labels as a definition asks for them: a name that has no value is a word by itself.
pub fn label_words(labels: &BTreeMap<String, String>) -> BTreeSet<String> {
    let word = |(name, value): (&String, &String)| match value.is_empty() {
        true => name.clone(),
        false => format!("{name}={value}"),
    };
    labels.iter().map(word).collect()
}

/// The payload of `runner.registered`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// Which start of its process this is.
    pub incarnation: Uuid,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// The pool that it belongs to: it gets the jobs that ask for this one.
    #[serde(default = "default_pool")]
    pub pool: String,
    /// What its operator says of it: it gets the jobs that ask for nothing else.
    pub labels: BTreeMap<String, String>,
    /// Its version.
    pub version: String,
}

/// The payload of `runner.draining`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Draining {}

/// The payload of `runner.gone`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gone {
    /// Why, in words.
    pub reason: String,
}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// How it registered last; absent before, and after it is gone.
    pub registered: Option<Registered>,
    /// Whether it takes nothing new.
    pub draining: bool,
}

/// What can be asked of a runner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Note that it is there.
    Register(Registered),
    /// Let it finish.
    Drain,
    /// Note that it is gone.
    Leave {
        /// Why, in words.
        reason: String,
    },
}

/// Decides what a command means for a runner in this state.
pub fn decide(runner: &Runner, command: Command) -> Result<Option<Event>, Rejection> {
    match (command, &runner.registered) {
        (Command::Register(registered), known) if known.as_ref() == Some(&registered) => Ok(None),
        (Command::Register(registered), _) => Ok(Some(registered.into())),
        (Command::Leave { .. }, None) => Ok(None),
        (Command::Leave { reason }, Some(_)) => Ok(Some(Gone { reason }.into())),
        (Command::Drain, None) => Err(Rejection::new(
            Code::NotFound,
            "no runner of this name is there",
            "`patchwave runner list` shows how each stands: only one that is registered can leave.",
        )),
        (Command::Drain, Some(_)) if runner.draining => Ok(None),
        (Command::Drain, Some(_)) => Ok(Some(Draining {}.into())),
    }
}

/// Takes an event in.
pub fn evolve(mut runner: Runner, event: &Event) -> Runner {
    match event {
        Event::Registered(registered) => {
            runner.registered = Some(registered.clone());
            runner.draining = false;
        }
        Event::Draining(Draining {}) => runner.draining = true,
        Event::Gone(_) => runner = Runner::default(),
    }
    runner
}
