//! The definition that is run: a file or standard input, and what a legacy file leaves to its user.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use crate::failure::Complaint;

/// The most bytes that are read: far more than a definition may have, so that its error comes from whoever knows.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What a legacy action file cannot say.
#[derive(Args, Clone, Debug, Default, Serialize)]
#[command(next_help_heading = "For a legacy action.json, which cannot say it itself")]
pub(super) struct Given {
    /// The action's name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,

    /// The branch of the changesets
    #[arg(long, value_name = "TEXT")]
    branch: Option<String>,

    /// The title of the changesets
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,

    /// The description of the changesets
    #[arg(long, value_name = "TEXT")]
    body: Option<String>,

    /// The message of the commits
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
}

impl Given {
    /// What was given, unless it is nothing.
    pub(super) fn any(&self) -> Option<&Self> {
        let all = [&self.name, &self.branch, &self.title, &self.body, &self.message];
        all.iter().any(|text| text.is_some()).then_some(self)
    }

    /// The same for whoever reads definitions.
    pub(super) fn to_spec(&self) -> spec::Given {
        let Self { name, branch, title, body, message } = self.clone();
        spec::Given { name, branch, title, body, message }
    }
}

/// A definition's text and the name under which errors show it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) file_name: String,
    pub(super) source: String,
}

/// Reads it.
pub(super) fn read(file: &Path) -> Result<Definition, Complaint> {
    let stdin = file == Path::new("-");
    let mut bytes = Vec::new();
    let read = if stdin {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
    };
    let shown = if stdin { PathBuf::from("standard input") } else { file.to_owned() };
    let hint = "name a batch spec (YAML) or a legacy action.json, or `-` to read one from standard input";
    let complain = |what: &str| Complaint::new(format!("{}: {what}", shown.display()), hint);
    read.map_err(|error| complain(&error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(complain("it is larger than a definition may be"));
    }
    let source = String::from_utf8(bytes).map_err(|_| complain("it is not UTF-8 text"))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
    let file_name = if stdin { stdin_name(&source) } else { name.unwrap_or_default() };
    Ok(Definition { file_name, source })
}

/// The kind of a definition is told by its file's name: a JSON object is a legacy action file.
fn stdin_name(source: &str) -> String {
    let json = source.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '/']);
    if json { "stdin.json" } else { "stdin.yaml" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_under_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidy.batch.yaml");
        std::fs::write(&path, "name: tidy\n").unwrap();
        let definition = Definition { file_name: "tidy.batch.yaml".into(), source: "name: tidy\n".into() };
        assert_eq!(read(&path).unwrap(), definition);
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read(&path).unwrap_err().message.contains("UTF-8"));
        assert!(read(folder.path()).unwrap_err().message.contains("directory"));
        assert!(read(Path::new("/nonexistent")).unwrap_err().message.contains("/nonexistent"));
    }

    #[test]
    fn what_comes_from_a_pipe_is_told_by_its_beginning() {
        assert_eq!(stdin_name(" {\"steps\": []}"), "stdin.json");
        assert_eq!(stdin_name("// old\n{}"), "stdin.json");
        assert_eq!(stdin_name("name: x"), "stdin.yaml");
    }
}
