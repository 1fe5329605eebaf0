//! Templates: the part of Go's text/template that definitions use, between `${{` and `}}`.
//!
//! Owns the language. Invariant: rendering ends within a fixed amount of work and output, whatever the template.

use crate::context::Context;

/// A text with `${{ … }}` in it, parsed and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    text: String,
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
    /// The result would be too large.
    #[error("the result is larger than {limit} bytes")]
    TooLarge {
        /// The largest result.
        limit: usize,
    },
}

impl Template {
    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.text
    }

    /// Renders the text for a job.
    pub fn render(&self, context: &Context) -> Result<String, RenderError> {
        let _ = context;
        unimplemented!("published for its signatures")
    }
}
