//! Previews: where an execution would work, asked without running anything.
//!
//! Owns what was asked for and what was found. A preview makes no action, no execution and no job, and nothing is ever
//! derived from it: once it has ended it is only read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Definition;
use crate::blob::BlobRef;
use crate::event::event_types;
use crate::rejection::{Code, Rejection};

event_types! {
    /// Somebody wants to know where a definition would run, and which of its steps.
    Requested = "requested" / 1,
    /// It is known, with branches and commits as they are now.
    Resolved = "resolved" / 1,
    /// It cannot be found out.
    Failed = "failed" / 1,
}

/// The payload of `preview.requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// The name that the definition gives its action; there may be no such action.
    pub action_name: String,
    /// The definition.
    pub definition: Definition,
    /// The repositories to run over, as clone URLs or absolute paths; empty: what the definition's `on` says.
    pub repositories: Vec<String>,
}

/// The payload of `preview.resolved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolved {
    /// A [`crate::document::Preview`].
    pub scope: BlobRef,
    /// In how many repositories there would be jobs.
    pub repositories: u32,
    /// How many workspaces there are: one job each.
    pub workspaces: u32,
    /// How often something was left out for a reason that is nobody's fault.
    pub skipped: u32,
    /// How many repositories could not be reached.
    pub unreachable: u32,
}

/// The payload of `preview.failed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failed {
    /// Why, in words.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// What was asked for; absent before.
    pub requested: Option<Requested>,
    /// What came of it; absent while that is unknown.
    pub end: Option<End>,
}

/// What came of a preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// It is known where there would be jobs.
    Resolved(Resolved),
    /// That cannot be found out.
    Failed(Failed),
}

/// What can be asked of a preview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin it.
    Request(Requested),
    /// Note what was found.
    Resolve(Resolved),
    /// Note that nothing can be found.
    Fail(Failed),
}

/// Decides what a command means for a preview in this state.
pub fn decide(preview: &Preview, command: Command) -> Result<Option<Event>, Rejection> {
    match command {
        Command::Request(requested) if preview.requested.is_none() => Ok(Some(requested.into())),
        // The id is the requester's own: a second request with it is the same request.
        Command::Request(_) => Ok(None),
        _ if preview.requested.is_none() => Err(Rejection::new(
            Code::NotFound,
            "there is no such preview",
            "`patchwave action preview` makes one.",
        )),
        // What was said first stands: somebody may have read it.
        _ if preview.end.is_some() => Ok(None),
        Command::Resolve(resolved) => Ok(Some(resolved.into())),
        Command::Fail(failed) => Ok(Some(failed.into())),
    }
}

/// Takes an event in.
pub fn evolve(mut preview: Preview, event: &Event) -> Preview {
    match event {
        Event::Requested(requested) => preview.requested = Some(requested.clone()),
        Event::Resolved(resolved) => preview.end = Some(End::Resolved(resolved.clone())),
        Event::Failed(failed) => preview.end = Some(End::Failed(failed.clone())),
    }
    preview
}
