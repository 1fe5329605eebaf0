//! Outputs: what steps hand on to later steps and to the changeset template, by name.
//!
//! Owns the values, their reading from a step's rendered text, and their bound. Invariant: all outputs of a job together
//! weigh at most [`Outputs::MAX_BYTES`], so that they fit into whatever carries or caches them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{self, Node, NodeKind, Syntax};
use crate::template::{RenderError, Template};
use crate::{Context, diagnostic};

/// One entry of a step's `outputs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// The text that it is read from, rendered once the step has ended.
    pub value: Template,
    /// How the text is read.
    pub format: OutputFormat,
}

/// How an output's text is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutputFormat {
    /// It is the value.
    #[default]
    Text,
    /// It is JSON.
    Json,
    /// It is YAML.
    Yaml,
}

/// The value of an output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OutputValue {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other finite number.
    Float(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<OutputValue>),
    /// Values by name.
    Map(BTreeMap<String, OutputValue>),
}

/// The outputs of all steps so far: a later one of the same name takes the place of an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Outputs(BTreeMap<String, OutputValue>);

/// Why there is no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// Its template cannot be rendered.
    #[error(transparent)]
    Template(#[from] RenderError),
    /// Its text is not of the format.
    #[error("the output `{name}` is not {format}: line {line} of its text: {message}")]
    Unreadable {
        /// The output.
        name: String,
        /// The format's name.
        format: &'static str,
        /// The line in the rendered text, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The job's outputs are too large.
    #[error(
        "with `{name}` the outputs have more than {limit} bytes: write what is long into a file of the repository"
    )]
    TooLarge {
        /// The output.
        name: String,
        /// The most bytes.
        limit: usize,
    },
}

/// What a value weighs besides its text.
const OVERHEAD: usize = 16;

impl Output {
    /// The value after the step: `context` knows the step, and the outputs of the steps before it.
    pub fn read(&self, context: &Context) -> Result<OutputValue, OutputError> {
        let text = self.value.render(context)?;
        let syntax = match self.format {
            OutputFormat::Text => return Ok(OutputValue::Text(text)),
            OutputFormat::Json => Syntax::Json,
            OutputFormat::Yaml => Syntax::Yaml,
        };
        let document = document::read(&text, syntax);
        let problem = match document {
            Ok(document) => match document.problems.into_iter().next() {
                None => return Ok(value(&document.root)),
                Some(problem) => problem,
            },
            Err(problem) => problem,
        };
        let before = text.get(..problem.range.start).unwrap_or(&text);
        Err(OutputError::Unreadable {
            name: self.name.clone(),
            format: self.format.name(),
            line: before.matches('\n').count() + 1,
            message: diagnostic::shown(&problem.message),
        })
    }
}

impl OutputFormat {
    /// Its name in a definition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Yaml => "yaml",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "JSON",
            Self::Yaml => "YAML",
        }
    }
}

impl Outputs {
    /// The most that all outputs of a job weigh together.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// Sets one, in place of an earlier one of its name. If that would be too much, nothing is changed.
    pub fn set(&mut self, name: &str, value: OutputValue) -> Result<(), OutputError> {
        let others = self.0.iter().filter(|(other, _)| *other != name);
        let weight: usize = others.map(|(name, value)| name.len() + value.weight()).sum();
        if weight + name.len() + value.weight() > Self::MAX_BYTES {
            return Err(OutputError::TooLarge { name: diagnostic::shown(name), limit: Self::MAX_BYTES });
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// All of them, by name.
    pub const fn as_map(&self) -> &BTreeMap<String, OutputValue> {
        &self.0
    }
}

impl OutputValue {
    fn weight(&self) -> usize {
        OVERHEAD
            + match self {
                Self::Text(text) => text.len(),
                Self::List(items) => items.iter().map(Self::weight).sum(),
                Self::Map(entries) => entries.iter().map(|(key, value)| key.len() + value.weight()).sum(),
                _ => 0,
            }
    }
}

/// The value that a document says. Documents are of bounded depth.
pub(crate) fn value(node: &Node) -> OutputValue {
    match &node.kind {
        NodeKind::Null => OutputValue::Null,
        NodeKind::Bool(value) => OutputValue::Bool(*value),
        NodeKind::Number(number) => self::number(number),
        NodeKind::Text(text) => OutputValue::Text(text.value.clone()),
        NodeKind::List(items) => OutputValue::List(items.iter().map(|item| value(item)).collect()),
        NodeKind::Map(entries) => {
            OutputValue::Map(entries.iter().map(|(key, node)| (key.text.clone(), value(node))).collect())
        }
    }
}

/// A number of JSON or YAML; one that has no finite value stays text.
fn number(text: &str) -> OutputValue {
    let radix =
        |prefix, radix| text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok());
    let whole = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| text.parse().ok());
    let fraction = || text.parse::<f64>().ok().filter(|number| number.is_finite());
    match whole {
        Some(number) => OutputValue::Integer(number),
        None => fraction().map_or_else(|| OutputValue::Text(text.to_owned()), OutputValue::Float),
    }
}
