//! Plans: what an execution's patches would become if they were published.
//!
//! Owns that a plan was made and whether a later one of the same execution took its place. Its content is a
//! [`crate::document::Plan`], which never changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blob::BlobRef;
use crate::event::event_types;
use crate::id::{ExecutionId, PlanId};
use crate::rejection::{Code, Rejection};

event_types! {
    /// The plan exists.
    Created = "created" / 2,
    /// A later plan of the same execution took its place; this one stays readable.
    Superseded = "superseded" / 1,
}

/// The payload of `plan.created`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The execution whose patches it holds.
    pub execution: ExecutionId,
    /// A [`crate::document::Plan`].
    pub document: BlobRef,
    /// How many changeset specs it has.
    pub changesets: u32,
    /// How many repositories are missing from it.
    pub missing: u32,
    /// How many repositories had nothing to change.
    pub unchanged: u32,
    /// How many changesets that exist already it tracks; absent: nobody counted them.
    #[serde(default)]
    pub imports: Option<u32>,
}

/// The payload of `plan.superseded`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Superseded {
    /// The plan that took its place.
    pub by: PlanId,
}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it is; absent before it exists.
    pub created: Option<Created>,
    /// What took its place.
    pub superseded_by: Option<PlanId>,
}

/// What can be asked of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make it.
    Create(Created),
    /// Put another in its place.
    Supersede {
        /// The other.
        by: PlanId,
    },
}

/// Decides what a command means for a plan in this state.
pub fn decide(plan: &Plan, command: Command) -> Result<Option<Event>, Rejection> {
    match command {
        Command::Create(created) if plan.created.is_none() => Ok(Some(created.into())),
        // The id is derived from what the plan is made of: the same plan again is no news.
        Command::Create(_) => Ok(None),
        Command::Supersede { .. } if plan.created.is_none() => Err(Rejection::new(
            Code::NotFound,
            "there is no such plan",
            "`patchwave execution show` names an execution's plan.",
        )),
        Command::Supersede { by } if plan.superseded_by == Some(by) => Ok(None),
        Command::Supersede { by } => Ok(Some(Superseded { by }.into())),
    }
}

/// Takes an event in.
pub fn evolve(mut plan: Plan, event: &Event) -> Plan {
    match event {
        Event::Created(created) => plan.created = Some(created.clone()),
        Event::Superseded(superseded) => plan.superseded_by = Some(superseded.by),
    }
    plan
}
