//! Values: what expressions evaluate to.
//!
//! Owns truth, names of kinds, fields of variables, and what can be said of a value that is not known yet. Values
//! borrow from the context where they can: a step's output of megabytes is not copied to be compared with a word.

use std::rc::Rc;

use std::collections::BTreeMap;

use super::names::Root;
use crate::context::{Context, FileChanges, StepResult};
use crate::output::OutputValue;

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Nil,
    Bool(bool),
    Integer(i64),
    /// One byte of a string, as `index` gives it: a number of another type in Go.
    Byte(u8),
    Float(f64),
    Text(Text<'a>),
    List(List<'a>),
    /// A list out of an output.
    Items(&'a [OutputValue]),
    /// A map out of an output, or all outputs.
    Map(&'a BTreeMap<String, OutputValue>),
    Record(Root),
    /// What only a running job knows; there is none where everything is known.
    Later(Later),
}

/// What can be said of a value that is not known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Later {
    /// Whether it is true or false, and no other kind of value.
    pub(super) is_boolean: bool,
    /// Whether it counts as true, where that is known.
    pub(super) truth: Option<bool>,
}

/// Text, borrowed or shared.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

/// A list of texts.
#[derive(Clone, Debug)]
pub(super) struct List<'a> {
    items: Items<'a>,
    /// Whether it prints as its items with spaces between them, and not as `[a b]`.
    pub(super) spaced: bool,
}

#[derive(Clone, Debug)]
enum Items<'a> {
    Borrowed(&'a [String]),
    Shared(Rc<[Rc<str>]>),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl<'a> List<'a> {
    /// A list that prints as `[a b]`.
    pub(super) fn shared(items: Vec<Rc<str>>) -> Self {
        Self { items: Items::Shared(items.into()), spaced: false }
    }

    pub(super) fn len(&self) -> usize {
        match &self.items {
            Items::Borrowed(items) => items.len(),
            Items::Shared(items) => items.len(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Text<'a>> {
        match &self.items {
            Items::Borrowed(items) => items.get(index).map(|item| Text::Borrowed(item)),
            Items::Shared(items) => items.get(index).map(|item| Text::Shared(Rc::clone(item))),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| match &self.items {
            Items::Borrowed(items) => items[index].as_str(),
            Items::Shared(items) => &items[index],
        })
    }

    /// The part of the list in a range that lies inside it.
    pub(super) fn slice(&self, start: usize, end: usize) -> Self {
        let items = match &self.items {
            Items::Borrowed(items) => Items::Borrowed(&items[start..end]),
            Items::Shared(items) => Items::Shared(items[start..end].into()),
        };
        Self { items, spaced: self.spaced }
    }
}

impl<'a> Value<'a> {
    pub(super) fn shared(text: String) -> Self {
        Self::Text(Text::Shared(text.into()))
    }

    /// What it is, for messages.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Byte(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) | Self::Items(_) => "a list",
            Self::Map(_) => "a map",
            Self::Record(_) => "a structure",
            Self::Later(_) => "a value that is not known yet",
        }
    }

    /// Whether `if` takes it for true.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Integer(value) => *value != 0,
            Self::Byte(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.as_str().is_empty(),
            Self::List(list) => list.len() > 0,
            Self::Items(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Record(_) => true,
            Self::Later(later) => later.truth == Some(true),
        }
    }

    /// Whether `if` takes it for true, if that is known.
    pub(super) fn truth(&self) -> Option<bool> {
        match self {
            Self::Later(later) => later.truth,
            known => Some(known.is_true()),
        }
    }

    /// A value out of an output.
    pub(super) fn of_output(value: &'a OutputValue) -> Self {
        match value {
            OutputValue::Null => Self::Nil,
            OutputValue::Bool(value) => Self::Bool(*value),
            OutputValue::Integer(value) => Self::Integer(*value),
            OutputValue::Float(value) => Self::Float(*value),
            OutputValue::Text(text) => Self::borrowed(text),
            OutputValue::List(items) => Self::Items(items),
            OutputValue::Map(map) => Self::Map(map),
        }
    }

    /// A variable itself.
    pub(super) fn of_root(root: Root, context: &'a Context) -> Self {
        match root {
            Root::Outputs => Self::Map(context.outputs.as_map()),
            Root::BatchChangeLink => Self::borrowed(&context.batch_change_link),
            _ => Self::Record(root),
        }
    }

    fn borrowed(text: &'a str) -> Self {
        Self::Text(Text::Borrowed(text))
    }

    fn list(items: &'a [String], spaced: bool) -> Self {
        Self::List(List { items: Items::Borrowed(items), spaced })
    }

    /// A field of a variable.
    pub(super) fn field(root: Root, field: &str, context: &'a Context) -> Option<Self> {
        let Context { repository, batch_change, previous_step, step, steps, .. } = context;
        match (root, field) {
            (Root::Repository, "name") => Some(Self::borrowed(&repository.name)),
            (Root::Repository, "branch") => Some(Self::borrowed(&repository.branch)),
            (Root::Repository, "search_result_paths") => {
                Some(Self::list(&repository.search_result_paths, true))
            }
            (Root::BatchChange, "name") => Some(Self::borrowed(&batch_change.name)),
            (Root::BatchChange, "description") => Some(Self::borrowed(&batch_change.description)),
            (Root::PreviousStep, _) => Self::result(previous_step, field),
            (Root::Step, _) => Self::result(step, field),
            (Root::Steps, "path") => Some(Self::borrowed(&steps.path)),
            (Root::Steps, _) => Self::changed(&steps.changes, field),
            _ => None,
        }
    }

    fn result(result: &'a StepResult, field: &str) -> Option<Self> {
        match field {
            "stdout" => Some(Self::borrowed(&result.stdout)),
            "stderr" => Some(Self::borrowed(&result.stderr)),
            _ => Self::changed(&result.changes, field),
        }
    }

    fn changed(changes: &'a FileChanges, field: &str) -> Option<Self> {
        let files = match field {
            "modified_files" => &changes.modified,
            "added_files" => &changes.added,
            "deleted_files" => &changes.deleted,
            "renamed_files" => &changes.renamed,
            _ => return None,
        };
        Some(Self::list(files, false))
    }
}
