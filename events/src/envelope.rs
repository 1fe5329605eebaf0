//! The envelope: what every event says of itself beside its payload.
//!
//! Owns the headers: CloudEvents attributes in binary mode as in the CloudEvents NATS protocol binding, with the
//! correlation id, the causation id, the actor and the W3C trace context as extension attributes. Invariant: no text,
//! whoever chose it, can end a header or add one.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::id::{CommandId, EventId, ExecutionId};
use crate::{Aggregate, Event, Timestamp, Undecodable, subject};

const SPEC_VERSION: &str = "ce-specversion";
const ID: &str = "ce-id";
const SOURCE: &str = "ce-source";
const TYPE: &str = "ce-type";
const TIME: &str = "ce-time";
const DATA_VERSION: &str = "ce-dataversion";
const ACTOR: &str = "ce-actor";
const CORRELATION: &str = "ce-correlationid";
const CAUSATION: &str = "ce-causationid";
const TRACE_PARENT: &str = "ce-traceparent";
const CONTENT_TYPE: &str = "ce-datacontenttype";

/// What the CloudEvents binding has percent-encoded in a header's value, beside what is not ASCII.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Every header with the JSON Schema of its value, and whether it may be absent.
fn described() -> [(&'static str, serde_json::Value, bool); 11] {
    let ids = schemars::schema_for!(EventId);
    let id = |what: &str| json!({ "type": "string", "pattern": ids.get("pattern"), "description": what });
    let text = |what: &str| json!({ "type": "string", "description": what });
    let one = |value: &str, what: &str| json!({ "const": value, "description": what });
    let actor = json!({
        "type": "string",
        "pattern": "^(user|service):",
        "description": "Who did it: `user:NAME` or `service:NAME`.",
    });
    let time = json!({ "type": "string", "format": "date-time", "description": "When it was decided." });
    let version = json!({
        "type": "string",
        "pattern": "^[1-9][0-9]*$",
        "description": "The version of the payload.",
    });
    [
        (SPEC_VERSION, one("1.0", "The version of CloudEvents."), false),
        (ID, id("The event's id: a command that is repeated makes the same event."), false),
        (SOURCE, text("The aggregate's id."), false),
        (TYPE, text("The aggregate's kind and the event's type: `job.succeeded`."), false),
        (TIME, time, false),
        (DATA_VERSION, version, false),
        (CONTENT_TYPE, one("application/json", "The form of the payload."), false),
        (ACTOR, actor, false),
        (
            CORRELATION,
            text("What it all began with: the execution's id for all of an execution's story."),
            false,
        ),
        (CAUSATION, id("The event that caused it."), true),
        (TRACE_PARENT, text("The W3C trace context."), true),
    ]
}

/// The JSON Schema of the headers of an event's message, as an object of texts. The broker adds headers of its own.
pub fn header_schema() -> serde_json::Value {
    let headers = described();
    let required: Vec<&str> =
        headers.iter().filter(|(_, _, optional)| !optional).map(|(name, ..)| *name).collect();
    json!({
        "type": "object",
        "description": "CloudEvents attributes in binary mode, percent-encoded as the CloudEvents binding for NATS says.",
        "required": required,
        "properties": serde_json::Value::Object(
            headers.into_iter().map(|(name, schema, _)| (name.to_owned(), schema)).collect(),
        ),
    })
}

/// Who did it: `user:NAME` or `service:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Actor(String);

impl Actor {
    /// A person or a person's token.
    pub fn user(name: &str) -> Self {
        Self(format!("user:{name}"))
    }

    /// One of our services.
    pub fn service(name: &str) -> Self {
        Self(format!("service:{name}"))
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a command comes from. Whoever decides passes it on to the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What was asked for, once.
    pub command: CommandId,
    /// Who asked.
    pub actor: Actor,
    /// What it all began with; the same over a whole execution's story.
    pub correlation: String,
    /// The event that made a service ask; absent when a person did.
    pub causation: Option<EventId>,
    /// The W3C trace context, as in the `traceparent` header.
    pub trace_parent: Option<String>,
}

/// An event that is to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// Whose history it extends.
    pub aggregate: Aggregate,
    /// What happened.
    pub event: Event,
    /// When it was decided.
    pub time: Timestamp,
    /// Where it comes from.
    pub origin: Origin,
}

impl NewEvent {
    /// Its id: the same however often the command is repeated.
    pub fn id(&self) -> EventId {
        event_id(self.origin.command, &self.aggregate)
    }

    /// Where it is stored.
    pub fn subject(&self) -> String {
        subject::event(&self.aggregate, &self.event)
    }

    /// The headers of its message.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let kind = self.aggregate.kind().name();
        let mut headers = vec![
            (SPEC_VERSION, "1.0".to_owned()),
            (ID, self.id().to_string()),
            (SOURCE, self.aggregate.to_string()),
            (TYPE, format!("{kind}.{}", self.event.name())),
            (TIME, self.time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)),
            (DATA_VERSION, self.event.version().to_string()),
            (CONTENT_TYPE, "application/json".to_owned()),
            (ACTOR, self.origin.actor.to_string()),
            (CORRELATION, self.origin.correlation.clone()),
        ];
        headers.extend(self.origin.causation.map(|id| (CAUSATION, id.to_string())));
        headers.extend(self.origin.trace_parent.clone().map(|trace| (TRACE_PARENT, trace)));
        for (_, value) in &mut headers {
            *value = utf8_percent_encode(value, ENCODED).to_string();
        }
        headers
    }
}

