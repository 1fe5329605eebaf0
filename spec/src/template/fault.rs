//! What can be wrong with a template: as it is written, and when it is rendered.
//!
//! Owns the words. Positions are byte ranges of the template's own text; whoever knows the file maps them.

use std::ops::Range;

use crate::diagnostic::{Code, Problem};

/// A text that does not follow the language.
pub(super) fn syntax(range: Range<usize>, message: impl Into<String>) -> Problem {
    Problem::new(Code::TemplateSyntax, range, message)
}

/// Why a template that is correct by itself could not be rendered for a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}, line {line}, column {column}: {fault}")]
pub struct RenderError {
    /// The field, as `steps[0].run`.
    pub field: String,
    /// The line in the definition's file, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What went wrong.
    pub fault: RenderFault,
}

/// What can go wrong when a template is rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderFault {
    /// The result, or something on the way to it, would be too large.
    #[error("the result is larger than {limit} bytes")]
    TooLarge {
        /// The largest result in bytes.
        limit: usize,
    },
    /// The template does more work than any sensible one.
    #[error("it takes too much work: look for a `range` inside a `range`")]
    TooMuchWork,
    /// There is no such field.
    #[error("{of} has no field `{field}`")]
    NoField {
        /// What was looked into.
        of: &'static str,
        /// The missing name.
        field: String,
    },
    /// A function cannot work with what it got.
    #[error("`{function}` needs {expected}, not {got}")]
    WrongType {
        /// The function, or `range`.
        function: &'static str,
        /// What it works with.
        expected: &'static str,
        /// What it got.
        got: &'static str,
    },
    /// Two things that cannot be compared.
    #[error("`{function}` cannot compare {left} with {right}")]
    Incomparable {
        /// The function.
        function: &'static str,
        /// The kind of the first.
        left: &'static str,
        /// The kind of the second.
        right: &'static str,
    },
    /// An index beyond the end.
    #[error("`{function}`: {index} is out of range for a length of {length}")]
    OutOfRange {
        /// The function.
        function: &'static str,
        /// The index.
        index: i64,
        /// How many there are.
        length: usize,
    },
    /// A slice that would cut a character in half.
    #[error("`slice`: byte {index} is inside a character")]
    InsideCharacter {
        /// The byte.
        index: usize,
    },
    /// A `printf` verb that is not implemented.
    #[error("`printf`: the verb `%{verb}` is not supported for {got}")]
    UnsupportedVerb {
        /// The verb.
        verb: char,
        /// What it should print.
        got: &'static str,
    },
    /// A pattern that is not a glob.
    #[error("`{pattern}` is not a glob: {reason}")]
    BadGlob {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A structure where text is needed.
    #[error("{what} is not text: choose one of its fields")]
    NotText {
        /// What it is.
        what: &'static str,
    },
    /// A name whose value only a running job knows.
    #[error("that is known only once the job runs")]
    NotKnownYet,
    /// The template's branch meets that of a group.
    #[error(
        "the branch `{name}` {relation} the group of `{directory}` in transformChanges, `{group}`: give each a name of its own"
    )]
    GroupBranch {
        /// The rendered name.
        name: String,
        /// The group's directory.
        directory: String,
        /// The group's branch.
        group: String,
        /// How they meet.
        relation: &'static str,
    },
    /// A group's branch is the one that the changesets should change.
    #[error("`{name}` is the base branch, and the branch of the group of `{directory}` in transformChanges")]
    GroupBase {
        /// The base branch.
        name: String,
        /// The group's directory.
        directory: String,
    },
    /// A field that must say something.
    #[error("it renders to nothing")]
    Empty,
    /// A branch that git does not accept.
    #[error("`{name}` is not a branch name: git's rules are in `git help check-ref-format`")]
    BadBranch {
        /// The rendered name.
        name: String,
    },
    /// The branch that the changeset should change.
    #[error("`{name}` is the base branch: a changeset needs a branch of its own")]
    BaseBranch {
        /// The rendered name.
        name: String,
    },
    /// An author whom git does not accept.
    #[error("`{text}` holds a line break, `<` or `>`, which git refuses in an author")]
    BadAuthor {
        /// The rendered text.
        text: String,
    },
}
