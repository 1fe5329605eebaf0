//! The published JSON Schemas of both formats, for editors.
//!
//! Owns the texts. They say what a schema can say; whatever a schema accepts may still be refused by [`crate::parse`], with
//! better words. Invariant: every key that the reading knows is in them, and no other.

/// The schema of a batch spec, draft 2020-12.
pub const BATCH_SPEC_SCHEMA: &str = include_str!("../schema/batch-spec.schema.json");

/// The schema of a legacy action file, draft 2020-12.
pub const ACTION_FILE_SCHEMA: &str = include_str!("../schema/action-file.schema.json");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::*;
    use crate::document::{self, Syntax};
    use crate::output;
    use crate::reading::KEYS;

    fn schema(name: &str) -> Value {
        serde_json::from_str(if name == "batch-spec" { BATCH_SPEC_SCHEMA } else { ACTION_FILE_SCHEMA })
            .unwrap()
    }

    #[test]
    fn every_key_that_the_reading_knows_is_described_and_no_other() {
        let mut described = BTreeSet::new();
        for (known, name, pointer) in KEYS {
            let schema = schema(name);
            let object = schema.pointer(pointer).unwrap_or_else(|| panic!("{name} has no {pointer}"));
            let keys: BTreeSet<&str> =
                object["properties"].as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, known.iter().copied().collect(), "{name}{pointer}");
            assert_eq!(object["additionalProperties"], false, "{name}{pointer}");
            described.insert((*name, (*pointer).to_owned()));
        }
        // A map of known keys that is in a schema and that no reading has would be one nobody can write.
        for name in ["batch-spec", "action-file"] {
            for (key, definition) in schema(name)["$defs"].as_object().unwrap() {
                let is_map = definition["additionalProperties"] == false;
                assert!(!is_map || described.contains(&(name, format!("/$defs/{key}"))), "{name}: {key}");
            }
        }
    }

    fn files(folder: &str) -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let paths = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        let is_definition = |path: &PathBuf| path.extension().is_none_or(|extension| extension != "expected");
        let files: Vec<_> = paths.filter(|path| path.is_file()).filter(is_definition).collect();
        assert!(!files.is_empty(), "{}", folder.display());
        files
    }

    /// What a schema says about a file.
    fn complaints(path: &Path) -> Vec<String> {
        let name = path.file_name().unwrap().to_str().unwrap();
        let syntax = if name.ends_with(".json") { Syntax::Json } else { Syntax::Yaml };
        let format = if name.contains(".batch.") { "batch-spec" } else { "action-file" };
        let document = document::read(&std::fs::read_to_string(path).unwrap(), syntax).unwrap();
        let value = serde_json::to_value(output::value(&document.root)).unwrap();
        let validator = jsonschema::draft202012::new(&schema(format)).unwrap();
        validator
            .iter_errors(&value)
            .map(|error| format!("{name}: {}: {error}", error.instance_path()))
            .collect()
    }

    #[test]
    fn the_schemas_follow_their_draft_and_take_every_good_definition() {
        for name in ["batch-spec", "action-file"] {
            assert!(jsonschema::draft202012::meta::is_valid(&schema(name)), "{name}");
        }
        for path in files("tests/good").into_iter().chain(files("../examples")) {
            let is_definition =
                path.to_str().is_some_and(|name| name.contains(".batch.") || name.contains("action."));
            assert_eq!(if is_definition { complaints(&path) } else { Vec::new() }, Vec::<String>::new());
        }
    }

    #[test]
    fn an_editor_marks_what_a_schema_can_see() {
        for name in [
            "unknown-keys.batch.yaml",
            "missing-keys.batch.yaml",
            "wrong-types.batch.yaml",
            "wrong-types-below.batch.yaml",
            "workspaces.batch.yaml",
            "workspaces-map.batch.yaml",
            "transform.batch.yaml",
            "transform-forms.batch.yaml",
            "transform-list.batch.yaml",
            "imports.batch.yaml",
            "outputs.batch.yaml",
            "missing-template.batch.yaml",
            "settings.batch.yaml",
            "registries.batch.yaml",
            "keys.action.json",
        ] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad").join(name);
            assert!(!complaints(&path).is_empty(), "{name}");
        }
    }
}
