//! Printing without a format: what a value looks like in the result.
//!
//! Owns `print`, `println` and the text of an action's value; `printf` builds on it.

use super::fault::RenderFault;
use super::meter::append;
use super::number;
use super::value::Value;
use crate::output::OutputValue;

/// The text of an action's value.
pub(super) fn printed(value: &Value<'_>) -> Result<String, RenderFault> {
    match value {
        Value::Nil => Ok("<no value>".to_owned()),
        _ => plain(value),
    }
}

/// What `%v` prints.
pub(super) fn plain(value: &Value<'_>) -> Result<String, RenderFault> {
    match value {
        Value::Nil => Ok("<nil>".to_owned()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Integer(value) => Ok(value.to_string()),
        Value::Byte(value) => Ok(value.to_string()),
        Value::Float(value) => Ok(number::general(*value, None)),
        Value::Text(text) => Ok(text.as_str().to_owned()),
        Value::List(list) => {
            let joined = list.iter().collect::<Vec<_>>().join(" ");
            Ok(if list.spaced { joined } else { format!("[{joined}]") })
        }
        Value::Items(_) | Value::Map(_) => {
            let mut text = String::new();
            nested(value, &mut text)?;
            Ok(text)
        }
        Value::Record(root) => Err(RenderFault::NotText { what: root.name() }),
        Value::Later(_) => Err(RenderFault::NotKnownYet),
    }
}

/// Lists and maps of outputs, which are of bounded depth: `[a b]`, `map[a:1 b:2]`.
fn nested(value: &Value<'_>, text: &mut String) -> Result<(), RenderFault> {
    let item = |index: usize, item: &OutputValue, text: &mut String, key: Option<&str>| {
        append(text, if index == 0 { "" } else { " " })?;
        if let Some(key) = key {
            append(text, key)?;
            append(text, ":")?;
        }
        nested(&Value::of_output(item), text)
    };
    match value {
        Value::Items(items) => {
            append(text, "[")?;
            items.iter().enumerate().try_for_each(|(index, value)| item(index, value, text, None))?;
            append(text, "]")
        }
        Value::Map(map) => {
            append(text, "map[")?;
            map.iter()
                .enumerate()
                .try_for_each(|(index, (key, value))| item(index, value, text, Some(key)))?;
            append(text, "]")
        }
        single => append(text, &plain(single)?),
    }
}

/// `print`: a space between two values neither of which is text.
pub(super) fn sprint(values: &[Value<'_>]) -> Result<String, RenderFault> {
    let mut result = String::new();
    let mut after_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !after_text {
            append(&mut result, " ")?;
        }
        append(&mut result, &plain(value)?)?;
        after_text = is_text;
    }
    Ok(result)
}

/// `println`: a space between any two values, and a line feed.
pub(super) fn sprintln(values: &[Value<'_>]) -> Result<String, RenderFault> {
    let mut result = String::new();
    for (index, value) in values.iter().enumerate() {
        append(&mut result, if index == 0 { "" } else { " " })?;
        append(&mut result, &plain(value)?)?;
    }
    append(&mut result, "\n")?;
    Ok(result)
}
