//! Templates: the part of Go's text/template that definitions use, between `${{` and `}}`.
//!
//! Owns the language: every name in a template is checked when the definition is parsed, each field by itself, so
//! that only what depends on a job can go wrong later. Never reads anything but the context. Invariant: rendering ends
//! within a fixed amount of work and output, whatever the template.

mod ast;
mod call;
mod compare;
mod eval;
mod expression;
mod fault;
mod function;
mod glob;
mod lexer;
mod literal;
mod meter;
mod names;
mod number;
mod parser;
mod print;
mod printf;
mod value;
mod verb;

use std::sync::Arc;

use crate::context::Context;
use crate::diagnostic::Problem;
use crate::static_if;
use crate::text::Place;

pub use fault::{RenderError, RenderFault};
pub use glob::Glob;
pub(crate) use names::{Allowed, Known, Place as FieldPlace, Root};

/// A text with `${{ … }}` in it, parsed and checked. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Arc<Inner>);

#[derive(Debug, PartialEq)]
struct Inner {
    text: String,
    /// The field's name, for errors.
    field: String,
    tree: ast::Tree,
    /// Where in its file each part of an action begins, by its byte of `text`.
    spots: Vec<(usize, Place)>,
}

impl Template {
    /// Parses the text of a field; `place` finds the place of one of its bytes in the file.
    pub(crate) fn parse(
        text: &str,
        field: &str,
        allowed: Allowed<'_>,
        place: impl Fn(usize) -> Place,
    ) -> Result<Self, Problem> {
        let (tree, starts) = parser::parse(text, allowed)?;
        let spots = starts.into_iter().map(|start| (start, place(start))).collect();
        Ok(Self(Arc::new(Inner { text: text.to_owned(), field: field.to_owned(), tree, spots })))
    }

    /// A text in which `${{` means nothing.
    pub(crate) fn literal(text: &str, field: &str, place: Place) -> Self {
        let tree = ast::Tree { nodes: vec![ast::Node::Text(text.to_owned())], ..ast::Tree::default() };
        Self(Arc::new(Inner {
            text: text.to_owned(),
            field: field.to_owned(),
            tree,
            spots: vec![(0, place)],
        }))
    }

    /// The text as it was written.
    pub fn source(&self) -> &str {
        &self.0.text
    }

    /// The text if it is the same for every job.
    pub(crate) fn constant(&self) -> Option<&str> {
        match &self.0.tree.nodes[..] {
            [] => Some(""),
            [ast::Node::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Renders the text for a job.
    pub fn render(&self, context: &Context) -> Result<String, RenderError> {
        self.render_known(context, Known::All)
    }

    /// The same with a part of the context; what the rest of it decides is a fault.
    pub(crate) fn render_known(&self, context: &Context, known: Known) -> Result<String, RenderError> {
        eval::render(&self.0.tree, (context, known)).map_err(|(at, fault)| self.error(at, fault))
    }

    /// Whether it renders to `true`, if what is known decides that.
    pub(crate) fn decide(&self, context: &Context, known: Known) -> Option<bool> {
        match self.render_known(context, known) {
            Ok(text) => Some(static_if::says_true(&text)),
            Err(_) => eval::is_false(&self.0.tree, (context, known)).then_some(false),
        }
    }

    /// The variables that it names, each with the field that follows, if one does.
    pub(crate) fn uses(&self) -> impl Iterator<Item = (Root, Option<&str>)> {
        self.0.tree.uses.iter().map(|(root, field)| (*root, field.as_deref()))
    }

    /// An error at a byte of the text.
    pub(crate) fn error(&self, at: usize, fault: RenderFault) -> RenderError {
        let index = self.0.spots.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        let place = self.0.spots.get(index).map_or(Place { line: 1, column: 1 }, |(_, place)| *place);
        RenderError { field: self.0.field.clone(), line: place.line, column: place.column, fault }
    }
}
