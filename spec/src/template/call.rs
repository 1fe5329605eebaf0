//! What the functions do, except for `and` and `or`, which decide what is evaluated.
//!
//! Owns the types that each takes. Follows Go's text/template/funcs.go.

use std::rc::Rc;

use super::compare;
use super::fault::RenderFault;
use super::function::Function;
use super::glob::Glob;
use super::meter::{MAX_ITEMS, Meter, append};
use super::print;
use super::printf;
use super::value::{Later, List, Text, Value};
use crate::diagnostic::shown;
use crate::output::OutputValue;

type Outcome<'a> = Result<Value<'a>, RenderFault>;

/// Calls a function; the number of arguments was checked when the template was parsed.
pub(super) fn call<'a>(function: Function, arguments: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    use Function as F;
    let name = function.name();
    if arguments.iter().any(|argument| matches!(argument, Value::Later(_))) {
        return Ok(later(function, arguments));
    }
    match (function, arguments) {
        (F::Eq | F::Ne | F::Lt | F::Le | F::Gt | F::Ge, [left, rest @ ..]) => {
            meter.pay(rest.iter().map(text_length).sum())?;
            compare::compare(function, left, rest).map(Value::Bool)
        }
        (F::Index, [value, indexes @ ..]) => index(value, indexes),
        (F::Join, [list, separator]) => join(list, text(name, separator)?, meter),
        (F::JoinIf, [separator, parts @ ..]) => join_if(text(name, separator)?, parts, meter),
        (F::Len, [value]) => length(value),
        (F::Matches, [value, pattern]) => matches(text(name, value)?, text(name, pattern)?, meter),
        (F::Not, [value]) => Ok(Value::Bool(!value.is_true())),
        (F::Print, _) => printed(print::sprint(arguments)?, meter),
        (F::Println, _) => printed(print::sprintln(arguments)?, meter),
        (F::Printf, [format, rest @ ..]) => printed(printf::sprintf(text(name, format)?, rest)?, meter),
        (F::Replace, [value, old, new]) => {
            replace(text(name, value)?, text(name, old)?, (text(name, new)?, meter))
        }
        (F::Slice, [value, bounds @ ..]) => slice(value, bounds, meter),
        (F::Split, [value, separator]) => split(text(name, value)?, text(name, separator)?, meter),
        // `and` and `or` never get here, and arity was checked by the parser.
        _ => Ok(Value::Nil),
    }
}

/// What can be said of a call before all of its arguments are known.
fn later<'a>(function: Function, arguments: &[Value<'a>]) -> Value<'a> {
    use Function as F;
    match (function, arguments) {
        (F::Not, [Value::Later(Later { truth: Some(truth), .. })]) => Value::Bool(!truth),
        (F::Eq | F::Ne | F::Lt | F::Le | F::Gt | F::Ge | F::Matches | F::Not, _) => {
            Value::Later(Later { is_boolean: true, truth: None })
        }
        _ => Value::Later(Later::default()),
    }
}

fn text<'v>(function: &'static str, value: &'v Value<'_>) -> Result<&'v str, RenderFault> {
    match value {
        Value::Text(text) => Ok(text.as_str()),
        _ => Err(RenderFault::WrongType { function, expected: "text", got: value.kind() }),
    }
}

fn text_length(value: &Value<'_>) -> usize {
    match value {
        Value::Text(text) => text.as_str().len(),
        _ => 0,
    }
}

fn printed<'a>(text: String, meter: &mut Meter) -> Outcome<'a> {
    meter.make(text.len())?;
    Ok(Value::shared(text))
}

fn join<'a>(list: &Value<'a>, separator: &str, meter: &mut Meter) -> Outcome<'a> {
    let list = match list {
        Value::List(list) => list,
        Value::Items(items) => return join_items(items, separator, meter),
        _ => return Err(RenderFault::WrongType { function: "join", expected: "a list", got: list.kind() }),
    };
    meter.make(list.iter().map(|item| item.len() + separator.len()).sum())?;
    let items: Vec<&str> = list.iter().collect();
    Ok(Value::shared(items.join(separator)))
}

/// The items of an output's list, each as it would be printed.
fn join_items<'a>(items: &[OutputValue], separator: &str, meter: &mut Meter) -> Outcome<'a> {
    let mut joined = String::new();
    for (index, item) in items.iter().enumerate() {
        let item = print::plain(&Value::of_output(item))?;
        meter.pay(separator.len() + item.len())?;
        append(&mut joined, if index == 0 { "" } else { separator })?;
        append(&mut joined, &item)?;
    }
    Ok(Value::shared(joined))
}

fn join_if<'a>(separator: &str, parts: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let parts = parts.iter().map(|part| text("join_if", part)).collect::<Result<Vec<_>, _>>()?;
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    meter.make(parts.iter().map(|part| part.len() + separator.len()).sum())?;
    Ok(Value::shared(parts.join(separator)))
}

fn split<'a>(value: &str, separator: &str, meter: &mut Meter) -> Outcome<'a> {
    // Go: an empty separator splits into characters, without the empty ends that Rust adds.
    let parts: Box<dyn Iterator<Item = &str>> = match separator {
        "" => Box::new(value.split("").filter(|part| !part.is_empty())),
        _ => Box::new(value.split(separator)),
    };
    let mut items = Vec::new();
    for part in parts {
        if items.len() == MAX_ITEMS {
            return Err(RenderFault::TooLarge { limit: MAX_ITEMS });
        }
        // An item costs its own allocation however short it is.
        meter.pay(part.len().max(64))?;
        items.push(Rc::from(part));
    }
    Ok(Value::List(List::shared(items)))
}

