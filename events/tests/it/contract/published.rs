//! What subscribers are given to read events by: schemas of every version, and the AsyncAPI document.
//!
//! `UPDATE_DOCS=1 cargo test -p events` writes `docs/asyncapi.json` anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use events::AggregateKind;
use events::schema::{VersionSchema, bundle, versions};
use jsonschema::Validator;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::events::{EventGolden, event_goldens, event_types};
use super::{may_write, without_nulls};
use crate::envelope::new_event;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| events::asyncapi::document().unwrap());

fn published(golden: &EventGolden, versions: &[VersionSchema]) -> usize {
    let is_it = |version: &VersionSchema| {
        (version.kind, version.name, version.version) == (golden.kind, golden.event_type.name, golden.version)
    };
    versions.iter().position(is_it).unwrap_or_else(|| panic!("{} has no schema", golden.file.title()))
}

#[test]
fn every_version_of_every_type_is_published_once() {
    let ids: Vec<String> = versions().unwrap().iter().map(VersionSchema::id).collect();
    let expected: BTreeSet<String> = event_types()
        .flat_map(|(kind, known)| {
            (1..=known.version).map(move |version| format!("{}.{}.v{version}", kind.name(), known.name))
        })
        .collect();
    assert_eq!(ids.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(ids.len(), expected.len());
}

#[test]
fn every_golden_is_valid_by_the_schema_of_its_version_and_by_no_other_types() {
    let versions = versions().unwrap();
    let validators: Vec<Validator> =
        versions.iter().map(|version| jsonschema::draft202012::new(&version.schema).unwrap()).collect();
    for golden in event_goldens() {
        let validator = &validators[published(&golden, &versions)];
        for value in [&golden.file.value, &without_nulls(&golden.file.value)] {
            if let Err(error) = validator.validate(value) {
                panic!("{}: {error}", golden.file.title());
            }
        }
    }
    for version in &versions {
        assert!(jsonschema::draft202012::meta::is_valid(&version.schema), "{}", version.id());
    }
    let failed = versions.iter().position(|version| version.id() == "job.failed.v3").unwrap();
    assert!(!validators[failed].is_valid(&json!({ "attempt": "one" })), "a schema refuses something");
}

#[test]
fn each_schema_of_the_bundle_finds_what_it_refers_to() {
    let bundle = bundle(&versions().unwrap());
    for golden in event_goldens().iter().filter(|golden| golden.kind == AggregateKind::Job) {
        let id = format!("job.{}.v{}", golden.event_type.name, golden.version);
        let mut schema = bundle.clone();
        schema["$ref"] = json!(format!("#/$defs/{id}"));
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        assert!(validator.is_valid(&golden.file.value), "{}", golden.file.title());
        assert!(!validator.is_valid(&json!("no object")), "{id}");
    }
}

#[test]
fn the_asyncapi_document_is_made_from_the_types() {
    let path = file("../docs/asyncapi.json");
    let text = serde_json::to_string_pretty(&*DOCUMENT).unwrap() + "\n";
    if may_write() {
        std::fs::write(&path, &text).unwrap();
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(known == text, "docs/asyncapi.json is old: UPDATE_DOCS=1 cargo test -p events makes it");
}

#[test]
fn the_asyncapi_document_is_valid_by_the_official_schema() {
    let schema = std::fs::read(file("tests/fixtures/asyncapi-3.1.0.schema.json")).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let validator = jsonschema::draft7::new(&schema).unwrap();
    let document = DOCUMENT.clone();
    let errors: Vec<String> =
        validator.iter_errors(&document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    let mut wrong = document;
    wrong["operations"]["receive.job.failed"]["action"] = json!("listen");
    assert!(!validator.is_valid(&wrong), "and the schema refuses something");
}

#[test]
fn every_reference_of_the_asyncapi_document_leads_somewhere() {
    fn check(value: &Value, document: &Value) -> usize {
        match value {
            Value::Object(fields) => {
                let own = fields.get("$ref").and_then(Value::as_str).map_or(0, |to| {
                    assert!(document.pointer(to.trim_start_matches('#')).is_some(), "{to}");
                    assert_eq!(fields.len(), 1, "nothing is said beside the reference {to}");
                    1
                });
                own + fields.values().map(|field| check(field, document)).sum::<usize>()
            }
            Value::Array(items) => items.iter().map(|item| check(item, document)).sum(),
            _ => 0,
        }
    }
    assert!(check(&DOCUMENT, &DOCUMENT) > 100);
}

/// The schema of something in the AsyncAPI document, with all that it refers to.
fn validator_of(pointer: &str) -> Validator {
    let schema = json!({
        "allOf": [DOCUMENT.pointer(pointer).unwrap()],
        "components": DOCUMENT["components"],
    });
    jsonschema::draft7::new(&schema).unwrap_or_else(|error| panic!("{pointer}: {error}"))
}

#[test]
fn every_golden_is_valid_by_its_message_in_the_asyncapi_document() {
    for golden in event_goldens() {
        let name = golden.event_type.name;
        let channel = format!("{}.{name}", golden.kind.name());
        let message = format!("/channels/{channel}/messages/v{}/$ref", golden.version);
        let message = DOCUMENT.pointer(&message).and_then(Value::as_str).unwrap().trim_start_matches('#');
        let payload = validator_of(&format!("{message}/payload"));
        assert!(payload.is_valid(&golden.file.value), "{}", golden.file.title());
        assert!(!payload.is_valid(&json!(7)), "{channel}");
        // The address is the subject.
        let address = DOCUMENT["channels"][&channel]["address"].as_str().unwrap();
        let filter = events::subject::every(golden.kind, name);
        let pattern: Vec<&str> =
            address.split('.').map(|token| if token.starts_with('{') { "*" } else { token }).collect();
        assert_eq!(pattern.join("."), filter);
    }
}

/// What several written versions call by one name is one shape: the document has each once.
#[test]
fn a_shape_that_events_have_in_common_is_the_same_in_all() {
    let mut known: Map<String, Value> = Map::new();
    for version in versions().unwrap().iter().filter(|version| version.is_written) {
        for (name, shape) in version.schema["$defs"].as_object().into_iter().flatten() {
            let before = known.entry(name.clone()).or_insert_with(|| shape.clone());
            assert_eq!(before, shape, "{name} of {} is another one", version.id());
        }
    }
    assert!(known.len() > 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn the_headers_of_any_event_are_valid_by_its_message(event in new_event()) {
        let kind = event.aggregate.kind().name();
        let (name, version) = (event.event.name(), event.event.version());
        let headers = validator_of(&format!("/components/messages/{kind}.{name}.v{version}/headers"));
        let pairs = event.headers().into_iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        let mut written = Value::Object(pairs.collect());
        prop_assert!(headers.is_valid(&written), "{}", headers.iter_errors(&written).next().unwrap());
        written["ce-type"] = json!("job.painted");
        prop_assert!(!headers.is_valid(&written));
    }
}
