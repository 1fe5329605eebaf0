//! The AsyncAPI document: what a subscriber receives, for programs that generate code or pages from it.
//!
//! Owns the document's form and nothing of what it says: types, subjects and headers are asked for where they are made, so
//! that none of them can be described and not exist. Invariant: every version of every event is a message of its channel.

use serde_json::{Map, Value, json};

use crate::schema::{VersionSchema, versions};
use crate::{AggregateKind, envelope, subject};

/// What the whole is, for whoever opens the document first.
const ABOUT: &str = "What a service that subscribes to Patchwave's log receives: facts in the past tense, in one order, \
                     each at least once. Events of versions that are written no more stand in the log for ever; their \
                     messages are marked as deprecated. How to subscribe is in docs/subscribing.md.";

/// The document, AsyncAPI 3.1.
///
/// # Errors
/// When a schema is no JSON.
pub fn document() -> serde_json::Result<Value> {
    let mut document = Document::default();
    for version in versions()? {
        document.add(&version);
    }
    Ok(document.finish())
}

#[derive(Default)]
struct Document {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Document {
    fn add(&mut self, version: &VersionSchema) {
        let (event_type, id) = (version.event_type(), version.id());
        self.add_schema(version);
        self.messages.insert(id.clone(), message(version));
        let (address, parameters) = address(version.kind, version.name);
        let channel = self.channels.entry(event_type.clone()).or_insert_with(|| {
            json!({
                "address": address,
                "title": event_type,
                "description": version.doc,
                "parameters": parameters,
                "messages": {},
                "tags": [{ "name": version.kind.name() }],
            })
        });
        let place = format!("v{}", version.version);
        channel["messages"][&place] = reference("components/messages", &id);
        let operation = self.operations.entry(format!("receive.{event_type}")).or_insert_with(|| {
            json!({
                "action": "receive",
                "channel": reference("channels", &event_type),
                "summary": version.doc,
                "bindings": { "nats": { "bindingVersion": "0.1.0" } },
                "messages": [],
            })
        });
        if let Some(messages) = operation["messages"].as_array_mut() {
            messages.push(reference(&format!("channels/{event_type}/messages"), &place));
        }
    }

    /// Puts a payload's schema and all that it refers to where every message finds it.
    fn add_schema(&mut self, version: &VersionSchema) {
        let mut schema = version.schema.clone();
        let shapes = schema.as_object_mut().and_then(|fields| {
            fields.remove("$schema");
            fields.remove("$defs")
        });
        // What several events have in common is the same in all that are written, and may have been another before.
        let place = |shape: &str| match version.is_written {
            true => shape.to_owned(),
            false => format!("{}.{shape}", version.id()),
        };
        for (shape, body) in shapes.as_ref().and_then(Value::as_object).into_iter().flatten() {
            self.schemas.insert(place(shape), relocated(body, &place));
        }
        self.schemas.insert(version.id(), relocated(&schema, &place));
    }

    fn finish(mut self) -> Value {
        self.schemas.insert("envelope".to_owned(), envelope::header_schema());
        json!({
            "asyncapi": "3.1.0",
            "info": {
                "title": "Patchwave events",
                "version": env!("CARGO_PKG_VERSION"),
                "description": ABOUT,
                "license": { "name": "Apache-2.0" },
            },
            "defaultContentType": "application/json",
            "servers": { "broker": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "nats-server with JetStream; `patchwave events subscribe` prints where it is.",
                "security": [reference("components/securitySchemes", "subscription")],
            } },
            "channels": self.channels,
            "operations": self.operations,
            "components": {
                "messages": self.messages,
                "schemas": self.schemas,
                "securitySchemes": { "subscription": {
                    "type": "userPassword",
                    "description": "What `patchwave events subscribe NAME` prints.",
                } },
            },
        })
    }
}

fn message(version: &VersionSchema) -> Value {
    let mut message = json!({
        "name": version.id(),
        "title": format!("{}, version {}", version.event_type(), version.version),
        "summary": version.doc,
        "contentType": "application/json",
        "headers": { "allOf": [
            reference("components/schemas", "envelope"),
            { "type": "object", "properties": {
                "ce-type": { "const": version.event_type() },
                "ce-dataversion": { "const": version.version.to_string() },
            } },
        ] },
        "correlationId": { "location": "$message.header#/ce-correlationid" },
        "payload": reference("components/schemas", &version.id()),
    });
    if !version.is_written {
        message["description"] = json!("Written by earlier builds; no more.");
        message["tags"] = json!([{ "name": "deprecated" }]);
    }
    message
}

/// The subject with a name in place of each wildcard, and what the names mean.
fn address(kind: AggregateKind, name: &str) -> (String, Value) {
    let of_an_id = |of: &str| format!("The id of the {of} without its kind: `01j…` of `{of}_01j…`.");
    let of_a_runner = || "The runner's name.".to_owned();
    let names = match kind {
        AggregateKind::Job => vec![("execution", of_an_id("execution")), ("job", of_an_id("job"))],
        AggregateKind::Runner | AggregateKind::Enrollment => vec![("runner", of_a_runner())],
        other => vec![(other.name(), of_an_id(other.name()))],
    };
    let mut address = subject::every(kind, name);
    let mut parameters = Map::new();
    for (name, what) in names {
        address = address.replacen('*', &format!("{{{name}}}"), 1);
        parameters.insert(name.to_owned(), json!({ "description": what }));
    }
    (address, Value::Object(parameters))
}

fn reference(place: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/{place}/{name}") })
}

/// A schema whose references lead to where its shapes are put, and which says nothing beside a reference: AsyncAPI's own
/// schemas are of draft 7, which would not hear it.
fn relocated(schema: &Value, place: &impl Fn(&str) -> String) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut moved: Map<String, Value> = fields
                .iter()
                .filter(|(name, _)| *name != "$ref")
                .map(|(name, value)| (name.clone(), relocated(value, place)))
                .collect();
            let shape = fields.get("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix("#/$defs/"));
            match shape.map(|shape| reference("components/schemas", &place(shape))) {
                None => Value::Object(moved),
                Some(reference) if moved.is_empty() => reference,
                Some(reference) => {
                    moved.insert("allOf".to_owned(), json!([reference]));
                    Value::Object(moved)
                }
            }
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| relocated(item, place)).collect()),
        other => other.clone(),
    }
}
