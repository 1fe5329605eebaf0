//! What the catalog knows of executions and previews: those that were requested and not resolved.
//!
//! Owns that set. Taking an event in twice changes nothing; one that is taken up once too often is found resolved when its
//! history is read.

use std::collections::BTreeMap;
use std::fmt;

use events::envelope::Recorded;
use events::id::{ExecutionId, PreviewId};
use events::{Aggregate, Event, execution, preview};
use serde::{Deserialize, Serialize};

use crate::registry::Repositories;

/// What has a scope that is to be resolved; in a snapshot it is the text of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Wanted {
    Execution(ExecutionId),
    Preview(PreviewId),
}

impl Wanted {
    pub(crate) const fn aggregate(self) -> Aggregate {
        match self {
            Self::Execution(id) => Aggregate::Execution(id),
            Self::Preview(id) => Aggregate::Preview(id),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.aggregate().fmt(f)
    }
}

/// What waits for its scope, and where the request stands in the log.
pub(crate) type Waiting = BTreeMap<Wanted, u64>;

/// What a snapshot holds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) waiting: Waiting,
    pub(crate) repositories: Repositories,
}

/// Takes an event in.
pub(crate) fn apply(waiting: &mut Waiting, recorded: &Recorded) {
    match (&recorded.aggregate, &recorded.event) {
        (Aggregate::Execution(id), Event::Execution(event)) => match event {
            execution::Event::Requested(_) => {
                waiting.insert(Wanted::Execution(*id), recorded.sequence);
            }
            execution::Event::Resolved(_) | execution::Event::CancelRequested(_) => {
                waiting.remove(&Wanted::Execution(*id));
            }
            _ => {}
        },
        (Aggregate::Preview(id), Event::Preview(event)) => match event {
            preview::Event::Requested(_) => {
                waiting.insert(Wanted::Preview(*id), recorded.sequence);
            }
            preview::Event::Resolved(_) | preview::Event::Failed(_) => {
                waiting.remove(&Wanted::Preview(*id));
            }
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn a_snapshot_keeps_what_waits() {
        let waiting = Waiting::from([
            (Wanted::Execution(ExecutionId::derived(&["a"])), 7),
            (Wanted::Preview(PreviewId::derived(&["a"])), 9_000),
        ]);
        let text = serde_json::to_string(&waiting).unwrap();
        assert_eq!(serde_json::from_str::<Waiting>(&text).unwrap(), waiting, "{text}");
    }
}
