//! Comparison: `eq`, `ne`, `lt`, `le`, `gt`, `ge`.
//!
//! Owns which kinds can be compared: like Go, only the same ones, so that `eq "1" 1` is an error and not false.

use std::cmp::Ordering;

use super::fault::RenderFault;
use super::function::Function;
use super::value::Value;

/// Compares a value with the others: with any of them for `eq`, with the one there is for the rest.
pub(super) fn compare(
    function: Function,
    left: &Value<'_>,
    others: &[Value<'_>],
) -> Result<bool, RenderFault> {
    let incomparable = |right: &Value<'_>| RenderFault::Incomparable {
        function: function.name(),
        left: left.kind(),
        right: right.kind(),
    };
    for right in others {
        let holds = match function {
            Function::Eq => equal(left, right),
            Function::Ne => equal(left, right).map(|equal| !equal),
            Function::Lt => order(left, right).map(|order| order == Some(Ordering::Less)),
            Function::Le => {
                order(left, right).map(|order| matches!(order, Some(Ordering::Less | Ordering::Equal)))
            }
            Function::Gt => order(left, right).map(|order| order == Some(Ordering::Greater)),
            _ => order(left, right).map(|order| matches!(order, Some(Ordering::Greater | Ordering::Equal))),
        };
        match holds {
            Some(true) => return Ok(true),
            Some(false) => {}
            None => return Err(incomparable(right)),
        }
    }
    Ok(false)
}

/// `None`: they cannot be compared.
fn equal(left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    match (left, right) {
        (Value::Nil, Value::Nil) => Some(true),
        (Value::Nil, _) | (_, Value::Nil) => Some(false),
        (Value::Bool(left), Value::Bool(right)) => Some(left == right),
        _ => order(left, right).map(|order| order == Some(Ordering::Equal)),
    }
}

/// `None`: they have no order.
fn order(left: &Value<'_>, right: &Value<'_>) -> Option<Option<Ordering>> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Some(Some(left.as_str().cmp(right.as_str()))),
        (Value::Float(left), Value::Float(right)) => Some(left.partial_cmp(right)),
        _ => Some(Some(integer(left)?.cmp(&integer(right)?))),
    }
}

fn integer(value: &Value<'_>) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        Value::Byte(number) => Some(i64::from(*number)),
        _ => None,
    }
}
