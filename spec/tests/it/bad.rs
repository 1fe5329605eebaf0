//! Definitions that are wrong: what is shown for each file of `tests/bad`.
//!
//! `UPDATE_DOCS=1 cargo test -p spec` writes the expected texts anew; read the difference before it is committed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use spec::{Beside, Code, Definition, Diagnostic, Given, Mount, Refusal, Severity, Source};

use crate::given::{accepted, batch, named};

#[test]
fn what_is_wrong_is_shown_as_expected() {
    let mut differing = Vec::new();
    for definition in definitions() {
        let shown = shown(&definition);
        let golden = definition.with_extension("expected");
        let golden = golden.with_file_name(format!("{}.expected", name(&definition)));
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&golden, &shown).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if shown != expected {
            differing.push(format!("{}: expected\n{expected}\nbut it is\n{shown}", golden.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n\n"));
}

#[test]
fn every_expected_text_belongs_to_a_definition() {
    let definitions: BTreeSet<String> = definitions().iter().map(|path| name(path)).collect();
    for path in files().into_iter().filter(|path| is_expectation(path)) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(definitions.contains(stem), "{} has no definition", path.display());
    }
}

#[test]
fn every_code_is_shown_by_a_definition() {
    let seen: BTreeSet<Code> =
        definitions().iter().flat_map(|path| found(path)).map(|found| found.code).collect();
    // A file that is too large is tested where it is made.
    let unseen: Vec<_> = Code::ALL.iter().filter(|code| !seen.contains(code)).collect();
    assert_eq!(unseen, Vec::<&Code>::new());
}

#[test]
fn every_code_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    let text = fs::read_to_string(path).unwrap();
    for code in Code::ALL {
        let row = format!("| `{}` |", code.as_str());
        assert!(text.lines().any(|line| line.starts_with(&row)), "docs/errors.md has no row `{row} …`");
        assert!(!code.meaning().is_empty(), "{code:?}");
    }
}

#[test]
fn every_diagnostic_says_where_it_is() {
    for path in definitions() {
        let text = fs::read_to_string(&path).unwrap();
        for Diagnostic { file, line, column, length, .. } in found(&path) {
            assert!(length > 0, "{}: the length is 0", path.display());
            if file.starts_with("given ") {
                continue;
            }
            let shown = text.split('\n').nth(line as usize - 1).unwrap_or_default().chars().count();
            assert!(column as usize <= shown + 1, "{}: {line}:{column} is beyond the line", path.display());
        }
    }
}

/// What is shown for a file, or that it is accepted.
fn shown(path: &Path) -> String {
    let found: Vec<String> = found(path).iter().map(Diagnostic::to_string).collect();
    format!("{}\n", found.join("\n\n"))
}

/// Everything that is found in a file: warnings alone if it is accepted.
fn found(path: &Path) -> Vec<Diagnostic> {
    let name = name(path);
    let text = fs::read_to_string(path).unwrap();
    let given = given(&name);
    let source = Source { file_name: &name, text: &text, given: &given, command_image: "command-image" };
    let refuse = |mount: &Mount| {
        let refusal =
            || Refusal { message: format!("`{}` is not there", mount.path), hint: "look".to_owned() };
        mount.path.ends_with("missing").then(refusal)
    };
    let previous = name.starts_with("replaced").then(previous);
    let beside = Beside { mount: &refuse, previous: previous.as_ref() };
    match spec::parse_beside(&source, &beside) {
        Err(diagnostics) => {
            assert!(diagnostics.as_slice().iter().any(|found| found.severity == Severity::Error), "{name}");
            diagnostics.as_slice().to_vec()
        }
        Ok(parsed) => {
            assert!(!parsed.warnings.is_empty(), "{name} has nothing wrong with it");
            parsed.warnings
        }
    }
}

/// What the definitions that replace one take the place of.
fn previous() -> Definition {
    accepted(batch("name: n\nchangesetTemplate: { title: t, branch: before, commit: { message: m } }"))
}

fn given(name: &str) -> Given {
    let some = |text: &str| Some(text.to_owned());
    match name {
        "missing-given.action.json" => Given { name: some("  "), ..Given::default() },
        "bad-given.action.json" => {
            Given { name: some("two words"), branch: some("a..b"), ..Given::default() }
        }
        "unexpected-given.batch.yaml" => Given {
            name: some("a name"),
            branch: some("a branch"),
            title: some("a title"),
            body: some("a body\nof two lines"),
            message: some(""),
        },
        _ if name.contains(".action.") => named(),
        _ => Given::default(),
    }
}

fn definitions() -> Vec<PathBuf> {
    let definitions: Vec<_> = files().into_iter().filter(|path| !is_expectation(path)).collect();
    assert!(!definitions.is_empty());
    definitions
}

fn is_expectation(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "expected")
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
