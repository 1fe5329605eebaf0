//! The published JSON Schema of every version of every event.
//!
//! Owns which schema a version has: that of the version which is written comes from its type, that of an earlier one is the
//! contract that was kept when the type moved on. The log holds both, so whoever reads it needs both.

use serde_json::{Value, json};

use crate::{AggregateKind, EventType};

/// The dialect of every schema.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The shape of one version of an event.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionSchema {
    /// The kind of its aggregate.
    pub kind: AggregateKind,
    /// The type's name, the last token of its subject.
    pub name: &'static str,
    /// The version.
    pub version: u32,
    /// Whether this version is written; an earlier one only stands in the log.
    pub is_written: bool,
    /// What the type means, in a line or two.
    pub doc: String,
    /// The JSON Schema of its payload, draft 2020-12, with what it refers to under `$defs`.
    pub schema: Value,
}

impl VersionSchema {
    /// The type as in the `ce-type` header: `job.failed`.
    pub fn event_type(&self) -> String {
        format!("{}.{}", self.kind.name(), self.name)
    }

    /// The type and the version: `job.failed.v3`.
    pub fn id(&self) -> String {
        format!("{}.v{}", self.event_type(), self.version)
    }
}

struct Earlier {
    event_type: &'static str,
    version: u32,
    schema: &'static str,
}

macro_rules! earlier {
    ($event_type:literal, $version:literal) => {
        Earlier {
            event_type: $event_type,
            version: $version,
            schema: include_str!(concat!("../tests/golden/schema/", $event_type, ".v", $version, ".json")),
        }
    };
}

/// The versions that are written no more.
const EARLIER: &[Earlier] = &[
    earlier!("action.created", 1),
    earlier!("action.revised", 1),
    earlier!("enrollment.token_issued", 1),
    earlier!("execution.requested", 1),
    earlier!("execution.requested", 2),
    earlier!("execution.requested", 3),
    earlier!("execution.starved", 1),
    earlier!("job.canceled", 1),
    earlier!("job.failed", 1),
    earlier!("job.failed", 2),
    earlier!("job.lost", 1),
    earlier!("job.succeeded", 1),
    earlier!("job.timed_out", 1),
    earlier!("plan.created", 1),
    earlier!("runner.registered", 1),
    earlier!("user.created", 1),
];

/// Every version of every type, in the order of the catalogue, the newest of each type first.
///
/// # Errors
/// When the contract of an earlier version is no JSON.
pub fn versions() -> serde_json::Result<Vec<VersionSchema>> {
    let mut versions = Vec::new();
    for kind in AggregateKind::ALL {
        for event_type in kind.event_types() {
            let schema = serde_json::to_value((event_type.schema)())?;
            versions.push(published(kind, event_type, event_type.version, schema));
            let name = format!("{}.{}", kind.name(), event_type.name);
            for earlier in EARLIER.iter().rev().filter(|earlier| earlier.event_type == name) {
                let schema = serde_json::from_str(earlier.schema)?;
                versions.push(published(kind, event_type, earlier.version, schema));
            }
        }
    }
    Ok(versions)
}

fn published(kind: AggregateKind, event_type: &EventType, version: u32, schema: Value) -> VersionSchema {
    let mut published = VersionSchema {
        kind,
        name: event_type.name,
        version,
        is_written: version == event_type.version,
        doc: sentence(event_type.doc),
        schema,
    };
    published.schema["$schema"] = json!(DIALECT);
    published.schema["title"] = json!(published.id());
    published.schema["description"] = json!(published.doc);
    published
}

/// Several schemas as one document: each under its id, with a URI of its own so that what it refers to is its own.
pub fn bundle(versions: &[VersionSchema]) -> Value {
    let schemas = versions.iter().map(|version| {
        let mut schema = version.schema.clone();
        schema["$id"] = json!(format!("urn:patchwave:event:{}", version.id()));
        (version.id(), schema)
    });
    json!({
        "$schema": DIALECT,
        "title": "Events of Patchwave",
        "$defs": Value::Object(schemas.collect()),
    })
}

/// A comment of the code as text.
fn sentence(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ").replace("[`", "`").replace("`]", "`")
}
