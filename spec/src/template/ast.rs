//! The tree of a template.
//!
//! Owns shapes only. Variables are numbered slots: a name was resolved to its declaration when the text was parsed.

use std::collections::BTreeSet;

use super::function::Function;
use super::names::Root;

/// A parsed template.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
    /// How many variables there are.
    pub(super) slots: usize,
    /// The variables that it names, each with the field that follows, if one does.
    pub(super) uses: BTreeSet<(Root, Option<String>)>,
}

/// What stands in a template, in order.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    Text(String),
    /// Prints its value, unless it sets a variable.
    Action(Pipeline),
    /// The body of the first arm whose value counts as true, else `otherwise`.
    Choice {
        /// Whether the value becomes the dot (`with`) or not (`if`).
        sets_dot: bool,
        arms: Vec<Arm>,
        otherwise: Vec<Node>,
    },
    Range {
        pipeline: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Break,
    Continue,
}

/// A condition and what it guards.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Arm {
    pub(super) pipeline: Pipeline,
    pub(super) body: Vec<Node>,
}

/// Commands, each of which gets the value before it as its last argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pipeline {
    /// The slots that get the value: one, or two in a `range`.
    pub(super) targets: Vec<usize>,
    pub(super) commands: Vec<Command>,
}

/// A value, or a function and its arguments.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Command {
    pub(super) head: Operand,
    pub(super) arguments: Vec<Operand>,
}

/// A part of a command.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Operand {
    pub(super) kind: OperandKind,
    /// Fields to follow, with their places in the text.
    pub(super) fields: Vec<Name>,
    /// Its place in the text.
    pub(super) at: usize,
}

/// What a part of a command is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum OperandKind {
    Nil,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Dot,
    Variable(usize),
    Root(Root),
    Function(Function),
    Pipeline(Box<Pipeline>),
}

/// A name and its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Name {
    pub(super) text: String,
    pub(super) at: usize,
}

impl OperandKind {
    /// Whether it may stand after a `|`, where it would get an argument.
    pub(super) const fn is_literal(&self) -> bool {
        matches!(
            self,
            Self::Nil | Self::Bool(_) | Self::Integer(_) | Self::Float(_) | Self::Text(_) | Self::Dot
        )
    }
}
