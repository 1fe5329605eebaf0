//! Executions: one run of one revision of an action.
//!
//! Owns what an execution was asked to do and how it ended. Its jobs are aggregates of their own; an execution never
//! counts them, it is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Definition;
use crate::blob::BlobRef;
use crate::event::event_types;
use crate::id::ActionId;
use crate::rejection::{Code, Rejection};

event_types! {
    /// Somebody or something wants the action to run; its definition is pinned.
    Requested = "requested" / 2,
    /// It is known where it will work, with branches and commits pinned.
    Resolved = "resolved" / 1,
    /// Its waiting jobs have nobody to run them: no runner of their pool takes jobs.
    Starved = "starved" / 1,
    /// Its jobs wait in vain no more.
    StarvationEnded = "starvation_ended" / 1,
    /// It is to stop.
    CancelRequested = "cancel_requested" / 1,
    /// Its last job has ended.
    Completed = "completed" / 1,
}

/// Why an execution was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By hand.
    Manual,
}

/// The payload of `execution.requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// The action.
    pub action: ActionId,
    /// Its name.
    pub action_name: String,
    /// The revision that runs.
    pub revision: u32,
    /// The revision's definition.
    pub definition: Definition,
    /// The repositories to run over, as clone URLs or absolute paths; empty: what the definition's `on` says.
    pub repositories: Vec<String>,
    /// Why it runs.
    pub reason: Reason,
}

/// The payload of `execution.resolved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolved {
    /// A [`crate::document::Scope`].
    pub scope: BlobRef,
    /// How many workspaces it has: one job each.
    pub workspaces: u32,
    /// How many repositories were left out for a reason that is nobody's fault.
    pub skipped: u32,
    /// How many could not be reached.
    pub unreachable: u32,
}

/// The payload of `execution.starved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Starved {
    /// The pool that its jobs ask for.
    pub pool: String,
    /// What is missing.
    pub lack: Lack,
    /// The same in words.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What is missing where jobs wait in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// The pool has no runner.
    NoRunner,
    /// Its runners finish what they run and take nothing new.
    Draining,
    /// Its runners take nothing for want of an engine, memory or disk.
    Trouble,
}

impl Lack {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRunner => "no_runner",
            Self::Draining => "draining",
            Self::Trouble => "trouble",
        }
    }
}

/// The payload of `execution.starvation_ended`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StarvationEnded {}

/// The payload of `execution.cancel_requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequested {}

/// The payload of `execution.completed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// How it went as a whole.
    pub outcome: Outcome,
    /// How its jobs ended.
    pub counts: Counts,
}

/// How an execution went as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every job succeeded.
    Succeeded,
    /// Some succeeded, some did not.
    PartiallyFailed,
    /// None succeeded.
    Failed,
    /// It was canceled.
    Canceled,
}

impl Outcome {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::PartiallyFailed => "partially_failed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// How the jobs ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Jobs that succeeded, with or without a patch.
    pub succeeded: u32,
    /// Jobs that failed or timed out.
    pub failed: u32,
    /// Jobs that were canceled.
    pub canceled: u32,
    /// Repositories that could not be reached and got no job.
    pub unreachable: u32,
}

impl Counts {
    /// What the counts amount to. Nothing at all to do is a success, unless it was to stop: then nobody knows what there
    /// would have been.
    pub const fn outcome(&self, cancel_requested: bool) -> Outcome {
        match self {
            Self { succeeded: 0, failed: 0, .. } if cancel_requested => Outcome::Canceled,
            Self { canceled: 1.., .. } if cancel_requested => Outcome::Canceled,
            Self { failed: 0, unreachable: 0, canceled: 0, .. } => Outcome::Succeeded,
            Self { succeeded: 0, .. } => Outcome::Failed,
            _ => Outcome::PartiallyFailed,
        }
    }
}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// What was asked for; absent before.
    pub requested: Option<Requested>,
    /// Where it works; absent while that is unknown.
    pub resolved: Option<Resolved>,
    /// Why its jobs wait in vain; absent while they do not.
    pub starved: Option<Starved>,
    /// Whether it is to stop.
    pub cancel_requested: bool,
    /// How it ended; absent while it runs.
    pub completed: Option<Completed>,
}

/// What can be asked of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start it.
    Request(Requested),
    /// Note where it works.
    Resolve(Resolved),
    /// Note that its jobs wait in vain.
    Starve(Starved),
    /// Note that they no longer do.
    EndStarvation,
    /// Stop it.
    RequestCancel,
    /// Note that its last job has ended.
    Complete(Counts),
}

/// Decides what a command means for an execution in this state.
pub fn decide(execution: &Execution, command: Command) -> Result<Option<Event>, Rejection> {
    if execution.requested.is_none() && !matches!(command, Command::Request(_)) {
        return Err(Rejection::new(
            Code::NotFound,
            "there is no such execution",
            "`patchwave execution list` shows the executions there are.",
        ));
    }
    match command {
        Command::Request(requested) if execution.requested.is_none() => Ok(Some(requested.into())),
        // The id is the requester's own: a second request with it is the same request.
        Command::Request(_) => Ok(None),
        Command::Resolve(resolved) if execution.resolved.is_none() => Ok(Some(resolved.into())),
        // What was resolved first stands: jobs may run on it already.
        Command::Resolve(_) => Ok(None),
        Command::Starve(starved) => Ok(starve(execution, starved)),
        Command::EndStarvation => Ok(execution.starved.as_ref().map(|_| StarvationEnded {}.into())),
        Command::RequestCancel if execution.completed.is_some() => Err(Rejection::new(
            Code::AlreadyEnded,
            "the execution has ended already",
            "Nothing is running any more; `patchwave execution show` says how it ended.",
        )),
        Command::RequestCancel if execution.cancel_requested => Ok(None),
        Command::RequestCancel => Ok(Some(CancelRequested {}.into())),
        Command::Complete(_) if execution.resolved.is_none() => Err(Rejection::new(
            Code::IllegalTransition,
            "the execution cannot complete before its scope is resolved",
            "This is a fault of the product: please report it.",
        )),
        Command::Complete(_) if execution.completed.is_some() => Ok(None),
        Command::Complete(counts) => {
            let outcome = counts.outcome(execution.cancel_requested);
            Ok(Some(Completed { outcome, counts }.into()))
        }
    }
}

/// The same lack in other words is no news: the words of a trouble may change every second.
fn starve(execution: &Execution, starved: Starved) -> Option<Event> {
    let known = execution.starved.as_ref().is_some_and(|known| known.lack == starved.lack);
    (!known && execution.completed.is_none()).then(|| starved.into())
}

/// Takes an event in.
pub fn evolve(mut execution: Execution, event: &Event) -> Execution {
    match event {
        Event::Requested(requested) => execution.requested = Some(requested.clone()),
        Event::Resolved(resolved) => execution.resolved = Some(resolved.clone()),
        Event::Starved(starved) => execution.starved = Some(starved.clone()),
        Event::StarvationEnded(StarvationEnded {}) => execution.starved = None,
        Event::CancelRequested(CancelRequested {}) => execution.cancel_requested = true,
        Event::Completed(completed) => {
            execution.completed = Some(completed.clone());
            execution.starved = None;
        }
    }
    execution
}
