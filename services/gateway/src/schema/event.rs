//! Events as they are shown: the envelope and the payload, by the names that they have in the log.

use async_graphql::{ID, SimpleObject};
use broker::Message;
use serde_json::Value;

use super::scalar::{DateTime, Sequence, int};
use crate::fault::Fault;

/// One fact, as it stands in the log. It comes as soon as it is stored: give its sequence as `atLeast` to a query that shall
/// know of it.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Event {
    /// Its place in the log: what to give as `after` to go on behind it.
    sequence: Sequence,
    /// Where it is stored: whose it is and what happened.
    subject: String,
    /// Its id: the same whenever it comes again. It and all below but `data` are absent of what this build cannot read.
    id: Option<ID>,
    /// The kind of what it is about and what happened, as in `job.succeeded`.
    #[graphql(name = "type")]
    kind: Option<String>,
    /// The version of the payload.
    version: Option<i32>,
    /// When it was decided. Not an order: clocks differ.
    time: Option<DateTime>,
    /// Who did it: `user:NAME` or `service:NAME`.
    actor: Option<String>,
    /// What it all began with: the execution's id for all of an execution's story.
    correlation: Option<String>,
    /// The event that caused it.
    causation: Option<ID>,
    /// Whose history it extends: an id, or a runner's name.
    aggregate: Option<String>,
    /// The execution that a job belongs to.
    execution: Option<ID>,
    /// The payload, of which `patchwave events schema TYPE` prints the JSON Schema.
    data: Option<Value>,
    /// Why this build cannot read it; absent of all that it can.
    unknown: Option<String>,
}

impl Event {
    /// Shows a message of the log.
    pub(super) fn of(message: &Message) -> Result<Self, Fault> {
        let (sequence, subject) = (Sequence(message.sequence), message.subject.clone());
        let shown = message.event().map_err(|error| error.to_string());
        let document = match shown {
            Ok(event) => event.document().map_err(Fault::ours)?,
            Err(why) => {
                let data = serde_json::from_slice(&message.payload).ok();
                return Ok(Self { unknown: Some(why), data, ..Self::empty(sequence, subject) });
            }
        };
        Ok(Self {
            id: Some(ID(document.id.to_string())),
            kind: Some(document.kind),
            version: Some(int(document.version.into())),
            time: Some(DateTime(document.time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))),
            actor: Some(document.actor.to_string()),
            correlation: Some(document.correlation),
            causation: document.causation.map(|id| ID(id.to_string())),
            aggregate: Some(document.aggregate),
            execution: document.execution.map(|id| ID(id.to_string())),
            data: Some(document.data),
            ..Self::empty(sequence, subject)
        })
    }

    const fn empty(sequence: Sequence, subject: String) -> Self {
        Self {
            sequence,
            subject,
            id: None,
            kind: None,
            version: None,
            time: None,
            actor: None,
            correlation: None,
            causation: None,
            aggregate: None,
            execution: None,
            data: None,
            unknown: None,
        }
    }
}
