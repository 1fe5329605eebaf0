//! The JSON Schema of every event version, so that no payload changes its shape unnoticed.

use serde_json::Value;

use super::events::event_types;
use super::{golden_folder, may_write};

/// A change here is another version of the event: raise it, keep the old golden, and bring it up to date on read.
#[test]
fn the_shape_of_a_version_never_changes() {
    for (kind, event_type) in event_types() {
        let file = format!("{}.{}.v{}.json", kind.name(), event_type.name, event_type.version);
        let path = golden_folder().join("schema").join(&file);
        let schema = shape_only((event_type.schema)().as_value());
        if may_write() && !path.exists() {
            std::fs::write(&path, serde_json::to_string_pretty(&schema).unwrap() + "\n").unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| {
            panic!("schema/{file} is missing: UPDATE_DOCS=1 cargo test -p events makes it")
        });
        let known: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema, known, "{file} has another shape: it needs a new version");
    }
}

/// The schema without its words, which may be put better at any time.
fn shape_only(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let words = |name: &str| matches!(name, "title" | "description" | "$schema");
            let kept = fields.iter().filter(|(name, field)| !(words(name) && field.is_string()));
            Value::Object(kept.map(|(name, field)| (name.clone(), shape_only(field))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(shape_only).collect()),
        other => other.clone(),
    }
}
