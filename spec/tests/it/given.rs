//! Sources, as one line of data.

use spec::{Definition, Diagnostics, Given, Parsed, Source};

/// Reads a batch spec.
pub(crate) fn batch(text: &str) -> Result<Parsed, Diagnostics> {
    read("test.batch.yaml", text, &Given::default())
}

/// Reads a legacy action file with a name and a branch beside it.
pub(crate) fn legacy(text: &str) -> Result<Parsed, Diagnostics> {
    read("action.json", text, &named())
}

/// Reads a file of this name.
pub(crate) fn read(file_name: &str, text: &str, given: &Given) -> Result<Parsed, Diagnostics> {
    spec::parse(&Source { file_name, text, given, command_image: "command-image" })
}

/// The least that must be given beside a legacy action file.
pub(crate) fn named() -> Given {
    Given { name: Some("legacy".to_owned()), branch: Some("legacy/branch".to_owned()), ..Given::default() }
}

/// The definition of a text that must be right and give no warnings.
#[track_caller]
pub(crate) fn accepted(parsed: Result<Parsed, Diagnostics>) -> Definition {
    let parsed = parsed.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    assert_eq!(parsed.warnings, [], "warnings");
    parsed.definition
}
