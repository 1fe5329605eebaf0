//! Repositories: what actions can run over.
//!
//! Owns a repository's identity and where its branches were last seen. What is in it is the catalog's to know.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::event_types;
use crate::git::{BranchRef, Oid};
use crate::rejection::{Code, Rejection};

event_types! {
    /// The repository is known.
    Registered = "registered" / 1,
    /// A branch points at another commit than when it was last looked at.
    HeadMoved = "head_moved" / 1,
    /// The repository is known no more.
    Removed = "removed" / 1,
}

/// The payload of `repository.registered`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// The name that users see and templates print.
    pub name: String,
    /// Where it is cloned from; no credentials.
    pub url: String,
}

/// The payload of `repository.head_moved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeadMoved {
    /// The branch.
    pub branch: BranchRef,
    /// The commit.
    pub oid: Oid,
}

/// The payload of `repository.removed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// What it is; absent while unknown.
    pub registered: Option<Registered>,
    /// Where its branches were last seen.
    pub heads: BTreeMap<BranchRef, Oid>,
}

/// What can be asked of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make it known.
    Register(Registered),
    /// Note where a branch is.
    MoveHead(HeadMoved),
    /// Forget it.
    Remove,
}

/// Decides what a command means for a repository in this state.
pub fn decide(repository: &Repository, command: Command) -> Result<Option<Event>, Rejection> {
    match (command, &repository.registered) {
        (Command::Register(registered), known) if known.as_ref() == Some(&registered) => Ok(None),
        (Command::Register(registered), _) => Ok(Some(registered.into())),
        (Command::Remove, None) => Ok(None),
        (Command::Remove, Some(_)) => Ok(Some(Removed {}.into())),
        (Command::MoveHead(_), None) => Err(Rejection::new(
            Code::NotFound,
            "there is no such repository",
            "Run an action over it first: that registers it.",
        )),
        (Command::MoveHead(moved), Some(_)) if repository.heads.get(&moved.branch) == Some(&moved.oid) => {
            Ok(None)
        }
        (Command::MoveHead(moved), Some(_)) => Ok(Some(moved.into())),
    }
}

/// Takes an event in.
pub fn evolve(mut repository: Repository, event: &Event) -> Repository {
    match event {
        Event::Registered(registered) => repository.registered = Some(registered.clone()),
        Event::HeadMoved(moved) => {
            repository.heads.insert(moved.branch.clone(), moved.oid.clone());
        }
        Event::Removed(Removed {}) => repository = Repository::default(),
    }
    repository
}
