//! The walk over a document: maps of known keys, lists, and scalars of the type that a key needs.
//!
//! Owns the words for what any key can have wrong, and the way from a field's text to a template. Never knows a key of
//! a format by name. Invariant: a method that gives `None` has reported why.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use crate::definition::{Definition, Mount, Refusal};
use crate::diagnostic::{Code, Diagnostic, Diagnostics, Problem, nearest, shown};
use crate::document::{Key, Node, NodeKind, Scalar, Syntax};
use crate::source::{Beside, Given, Source};
use crate::template::{Allowed, FieldPlace, Template};
use crate::text::{Report, SourceText};

/// The texts by their positions: the file, and what was given beside it.
const FILE: usize = 0;
pub(super) const GIVEN_NAME: usize = 1;
pub(super) const GIVEN_BRANCH: usize = 2;
pub(super) const GIVEN_TITLE: usize = 3;
pub(super) const GIVEN_BODY: usize = 4;
pub(super) const GIVEN_MESSAGE: usize = 5;
pub(super) const GIVEN: RangeInclusive<usize> = GIVEN_NAME..=GIVEN_MESSAGE;

/// What a walk has found so far.
pub(super) struct Walk<'a> {
    texts: Vec<SourceText<'a>>,
    report: Report,
    syntax: Syntax,
    beside: &'a Beside<'a>,
    /// The outputs that the steps read so far set.
    pub(super) outputs: BTreeSet<String>,
}

/// The keys of a map.
pub(super) struct Shape {
    /// What such a map is, for messages.
    pub(super) what: &'static str,
    pub(crate) keys: &'static [&'static str],
    /// Keys that belong somewhere else, and where.
    pub(super) elsewhere: &'static [(&'static str, &'static str)],
}

/// A map that was compared with its shape.
#[derive(Clone, Copy)]
pub(super) struct Fields<'n> {
    node: &'n Node,
    entries: &'n [(Key, Rc<Node>)],
    shape: &'static Shape,
}

/// A field that takes a template.
pub(super) struct Field<'f> {
    /// Its key, for messages about its type.
    pub(super) key: &'f str,
    /// The way to it from the top of the file, for errors when it is rendered.
    pub(super) path: String,
    pub(super) place: FieldPlace,
}

