//! Documents: YAML and JSON as one tree that remembers where everything stands.
//!
//! Owns syntax, aliases and their bounds, and the place in the file of every byte of a text. Never knows which keys
//! there are. Invariant: a tree is at most [`MAX_DEPTH`] deep, and walking all of it costs at most [`MAX_WEIGHT`].

mod json;
mod scalar;
mod yaml;

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use crate::diagnostic::{Code, Problem};

pub(crate) use scalar::{Scalar, Style};

/// How deep lists and maps may nest.
const MAX_DEPTH: usize = 64;

/// How many values there may be, counting what stands behind an alias each time, and a long text as several.
const MAX_WEIGHT: usize = 200_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// Its bytes; for a block of YAML only where it begins.
    pub(crate) range: Range<usize>,
}

/// A value.
#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Null,
    Bool(bool),
    /// A number, as written.
    Number(String),
    Text(Scalar),
    List(Vec<Rc<Node>>),
    /// Entries in the order of the text, each key once.
    Map(Vec<(Key, Rc<Node>)>),
}

/// The key of a map's entry.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) range: Range<usize>,
}

/// A tree, and what is wrong with its text but does not keep it from being read.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Rc<Node>,
    pub(crate) problems: Vec<Problem>,
}

/// The syntax of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    Yaml,
    Json,
}

/// Reads a text.
pub(crate) fn read(text: &str, syntax: Syntax) -> Result<Document, Problem> {
    match syntax {
        Syntax::Yaml => yaml::read(text),
        Syntax::Json => json::read(text),
    }
}

impl Node {
    /// What it is, for messages.
    pub(crate) const fn describe(&self) -> &'static str {
        match self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Bool(_) => "a boolean",
            NodeKind::Number(_) => "a number",
            NodeKind::Text(_) => "text",
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }

    /// Its bytes, or for a block its first key or value, so that an error does not point at nothing.
    pub(crate) fn anchor(&self) -> Range<usize> {
        match &self.kind {
            NodeKind::Map(entries) => {
                entries.first().map_or_else(|| self.range.clone(), |(key, _)| key.range.clone())
            }
            NodeKind::List(items) => items.first().map_or_else(|| self.range.clone(), |item| item.anchor()),
            _ => self.range.clone(),
        }
    }
}

/// The entries of a map while they are collected.
#[derive(Debug, Default)]
struct Entries {
    list: Vec<(Key, Rc<Node>)>,
    seen: HashSet<String>,
}

impl Entries {
    /// Adds an entry; a second one of the same key is refused and reported.
    fn insert(&mut self, key: Key, value: Rc<Node>) -> Option<Problem> {
        if self.seen.contains(&key.text) {
            let message = format!("the key `{}` is there already", key.text);
            return Some(Problem::new(Code::DuplicateKey, key.range, message).hint("remove one of the two"));
        }
        self.seen.insert(key.text.clone());
        self.list.push((key, value));
        None
    }

    /// Adds what a merge brings, where nothing stands already.
    fn merge(&mut self, entries: &[(Key, Rc<Node>)]) {
        for (key, value) in entries {
            if !self.seen.contains(&key.text) {
                self.insert(key.clone(), Rc::clone(value));
            }
        }
    }

    fn into_vec(self) -> Vec<(Key, Rc<Node>)> {
        self.list
    }
}
