//! The contracts: JSON that others have stored or may send must be read for ever.
//!
//! Owns the golden files. A file that was released never changes: a payload of another shape is another version.

mod coverage;
pub(crate) mod events;
mod published;
mod schemas;
mod wire;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A golden file, named by dots: what it is, and which example of it.
pub(crate) struct Golden {
    /// The parts of its name, without the ending.
    pub(crate) name: Vec<String>,
    /// Its text.
    pub(crate) text: String,
    /// Its content.
    pub(crate) value: Value,
}

impl Golden {
    /// The whole name, for messages.
    pub(crate) fn title(&self) -> String {
        self.name.join(".")
    }
}

/// The golden files of a folder under `golden`, by name.
pub(crate) fn goldens(folder: &str) -> Vec<Golden> {
    let mut goldens: Vec<Golden> = std::fs::read_dir(golden_folder().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| read(&path))
        .collect();
    goldens.sort_by(|one, other| one.name.cmp(&other.name));
    goldens
}

/// Where the golden files are.
pub(crate) fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Whether this run may write files that are made from the code.
pub(crate) fn may_write() -> bool {
    std::env::var_os("UPDATE_DOCS").is_some()
}

fn read(path: &Path) -> Golden {
    let file_name = path.file_name().unwrap().to_str().unwrap();
    let name = file_name.strip_suffix(".json").unwrap_or_else(|| panic!("{file_name} is not a golden file"));
    let text = std::fs::read_to_string(path).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file_name}: {error}"));
    Golden { name: name.split('.').map(str::to_owned).collect(), text, value }
}

/// The same JSON with every null left out: how a sender may write what is absent.
pub(crate) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(_, field)| !field.is_null());
            Value::Object(kept.map(|(name, field)| (name.clone(), without_nulls(field))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