impl<'n> Fields<'n> {
    /// The value of a key, unless there is none or it is nothing.
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let (_, node) = self.entries.iter().find(|(known, _)| known.text == key)?;
        (!matches!(node.kind, NodeKind::Null)).then_some(&**node)
    }

    /// Whether a key was most likely meant by one that is unknown.
    fn misspells(&self, key: &str) -> bool {
        let keys = self.shape.keys;
        let unknown = self.entries.iter().filter(|(known, _)| !keys.contains(&known.text.as_str()));
        unknown.map(|(unknown, _)| nearest(&unknown.text, keys)).any(|nearest| nearest == Some(key))
    }

    /// The place of a key.
    pub(super) fn place(&self, key: &str) -> Range<usize> {
        let found = self.entries.iter().find(|(known, _)| known.text == key);
        found.map_or_else(|| self.node.anchor(), |(key, _)| key.range.clone())
    }

    /// The place of the whole map.
    pub(super) fn anchor(&self) -> Range<usize> {
        self.node.anchor()
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &Source<'a>, syntax: Syntax, beside: &'a Beside<'a>) -> Self {
        let Given { name, branch, title, body, message } = source.given;
        let given =
            |name, text: &'a Option<String>| SourceText::new(name, text.as_deref().unwrap_or_default());
        let texts = vec![
            SourceText::new(source.file_name, source.text),
            given("given name", name),
            given("given branch", branch),
            given("given title", title),
            given("given body", body),
            given("given message", message),
        ];
        Self { texts, report: Report::default(), syntax, beside, outputs: BTreeSet::new() }
    }

    /// What was read, with the warnings, if nothing is wrong with it; else everything that is.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<(T, Vec<Diagnostic>), Diagnostics> {
        let usable = read.filter(|_| !self.report.has_errors());
        let found = self.report.finish(&self.texts);
        match usable {
            Some(read) => Ok((read, found.into_list())),
            None => Err(found),
        }
    }

    /// Why the files beside the definition do not have what a mount names, if they do not.
    pub(super) fn refusal(&self, mount: &Mount) -> Option<Refusal> {
        (self.beside.mount)(mount)
    }

    /// What the definition takes the place of.
    pub(super) const fn previous(&self) -> Option<&'a Definition> {
        self.beside.previous
    }

    /// Reports something wrong with the file.
    pub(super) fn problem(&mut self, problem: Problem) {
        self.report.add(FILE, problem);
    }

    /// Reports something wrong with what was given.
    pub(super) fn given_problem(&mut self, text: usize, problem: Problem) {
        self.report.add(text, problem);
    }

    /// What was given.
    pub(super) fn given_text(&self, text: usize) -> &'a str {
        self.texts[text].text
    }

    /// A map with the keys of a shape; others are reported and passed over.
    pub(super) fn map<'n>(&mut self, node: &'n Node, shape: &'static Shape) -> Option<Fields<'n>> {
        let NodeKind::Map(entries) = &node.kind else {
            let message = format!("{} is a map, {}", shape.what, instead(node));
            let hint = format!("its keys: {}", listed(shape.keys));
            self.problem(Problem::new(Code::WrongType, node.anchor(), message).hint(hint));
            return None;
        };
        for (key, _) in entries.iter().filter(|(key, _)| !shape.keys.contains(&key.text.as_str())) {
            self.unknown_key(key, shape);
        }
        Some(Fields { node, entries, shape })
    }

    fn unknown_key(&mut self, key: &Key, shape: &Shape) {
        let elsewhere = shape.elsewhere.iter().find(|(name, _)| *name == key.text);
        let hint = match (elsewhere, nearest(&key.text, shape.keys)) {
            (Some((_, place)), _) => (*place).to_owned(),
            (None, Some(nearest)) => format!("did you mean `{nearest}`?"),
            (None, None) => format!("its keys: {}", listed(shape.keys)),
        };
        let message = format!("{} has no key `{}`", shape.what, shown(&key.text));
        self.problem(Problem::new(Code::UnknownKey, key.range.clone(), message).hint(hint));
    }

    /// The value of a key that must be there and say something.
    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, key: &'static str) -> Option<&'n Node> {
        let found = fields.get(key);
        // The unknown key has been reported, with this one as what was meant.
        if found.is_some() || fields.misspells(key) {
            return found;
        }
        let present = fields.entries.iter().any(|(known, _)| known.text == key);
        let message = match present {
            true => format!("`{key}` says nothing"),
            false => format!("{} needs `{key}`", fields.shape.what),
        };
        let hint = match self.syntax {
            Syntax::Yaml => format!("write `{key}: …`"),
            Syntax::Json => format!("write `\"{key}\": …`"),
        };
        self.problem(Problem::new(Code::MissingKey, fields.place(key), message).hint(hint));
        None
    }

    /// The items of a list.
    pub(super) fn list<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n [Rc<Node>]> {
        match &node.kind {
            NodeKind::List(items) => Some(items),
            _ => {
                self.wrong_type(node, key, "a list");
                None
            }
        }
    }

    /// The entries of a map whose keys are the user's own.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n [(Key, Rc<Node>)]> {
        match &node.kind {
            NodeKind::Map(entries) => Some(entries),
            _ => {
                self.wrong_type(node, key, "a map");
                None
            }
        }
    }

    /// A boolean.
    pub(super) fn boolean(&mut self, node: &Node, key: &str) -> Option<bool> {
        match node.kind {
            NodeKind::Bool(value) => Some(value),
            _ => {
                self.wrong_type(node, key, "`true` or `false`");
                None
            }
        }
    }

    /// A text, maybe an empty one.
    pub(super) fn text<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Scalar> {
        match &node.kind {
            NodeKind::Text(scalar) => Some(scalar),
            _ => {
                self.wrong_type(node, key, "text");
                None
            }
        }
    }

    /// A text that says something.
    pub(super) fn filled<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n str> {
        let text = self.text(node, key)?;
        if text.value.trim().is_empty() {
            self.says_nothing(node, key);
            return None;
        }
        Some(&text.value)
    }

    /// Reports a value of another type than its key takes.
    pub(super) fn wrong_type(&mut self, node: &Node, key: &str, expected: &str) {
        let message = format!("`{}` takes {expected}, {}", shown(key), instead(node));
        let hint = match (&node.kind, expected) {
            (NodeKind::Bool(_) | NodeKind::Number(_), "text") => {
                let raw = self.texts[FILE].text.get(node.range.clone()).unwrap_or_default();
                format!("put it in quotes: `\"{}\"`", shown(raw))
            }
            (NodeKind::Null, "text") => "an empty text is written `\"\"`".to_owned(),
            (NodeKind::List(_), "text") => "write the text alone, without `- ` or brackets".to_owned(),
            (NodeKind::Map(_), "text") => "write the text alone, without keys below it".to_owned(),
            (_, "a list") => "put it in brackets: `[…]`".to_owned(),
            (_, "a map") => "write `key: value` for each entry".to_owned(),
            _ => format!("write {expected} without quotes or brackets"),
        };
        self.problem(Problem::new(Code::WrongType, node.anchor(), message).hint(hint));
    }

    fn says_nothing(&mut self, node: &Node, key: &str) {
        let message = format!("`{key}` says nothing");
        self.problem(
            Problem::new(Code::MissingKey, node.anchor(), message)
                .hint("write what it must say in its place"),
        );
    }

    /// A text in which `${{ … }}` is a template; one that can only render to nothing is refused if it must not.
    pub(super) fn template(&mut self, node: &Node, field: Field<'_>) -> Option<Template> {
        let scalar = self.text(node, field.key)?;
        let file = &self.texts[FILE];
        let origins = scalar.origins(file.text, &node.range);
        let origin = |at: usize| origins.get(at).or(origins.last()).copied().unwrap_or(node.range.start);
        let allowed = Allowed { place: field.place, outputs: &self.outputs };
        let parsed = Template::parse(&scalar.value, &field.path, allowed, |at| file.place(origin(at)));
        match parsed {
            Ok(template) => Some(template),
            Err(problem) => {
                let range = origin(problem.range.start)..origin(problem.range.end);
                self.problem(Problem { range, ..problem });
                None
            }
        }
    }

    /// A text of this reading's own in place of a template.
    pub(super) fn literal(&self, text: &str, path: &str, node: &Node) -> Template {
        Template::literal(text, path, self.texts[FILE].place(node.range.start))
    }

    /// A template that must be there and say something.
    pub(super) fn required_template(
        &mut self,
        fields: &Fields<'_>,
        key: &'static str,
        (path, place): (String, FieldPlace),
    ) -> Option<Template> {
        let node = self.required(fields, key)?;
        let template = self.template(node, Field { key, path, place })?;
        if template.constant().is_some_and(|text| text.trim().is_empty()) {
            self.says_nothing(node, key);
            return None;
        }
        Some(template)
    }
}

/// What stands at a place where something else was expected.
fn instead(node: &Node) -> String {
    match node.kind {
        NodeKind::Null => "but nothing stands here".to_owned(),
        _ => format!("not {}", node.describe()),
    }
}

/// Names for a message.
pub(super) fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
