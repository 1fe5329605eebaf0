//! What is wrong with a definition, where, and what to do about it.
//!
//! Owns the stable codes and the way an error is shown. Never decides that something is wrong.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// A stable name for an error or a warning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text that is shown and searched for.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!($($doc),*).trim_ascii(),)*
                }
            }
        }
    };
}

codes! {
    /// The file is larger than a definition may be, or says the same thing too often through aliases.
    TooLarge = "too-large",
    /// The text is not YAML, or uses a part of YAML that definitions do without.
    InvalidYaml = "invalid-yaml",
    /// The text is not JSON, with comments and trailing commas allowed.
    InvalidJson = "invalid-json",
    /// A key that means nothing at this place.
    UnknownKey = "unknown-key",
    /// A key that must be there is not, or says nothing.
    MissingKey = "missing-key",
    /// The same key, name or path twice.
    DuplicateKey = "duplicate-key",
    /// Keys that exclude each other.
    ConflictingKeys = "conflicting-keys",
    /// A value of another type than the key needs.
    WrongType = "wrong-type",
    /// A value of the right type that the key cannot take.
    InvalidValue = "invalid-value",
    /// A mounted file or folder that is not there, or cannot be mounted.
    MissingFile = "missing-file",
    /// A part of the format that this version does not support yet.
    NotSupportedYet = "not-supported-yet",
    /// Something a legacy action file needs from its user beside the file.
    MissingGiven = "missing-given",
    /// Something given beside a batch spec, which says it itself.
    UnexpectedGiven = "unexpected-given",
    /// A template that does not follow the template language.
    TemplateSyntax = "template-syntax",
    /// A template names a variable or a field that does not exist.
    UnknownVariable = "unknown-variable",
    /// A template names a variable that is not known in this field.
    VariableNotAvailable = "variable-not-available",
    /// A template calls a function that does not exist.
    UnknownFunction = "unknown-function",
    /// A template calls a function with the wrong number of arguments.
    WrongArguments = "wrong-arguments",
    /// A version in another form than a number. A warning.
    VersionForm = "version-form",
    /// An environment variable that a later entry of the same list replaces. A warning.
    ReplacedVariable = "replaced-variable",
    /// A step whose `if` is false wherever it would run. A warning.
    NeverRuns = "never-runs",
    /// A group of `transformChanges` that no file goes to. A warning.
    UnusedGroup = "unused-group",
    /// A branch that several changesets of one repository would share. A warning.
    SharedBranch = "shared-branch",
    /// A branch that differs from the one before: every changeset would be replaced. A warning.
    ReplacedBranch = "replaced-branch",
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The definition cannot be used.
    Error,
    /// The definition can be used, but should be written differently.
    Warning,
}

/// One thing that is wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Its stable name.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The file's name, or what was given beside it, as `given title`.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// How many characters of the line are meant, at least 1.
    pub length: u32,
    /// The line, or the part of a long one around the offending text, with nothing in it that a terminal acts on.
    pub excerpt: String,
    /// How many characters of `excerpt` stand before the offending text.
    pub excerpt_offset: u32,
}

/// Everything that is wrong with a definition, in the order of the text; at least one error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    omitted: usize,
}

impl Diagnostics {
    pub(crate) const fn new(list: Vec<Diagnostic>, omitted: usize) -> Self {
        Self { list, omitted }
    }

    /// The errors and warnings, in the order of the text.
    pub fn as_slice(&self) -> &[Diagnostic] {
        &self.list
    }

    /// The errors and warnings.
    pub(crate) fn into_list(self) -> Vec<Diagnostic> {
        self.list
    }

    /// How many more there are than [`Self::as_slice`] holds.
    pub const fn omitted(&self) -> usize {
        self.omitted
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let line = self.line.to_string();
        let margin = " ".repeat(line.len());
        let before = " ".repeat(self.excerpt_offset as usize);
        let carets = "^".repeat(self.length as usize);
        writeln!(f, "{severity}[{}]: {}", self.code.as_str(), self.message)?;
        writeln!(f, "{margin}--> {}:{}:{}", self.file, self.line, self.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{line} | {}", self.excerpt)?;
        write!(f, "{margin} | {before}{carets}")?;
        if let Some(hint) = &self.hint {
            write!(f, "\n{margin} = hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\n\nand {omitted} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// Something wrong at a place that only the reader of the text can turn into lines and columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) code: Code,
    /// The offending bytes.
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// An error.
    pub(crate) fn new(code: Code, range: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, range, message: message.into(), hint: None }
    }

    /// The same with a hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same as a warning.
    pub(crate) fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }
}

/// How much of a user's text a message repeats, in characters.
const MAX_SHOWN: usize = 60;

/// A user's text for a message: its first line, shortened.
pub(crate) fn shown(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut shown: String = line.chars().take(MAX_SHOWN).collect();
    if shown.len() < text.trim_end().len() {
        shown.push('…');
    }
    shown
}

/// A hint that names the known word nearest to an unknown one, if any is near.
pub(crate) fn did_you_mean(unknown: &str, known: &[&str]) -> Option<String> {
    nearest(unknown, known).map(|nearest| format!("did you mean `{nearest}`?"))
}

/// Words of more bytes than this are near nothing.
const MAX_COMPARED: usize = 64;

/// The known word nearest to an unknown one, if any is near.
pub(crate) fn nearest<'k>(unknown: &str, known: &[&'k str]) -> Option<&'k str> {
    // The distance costs the product of the lengths.
    if unknown.len() > MAX_COMPARED {
        return None;
    }
    let lower = unknown.to_lowercase();
    let distance = |word: &str| strsim::damerau_levenshtein(&lower, &word.to_lowercase());
    let near = |word: &str| 1 + word.chars().count() / 4;
    let measured = known.iter().map(|word| (distance(word), *word));
    measured
        .filter(|(distance, word)| *distance <= near(word))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["name", "branch", "branches", "changesetTemplate"];
        for (unknown, expected) in [
            ("nmae", Some("name")),
            ("NAME", Some("name")),
            ("brnch", Some("branch")),
            ("branchs", Some("branch")),
            ("branchess", Some("branches")),
            ("changeset_template", Some("changesetTemplate")),
            ("x", None),
            ("title", None),
            ("", None),
        ] {
            assert_eq!(nearest(unknown, &known), expected, "{unknown}");
        }
        assert_eq!(nearest(&"name".repeat(1000), &known), None);
    }

    #[test]
    fn a_message_repeats_one_short_line() {
        assert_eq!(shown("short"), "short");
        assert_eq!(shown("one line\n"), "one line");
        assert_eq!(shown("one\ntwo"), "one…");
        assert_eq!(shown(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
        assert_eq!(shown(""), "");
    }

    #[test]
    fn codes_are_words_with_meanings() {
        for code in Code::ALL {
            let word = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(code.as_str().chars().all(word), "{code:?}");
            assert!(code.meaning().ends_with('.') && !code.meaning().starts_with(' '), "{code:?}");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
