//! YAML 1.2: one document of maps, lists and scalars.
//!
//! Owns aliases, merges (`<<`) and the meaning of plain scalars (the core schema: `yes`, `on` and `012` are what they
//! look like). Built on the events of granit-parser, which bounds nesting while it reads.

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, Tag, options};

use super::{Document, Entries, Key, MAX_DEPTH, MAX_WEIGHT, Node, NodeKind, Scalar, Style};
use crate::diagnostic::{Code, Problem};

const MERGE: &str = "<<";

/// A text of this many bytes weighs as much as one more value.
const BYTES_PER_WEIGHT: usize = 64;

/// Reads a text.
pub(super) fn read(text: &str) -> Result<Document, Problem> {
    let options = options! { flow_nesting_limit: MAX_DEPTH, block_nesting_limit: MAX_DEPTH };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| syntax_error(text, &error))?;
        builder.event(event, span)?;
    }
    let empty = || Rc::new(Node { kind: NodeKind::Null, range: 0..text.len() });
    Ok(Document { root: builder.root.unwrap_or_else(empty), problems: builder.problems })
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// What an alias can stand for; an anchor is known once its value is complete.
    anchors: HashMap<usize, Weighed>,
    root: Option<Rc<Node>>,
    problems: Vec<Problem>,
}

/// A value, and how much walking all of it costs.
#[derive(Clone)]
struct Weighed {
    node: Rc<Node>,
    weight: usize,
}

/// A list or map that is not complete yet.
struct Open {
    contents: Contents,
    anchor: usize,
    start: usize,
    weight: usize,
}

enum Contents {
    List(Vec<Rc<Node>>),
    Map { entries: Entries, merges: Vec<Rc<Node>>, key: Option<MapKey> },
}

enum MapKey {
    Merge,
    Named(Key),
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let range = bytes(span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(invalid(range, "a second document begins here").hint("a file holds one definition"))
            }
            Event::Scalar(value, style, anchor, tag) => {
                let text = tag_of(tag.as_deref(), span)?;
                self.scalar(Text { value: &value, style, forced: text }, anchor, range)
            }
            Event::SequenceStart(_, anchor, tag) => {
                tag_of(tag.as_deref(), span)?;
                self.open(Contents::List(Vec::new()), anchor, range)
            }
            Event::MappingStart(_, anchor, tag) => {
                tag_of(tag.as_deref(), span)?;
                let contents = Contents::Map { entries: Entries::default(), merges: Vec::new(), key: None };
                self.open(contents, anchor, range)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range),
            Event::Alias(anchor) => self.alias(anchor, range),
            _ => Ok(()),
        }
    }

    fn open(&mut self, contents: Contents, anchor: usize, range: Range<usize>) -> Result<(), Problem> {
        if self.awaits_key() {
            return Err(invalid(range, "a list or map cannot be a key")
                .hint("a text that begins with `[` or `{` must be in quotes"));
        }
        self.open.push(Open { contents, anchor, start: range.start, weight: 1 });
        Ok(())
    }

    fn close(&mut self, range: Range<usize>) -> Result<(), Problem> {
        let Some(Open { contents, anchor, start, weight }) = self.open.pop() else { return Ok(()) };
        let kind = match contents {
            Contents::List(items) => NodeKind::List(items),
            Contents::Map { mut entries, merges, .. } => {
                merges.iter().for_each(|merged| merge(&mut entries, merged));
                NodeKind::Map(entries.into_vec())
            }
        };
        let node = Rc::new(Node { kind, range: start..range.end.max(start) });
        self.value(Weighed { node, weight }, anchor)
    }

    fn scalar(&mut self, text: Text<'_>, anchor: usize, range: Range<usize>) -> Result<(), Problem> {
        if self.awaits_key() {
            let plain = text.style == ScalarStyle::Plain;
            let key = match text.value {
                MERGE if plain => MapKey::Merge,
                value => MapKey::Named(Key { text: value.to_owned(), range }),
            };
            self.set_key(key);
            return Ok(());
        }
        let weight = 1 + text.value.len() / BYTES_PER_WEIGHT;
        let node = Rc::new(Node { kind: text.kind(), range });
        self.value(Weighed { node, weight }, anchor)
    }

    fn alias(&mut self, anchor: usize, range: Range<usize>) -> Result<(), Problem> {
        let Some(target) = self.anchors.get(&anchor).cloned() else {
            return Err(
                invalid(range, "an alias cannot stand for what it is a part of").hint("write the value out")
            );
        };
        if self.awaits_key() {
            let NodeKind::Text(Scalar { value, .. }) = &target.node.kind else {
                return Err(invalid(range, "this alias cannot be a key: it does not stand for text")
                    .hint("write the key out"));
            };
            self.set_key(MapKey::Named(Key { text: value.clone(), range }));
            return Ok(());
        }
        let total: usize = target.weight + self.open.iter().map(|open| open.weight).sum::<usize>();
        if total > MAX_WEIGHT {
            let message = format!("with this alias the file stands for more than {MAX_WEIGHT} values");
            return Err(Problem::new(Code::TooLarge, range, message).hint("repeat less, or split the file"));
        }
        self.value(target, 0)
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { contents: Contents::Map { key: None, .. }, .. }))
    }

    fn set_key(&mut self, named: MapKey) {
        if let Some(Open { contents: Contents::Map { key, .. }, weight, .. }) = self.open.last_mut() {
            *key = Some(named);
            *weight += 1;
        }
    }

    /// Puts a complete value where it belongs.
    fn value(&mut self, value: Weighed, anchor: usize) -> Result<(), Problem> {
        // The parser numbers anchors from 1.
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        let Some(Open { contents, weight, .. }) = self.open.last_mut() else {
            self.root = Some(value.node);
            return Ok(());
        };
        *weight += value.weight;
        match contents {
            Contents::List(items) => items.push(value.node),
            Contents::Map { entries, merges, key } => match key.take() {
                Some(MapKey::Named(key)) => self.problems.extend(entries.insert(key, value.node)),
                Some(MapKey::Merge) if mergeable(&value.node) => merges.push(value.node),
                _ => {
                    return Err(invalid(value.node.anchor(), "`<<` takes a map, or a list of maps")
                        .hint("write `<<: *name` with the anchor of a map"));
                }
            },
        }
        Ok(())
    }
}

