//! JSON with comments and trailing commas.
//!
//! Owns the way from jsonc-parser's tree to ours. Never accepts more of JSON5 than those two.

use std::ops::Range;
use std::rc::Rc;

use jsonc_parser::ast::{Object, ObjectPropName, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{Document, Key, MAX_DEPTH, Node, NodeKind, Scalar, Style};
use crate::diagnostic::{Code, Problem};

const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Reads a text.
pub(super) fn read(text: &str) -> Result<Document, Problem> {
    // A byte order mark is no part of the text, but its bytes count for every place.
    let start = text.len() - text.trim_start_matches('\u{feff}').len();
    let parsed = parse_to_ast(&text[start..], &CollectOptions::default(), &OPTIONS).map_err(|error| {
        let range = error.range();
        Problem::new(Code::InvalidJson, start + range.start..start + range.end, lowered(error.kind()))
            .hint(hint(error.kind()))
    })?;
    let mut builder = Builder { start, problems: Vec::new() };
    let root = match parsed.value {
        Some(value) => builder.node(value, 0)?,
        None => Rc::new(Node { kind: NodeKind::Null, range: 0..text.len() }),
    };
    Ok(Document { root, problems: builder.problems })
}

fn lowered(kind: &ParseErrorKind) -> String {
    let message = kind.to_string();
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

const fn hint(kind: &ParseErrorKind) -> &'static str {
    match kind {
        ParseErrorKind::ExpectedComma => "write a comma behind the value before",
        ParseErrorKind::UnexpectedWord | ParseErrorKind::ExpectedStringObjectProperty => {
            "names and texts are written in double quotes"
        }
        ParseErrorKind::SingleQuotedStringsNotAllowed => "use double quotes",
        ParseErrorKind::UnterminatedObject => "a `}` is missing",
        ParseErrorKind::UnterminatedArray => "a `]` is missing",
        ParseErrorKind::MultipleRootJsonValues => "a file holds one definition: remove what follows its end",
        ParseErrorKind::NestingDepthExceeded => "nest less deeply",
        ParseErrorKind::UnterminatedCommentBlock => "a comment ends with `*/`",
        _ => "check what stands here and just before: quotes, commas, brackets",
    }
}

struct Builder {
    start: usize,
    problems: Vec<Problem>,
}

impl Builder {
    fn range(&self, value: &impl Ranged) -> Range<usize> {
        let range = value.range();
        self.start + range.start..self.start + range.end
    }

    fn node(&mut self, value: Value<'_>, depth: usize) -> Result<Rc<Node>, Problem> {
        let range = self.range(&value);
        if depth > MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} levels of nesting");
            return Err(Problem::new(Code::InvalidJson, range.start..range.start + 1, message)
                .hint("nest less deeply"));
        }
        let kind = match value {
            Value::NullKeyword(_) => NodeKind::Null,
            Value::BooleanLit(literal) => NodeKind::Bool(literal.value),
            Value::NumberLit(literal) => NodeKind::Number(literal.value.to_owned()),
            Value::StringLit(literal) => {
                NodeKind::Text(Scalar { value: literal.value.into_owned(), style: Style::Escaped })
            }
            Value::Array(array) => {
                let items = array.elements.into_iter().map(|item| self.node(item, depth + 1));
                NodeKind::List(items.collect::<Result<_, _>>()?)
            }
            Value::Object(object) => NodeKind::Map(self.entries(object, depth)?),
        };
        Ok(Rc::new(Node { kind, range }))
    }

    fn entries(&mut self, object: Object<'_>, depth: usize) -> Result<Vec<(Key, Rc<Node>)>, Problem> {
        let mut entries = super::Entries::default();
        for property in object.properties {
            let range = self.range(&property.name);
            let text = match property.name {
                ObjectPropName::String(name) => name.value.into_owned(),
                ObjectPropName::Word(name) => name.value.to_owned(),
            };
            let value = self.node(property.value, depth + 1)?;
            self.problems.extend(entries.insert(Key { text, range }, value));
        }
        Ok(entries.into_vec())
    }
}