/// The id of the event that answers a command on an aggregate.
pub fn event_id(command: CommandId, aggregate: &Aggregate) -> EventId {
    EventId::derived(&[&command.to_string(), &aggregate.to_string()])
}

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the log.
    pub sequence: u64,
    /// Its id.
    pub id: EventId,
    /// When it was decided.
    pub time: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What it all began with.
    pub correlation: String,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// Whose history it extends.
    pub aggregate: Aggregate,
    /// What happened.
    pub event: Event,
}

impl Recorded {
    /// Reads a message of the log. `header` looks a header up by name.
    pub fn from_message<'a>(
        sequence: u64,
        subject: &str,
        header: impl Fn(&str) -> Option<&'a str>,
        payload: &[u8],
    ) -> Result<Self, Undecodable> {
        let (aggregate, name) =
            subject::parse_event(subject).ok_or_else(|| Undecodable::Subject(subject.to_owned()))?;
        let version = required(&header, DATA_VERSION)?;
        let event = Event::from_json(aggregate.kind(), name, version, payload)?;
        Ok(Self {
            sequence,
            id: required(&header, ID)?,
            time: required(&header, TIME)?,
            actor: Actor(required(&header, ACTOR)?),
            correlation: required(&header, CORRELATION)?,
            causation: header(CAUSATION).and_then(|text| text.parse().ok()),
            aggregate,
            event,
        })
    }
}

/// An event as JSON for people and programs: the one shape in which events are shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventDocument {
    /// Its place in the log.
    pub sequence: u64,
    /// Its id.
    pub id: EventId,
    /// When it was decided.
    pub time: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// What it all began with.
    pub correlation: String,
    /// The event that caused it.
    pub causation: Option<EventId>,
    /// Whose history it extends: an id, or a runner's name.
    pub aggregate: String,
    /// The execution that a job belongs to; absent for everything else.
    pub execution: Option<ExecutionId>,
    /// The kind of the aggregate and the type, as in `job.succeeded`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version of the payload.
    pub version: u32,
    /// The payload.
    pub data: serde_json::Value,
}

impl Recorded {
    /// The form in which the event is shown.
    ///
    /// # Errors
    /// When the payload cannot be written as JSON.
    pub fn document(&self) -> serde_json::Result<EventDocument> {
        Ok(EventDocument {
            sequence: self.sequence,
            id: self.id,
            time: self.time,
            actor: self.actor.clone(),
            correlation: self.correlation.clone(),
            causation: self.causation,
            aggregate: match &self.aggregate {
                // Elsewhere it is shown with its kind, which the type already says here.
                Aggregate::Runner(id) | Aggregate::Enrollment(id) => id.to_string(),
                other => other.to_string(),
            },
            execution: match &self.aggregate {
                Aggregate::Job(execution, _) => Some(*execution),
                _ => None,
            },
            kind: format!("{}.{}", self.aggregate.kind().name(), self.event.name()),
            version: self.event.version(),
            data: self.event.to_value()?,
        })
    }
}

/// The event id of a message, read without its payload; how a checkpoint knows its place again.
pub fn message_id<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<EventId> {
    header(ID)?.parse().ok()
}

fn required<'a, T: std::str::FromStr>(
    header: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
) -> Result<T, Undecodable> {
    header(name)
        .and_then(|text| percent_decode_str(text).decode_utf8().ok())
        .and_then(|text| text.parse().ok())
        .ok_or(Undecodable::Header(name))
}
