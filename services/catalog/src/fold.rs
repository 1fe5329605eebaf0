//! What the catalog knows of executions: those that were requested and not resolved.
//!
//! Owns that set. Taking an event in twice changes nothing; an execution that is taken up once too often is found resolved
//! when its history is read.

use std::collections::BTreeMap;

use events::envelope::Recorded;
use events::id::ExecutionId;
use events::{Aggregate, Event, execution};
use serde::{Deserialize, Serialize};

use crate::registry::Repositories;

/// The executions that wait for their scope, and where their requests stand in the log.
pub(crate) type Waiting = BTreeMap<ExecutionId, u64>;

/// What a snapshot holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) waiting: Waiting,
    pub(crate) repositories: Repositories,
}

/// Takes an event in.
pub(crate) fn apply(waiting: &mut Waiting, recorded: &Recorded) {
    let (Aggregate::Execution(id), Event::Execution(event)) = (&recorded.aggregate, &recorded.event) else {
        return;
    };
    match event {
        execution::Event::Requested(_) => {
            waiting.insert(*id, recorded.sequence);
        }
        execution::Event::Resolved(_) | execution::Event::CancelRequested(_) => {
            waiting.remove(id);
        }
        _ => {}
    }
}