fn mergeable(node: &Node) -> bool {
    match &node.kind {
        NodeKind::Map(_) => true,
        NodeKind::List(items) => items.iter().all(|item| matches!(item.kind, NodeKind::Map(_))),
        _ => false,
    }
}

fn merge(entries: &mut Entries, merged: &Node) {
    match &merged.kind {
        NodeKind::Map(merged) => entries.merge(merged),
        NodeKind::List(items) => items.iter().for_each(|item| merge(entries, item)),
        _ => {}
    }
}

/// A scalar as the parser gives it.
struct Text<'t> {
    value: &'t str,
    style: ScalarStyle,
    /// Whether a tag says that it is text.
    forced: bool,
}

impl Text<'_> {
    fn kind(&self) -> NodeKind {
        let style = match self.style {
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::Escaped,
            _ => Style::Verbatim,
        };
        let text = || NodeKind::Text(Scalar { value: self.value.to_owned(), style });
        if self.forced || self.style != ScalarStyle::Plain {
            return text();
        }
        match self.value {
            "" | "~" | "null" | "Null" | "NULL" => NodeKind::Null,
            "true" | "True" | "TRUE" => NodeKind::Bool(true),
            "false" | "False" | "FALSE" => NodeKind::Bool(false),
            value if is_number(value) => NodeKind::Number(value.to_owned()),
            _ => text(),
        }
    }
}

/// Whether the core schema takes a plain scalar for a number.
fn is_number(text: &str) -> bool {
    let digits = |text: &str, radix: u32| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(octal) = text.strip_prefix("0o") {
        return digits(octal, 8);
    }
    if let Some(hexadecimal) = text.strip_prefix("0x") {
        return digits(hexadecimal, 16);
    }
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let (mantissa, exponent) =
        unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(m, e)| (m, Some(e)));
    let exponent = exponent.is_none_or(|e| digits(e.strip_prefix(['+', '-']).unwrap_or(e), 10));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let only_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    exponent && only_digits(whole) && only_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
}

/// Whether a tag says that a scalar is text. Tags of the core schema change nothing else; others are refused.
fn tag_of(tag: Option<&Tag>, span: Span) -> Result<bool, Problem> {
    let Some(tag) = tag else { return Ok(false) };
    let range = span.tag_span().map_or_else(|| bytes(span), bytes);
    match tag.core_suffix() {
        Some(suffix) => Ok(suffix == "str"),
        None if tag.original() == "!" => Ok(true),
        None => {
            Err(invalid(range, format!("the tag `{}` means nothing here", tag.original()))
                .hint("remove the tag"))
        }
    }
}

fn bytes(span: Span) -> Range<usize> {
    // Byte offsets are always known when a `str` is read.
    span.start.byte_offset().unwrap_or(0)..span.end.byte_offset().unwrap_or(0)
}

fn invalid(range: Range<usize>, message: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidYaml, range, message)
}

fn syntax_error(text: &str, error: &ScanError) -> Problem {
    let at = error.marker().byte_offset().unwrap_or(0);
    let rest = text.get(at..).unwrap_or_default();
    // At the end of a line there is nothing to point at but what stands before.
    let length = rest.chars().next().filter(|c| !c.is_whitespace()).map_or(0, char::len_utf8);
    let problem = invalid(at..at + length, message(error));
    problem.hint(hint(error.kind()))
}

/// The parser's message without the position, which is shown in its own way.
fn message(error: &ScanError) -> String {
    let kind = error.kind();
    match kind {
        ErrorKind::UnknownAnchor => "there is no anchor of this name before this alias".to_owned(),
        ErrorKind::MappingValueNotAllowed => "a `:` cannot stand here".to_owned(),
        ErrorKind::UnexpectedCharacter { .. } => "a text cannot begin with this character".to_owned(),
        ErrorKind::ExpectedFlowMappingSeparator => "expected `,` or `}` here".to_owned(),
        ErrorKind::ExpectedFlowSequenceSeparator => "expected `,` or `]` here".to_owned(),
        ErrorKind::RecursionLimitExceeded => format!("more than {MAX_DEPTH} levels of nesting"),
        _ => kind.to_string(),
    }
}

const fn hint(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UnknownAnchor | ErrorKind::MissingAnchorOrAliasName => {
            "a text that begins with `*` or `&` must be in quotes"
        }
        ErrorKind::MappingValueNotAllowed => {
            "put a text that contains `: ` in quotes; check that the keys above are indented alike"
        }
        ErrorKind::TabNotAllowed | ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation => {
            "indent with spaces"
        }
        ErrorKind::UnexpectedCharacter { .. } => "put a text that begins with this character in quotes",
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            "inside `{…}` and `[…]`, put a text that contains `{`, `}`, `[`, `]` or `,` in quotes"
        }
        ErrorKind::UnclosedQuotedScalar => "a closing quote is missing",
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            "every line of a map is `key: value`; check the indentation"
        }
        ErrorKind::ExpectedBlockSequenceEntry => {
            "every item of a list begins with `- `; check the indentation"
        }
        ErrorKind::RecursionLimitExceeded => "nest less deeply",
        _ => "check this line and the one before: indentation, quotes, `: ` after a key",
    }
}