fn replace<'a>(value: &str, old: &str, (new, meter): (&str, &mut Meter)) -> Outcome<'a> {
    meter.pay(value.len())?;
    let found = value.matches(old).count();
    meter.make(
        (value.len() + found.saturating_mul(new.len())).saturating_sub(found.saturating_mul(old.len())),
    )?;
    Ok(Value::shared(value.replace(old, new)))
}

fn matches<'a>(value: &str, pattern: &str, meter: &mut Meter) -> Outcome<'a> {
    meter.pay(value.len().saturating_mul(1 + pattern.len()))?;
    let glob =
        Glob::new(pattern).map_err(|reason| RenderFault::BadGlob { pattern: shown(pattern), reason })?;
    Ok(Value::Bool(glob.matches(value)))
}

fn length<'a>(value: &Value<'a>) -> Outcome<'a> {
    let length = match value {
        Value::Text(text) => text.as_str().len(),
        Value::List(list) => list.len(),
        Value::Items(items) => items.len(),
        Value::Map(map) => map.len(),
        _ => {
            return Err(RenderFault::WrongType {
                function: "len",
                expected: "text, a list or a map",
                got: value.kind(),
            });
        }
    };
    Ok(Value::Integer(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index<'a>(value: &Value<'a>, indexes: &[Value<'a>]) -> Outcome<'a> {
    let mut found = value.clone();
    for index in indexes {
        found = match &found {
            Value::List(list) => {
                let at = position("index", index, list.len())?;
                list.get(at).map(Value::Text).ok_or_else(|| out_of_range("index", at, list.len()))?
            }
            Value::Text(text) => {
                let bytes = text.as_str().as_bytes();
                let at = position("index", index, bytes.len())?;
                bytes
                    .get(at)
                    .copied()
                    .map(Value::Byte)
                    .ok_or_else(|| out_of_range("index", at, bytes.len()))?
            }
            Value::Items(items) => {
                let at = position("index", index, items.len())?;
                items.get(at).map(Value::of_output).ok_or_else(|| out_of_range("index", at, items.len()))?
            }
            Value::Map(map) => {
                let key = text("index", index)?;
                let missing = || RenderFault::NoField { of: "a map", field: shown(key) };
                map.get(key).map(Value::of_output).ok_or_else(missing)?
            }
            other => {
                let expected = "text, a list or a map";
                return Err(RenderFault::WrongType { function: "index", expected, got: other.kind() });
            }
        };
    }
    Ok(found)
}

fn slice<'a>(value: &Value<'a>, bounds: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let (length, most) = match value {
        Value::Text(text) => (text.as_str().len(), 2),
        Value::List(list) => (list.len(), 3),
        Value::Items(items) => (items.len(), 3),
        _ => {
            return Err(RenderFault::WrongType {
                function: "slice",
                expected: "text or a list",
                got: value.kind(),
            });
        }
    };
    if bounds.len() > most {
        return Err(RenderFault::WrongType {
            function: "slice",
            expected: "a list",
            got: "text with a capacity",
        });
    }
    let mut places = [0, length, length];
    for (place, bound) in places.iter_mut().zip(bounds) {
        *place = position("slice", bound, length)?;
    }
    let [start, end, capacity] = places;
    if end > capacity || start > end {
        return Err(out_of_range("slice", start.max(end), length));
    }
    meter.pay(end - start)?;
    match value {
        Value::List(list) => Ok(Value::List(list.slice(start, end))),
        Value::Items(items) => Ok(Value::Items(&items[start..end])),
        Value::Text(text) => sub_text(text, start, end),
        _ => Ok(Value::Nil),
    }
}

fn sub_text<'a>(text: &Text<'a>, start: usize, end: usize) -> Outcome<'a> {
    let cut = |whole: &str| [start, end].into_iter().find(|&at| !whole.is_char_boundary(at));
    if let Some(index) = cut(text.as_str()) {
        return Err(RenderFault::InsideCharacter { index });
    }
    Ok(match text {
        Text::Borrowed(whole) => Value::Text(Text::Borrowed(&whole[start..end])),
        Text::Shared(whole) => Value::Text(Text::Shared(whole[start..end].into())),
    })
}

/// An index from 0 to the length, which itself only `slice` can use.
fn position(function: &'static str, index: &Value<'_>, length: usize) -> Result<usize, RenderFault> {
    let number = match index {
        Value::Integer(number) => *number,
        Value::Byte(number) => i64::from(*number),
        _ => {
            return Err(RenderFault::WrongType {
                function,
                expected: "integers as positions",
                got: index.kind(),
            });
        }
    };
    match usize::try_from(number) {
        Ok(at) if at <= length => Ok(at),
        _ => Err(RenderFault::OutOfRange { function, index: number, length }),
    }
}

fn out_of_range(function: &'static str, at: usize, length: usize) -> RenderFault {
    RenderFault::OutOfRange { function, index: i64::try_from(at).unwrap_or(i64::MAX), length }
}
