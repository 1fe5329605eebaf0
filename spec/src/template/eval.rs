//! The evaluator: a tree and a context into text.
//!
//! Owns control flow, variables and the dot. Everything it does is paid for at the [`Meter`].

use std::collections::BTreeMap;

use super::ast::{Arm, Command, Name, Node, Operand, OperandKind, Pipeline, Tree};
use super::call;
use super::fault::RenderFault;
use super::function::Function;
use super::meter::{self, Meter};
use super::names::{Known, Root};
use super::print;
use super::value::{Later, Text, Value};
use crate::context::Context;
use crate::diagnostic::shown;
use crate::output::OutputValue;

/// A fault and the byte of the template's text where it arose.
pub(super) type Failed = (usize, RenderFault);

/// Renders a tree, with as much of the context as is known.
pub(super) fn render(tree: &Tree, (context, known): (&Context, Known)) -> Result<String, Failed> {
    let mut evaluator = Evaluator::new(tree, (context, known));
    match evaluator.nodes(&tree.nodes) {
        Ok(_) => Ok(evaluator.output),
        Err(fault) => Err((evaluator.at, fault)),
    }
}

/// Whether the value that a tree prints, and nothing but space around it, counts as false whatever is not known yet: such
/// a value never prints as `true`.
pub(super) fn is_false(tree: &Tree, (context, known): (&Context, Known)) -> bool {
    let mut said =
        tree.nodes.iter().filter(|node| !matches!(node, Node::Text(text) if text.trim().is_empty()));
    let (Some(Node::Action(pipeline)), None) = (said.next(), said.next()) else { return false };
    let value = Evaluator::new(tree, (context, known)).pipeline(pipeline);
    pipeline.targets.is_empty() && value.is_ok_and(|value| value.truth() == Some(false))
}

struct Evaluator<'a> {
    context: &'a Context,
    known: Known,
    slots: Vec<Value<'a>>,
    dot: Value<'a>,
    output: String,
    meter: Meter,
    /// The place of what is being evaluated, for a fault.
    at: usize,
}

/// The entries of what is no map.
static NONE: BTreeMap<String, OutputValue> = BTreeMap::new();

/// How a list of nodes was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Evaluator<'a> {
    fn new(tree: &Tree, (context, known): (&'a Context, Known)) -> Self {
        Self {
            context,
            known,
            slots: vec![Value::Nil; tree.slots],
            dot: Value::Nil,
            output: String::new(),
            meter: Meter::new(),
            at: 0,
        }
    }

    fn nodes(&mut self, nodes: &'a [Node]) -> Result<Flow, RenderFault> {
        for node in nodes {
            let flow = self.node(node)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, node: &'a Node) -> Result<Flow, RenderFault> {
        self.meter.pay(0)?;
        match node {
            Node::Text(text) => self.write(text)?,
            Node::Action(pipeline) => {
                let value = self.pipeline(pipeline)?;
                match pipeline.targets.first() {
                    Some(&slot) => self.slots[slot] = value,
                    None => self.write(&print::printed(&value)?)?,
                }
            }
            Node::Choice { sets_dot, arms, otherwise } => return self.choice(*sets_dot, arms, otherwise),
            Node::Range { pipeline, body, otherwise } => return self.range(pipeline, body, otherwise),
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn write(&mut self, text: &str) -> Result<(), RenderFault> {
        self.meter.pay(text.len())?;
        meter::append(&mut self.output, text)
    }

    fn choice(
        &mut self,
        sets_dot: bool,
        arms: &'a [Arm],
        otherwise: &'a [Node],
    ) -> Result<Flow, RenderFault> {
        for Arm { pipeline, body } in arms {
            let value = self.assigned(pipeline)?;
            if !value.truth().ok_or(RenderFault::NotKnownYet)? {
                continue;
            }
            if !sets_dot {
                return self.nodes(body);
            }
            let outer = std::mem::replace(&mut self.dot, value);
            let flow = self.nodes(body)?;
            self.dot = outer;
            return Ok(flow);
        }
        self.nodes(otherwise)
    }

    fn assigned(&mut self, pipeline: &'a Pipeline) -> Result<Value<'a>, RenderFault> {
        let value = self.pipeline(pipeline)?;
        if let Some(&slot) = pipeline.targets.first() {
            self.slots[slot] = value.clone();
        }
        Ok(value)
    }

    fn range(
        &mut self,
        pipeline: &'a Pipeline,
        body: &'a [Node],
        otherwise: &'a [Node],
    ) -> Result<Flow, RenderFault> {
        let value = self.pipeline(pipeline)?;
        let length = match &value {
            Value::List(list) => list.len(),
            Value::Items(items) => items.len(),
            Value::Map(map) => map.len(),
            Value::Integer(count) => usize::try_from(*count).unwrap_or(0),
            Value::Byte(count) => usize::from(*count),
            Value::Nil => 0,
            Value::Later(_) => return Err(RenderFault::NotKnownYet),
            _ => {
                let expected = "a list, a map or an integer";
                return Err(RenderFault::WrongType { function: "range", expected, got: value.kind() });
            }
        };
        if length == 0 {
            return self.nodes(otherwise);
        }
        let outer = self.dot.clone();
        let mut entries = match &value {
            Value::Map(map) => map.iter(),
            _ => NONE.iter(),
        };
        for index in 0..length {
            self.meter.pay(0)?;
            let number = Value::Integer(i64::try_from(index).unwrap_or(i64::MAX));
            let (number, item) = match (&value, entries.next()) {
                (Value::List(list), _) => (number, list.get(index).map_or(Value::Nil, Value::Text)),
                (Value::Items(items), _) => (number, items.get(index).map_or(Value::Nil, Value::of_output)),
                (_, Some((key, item))) => (Value::Text(Text::Borrowed(key)), Value::of_output(item)),
                _ => (number.clone(), number),
            };
            match pipeline.targets[..] {
                [only] => self.slots[only] = item.clone(),
                [key, second] => {
                    self.slots[key] = number;
                    self.slots[second] = item.clone();
                }
                _ => {}
            }
            self.dot = item;
            if self.nodes(body)? == Flow::Break {
                break;
            }
        }
        self.dot = outer;
        Ok(Flow::Next)
    }

    fn pipeline(&mut self, pipeline: &'a Pipeline) -> Result<Value<'a>, RenderFault> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, value)?);
        }
        Ok(value.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &'a Command, piped: Option<Value<'a>>) -> Result<Value<'a>, RenderFault> {
        self.meter.pay(0)?;
        match command.head.kind {
            OperandKind::Function(Function::And) => self.first(command, piped, false),
            OperandKind::Function(Function::Or) => self.first(command, piped, true),
            OperandKind::Function(function) => {
                let mut arguments = Vec::with_capacity(command.arguments.len() + 1);
                for argument in &command.arguments {
                    arguments.push(self.operand(argument)?);
                }
                arguments.extend(piped);
                self.at = command.head.at;
                call::call(function, &arguments, &mut self.meter)
            }
            _ => self.operand(&command.head),
        }
    }

    /// The first value of this truth, or the last of all; what stands behind it is not evaluated.
    fn first(
        &mut self,
        command: &'a Command,
        piped: Option<Value<'a>>,
        truth: bool,
    ) -> Result<Value<'a>, RenderFault> {
        let mut last = Value::Nil;
        let mut unknown: Option<Later> = None;
        for argument in &command.arguments {
            last = self.operand(argument)?;
            match last.truth() {
                Some(found) if found == truth => return Ok(decided(last, unknown)),
                Some(_) => {}
                None => unknown = Some(merged(unknown, &last)),
            }
        }
        let last = piped.unwrap_or(last);
        match last.truth() {
            Some(found) if found == truth => Ok(decided(last, unknown)),
            _ => Ok(unknown.map_or(last.clone(), |before| Value::Later(merged(Some(before), &last)))),
        }
    }

    fn operand(&mut self, operand: &'a Operand) -> Result<Value<'a>, RenderFault> {
        self.meter.pay(0)?;
        self.at = operand.at;
        let value = match &operand.kind {
            OperandKind::Nil => Value::Nil,
            OperandKind::Bool(value) => Value::Bool(*value),
            OperandKind::Integer(value) => Value::Integer(*value),
            OperandKind::Float(value) => Value::Float(*value),
            OperandKind::Text(text) => Value::Text(Text::Borrowed(text)),
            OperandKind::Dot => self.dot.clone(),
            OperandKind::Variable(slot) => self.slots[*slot].clone(),
            OperandKind::Root(root) => self.root(*root, operand.fields.is_empty()),
            OperandKind::Function(function) => call::call(*function, &[], &mut self.meter)?,
            OperandKind::Pipeline(pipeline) => self.assigned(pipeline)?,
        };
        operand.fields.iter().try_fold(value, |value, field| self.field(&value, field))
    }

    /// A variable. What a structure holds is known field by field.
    fn root(&self, root: Root, is_whole: bool) -> Value<'a> {
        let is_structure = !root.fields().is_empty();
        match (is_structure && !is_whole) || self.known.covers(root, "") {
            true => Value::of_root(root, self.context),
            false => Value::Later(Later::default()),
        }
    }

    fn field(&mut self, value: &Value<'a>, name: &Name) -> Result<Value<'a>, RenderFault> {
        self.at = name.at;
        let missing = |of| RenderFault::NoField { of, field: shown(&name.text) };
        match value {
            Value::Record(root) if !self.known.covers(*root, &name.text) => {
                Ok(Value::Later(Later::default()))
            }
            Value::Later(_) => Ok(Value::Later(Later::default())),
            Value::Map(map) => {
                let of = if std::ptr::eq(*map, self.context.outputs.as_map()) { "outputs" } else { "a map" };
                map.get(&name.text).map(Value::of_output).ok_or_else(|| missing(of))
            }
            Value::Record(root) => {
                Value::field(*root, &name.text, self.context).ok_or_else(|| missing(root.name()))
            }
            _ => Err(missing(value.kind())),
        }
    }
}

/// The value of `and` or `or` where one that decides stands behind ones that are not known: it is this one, or one of them
/// that counts the same.
fn decided<'a>(value: Value<'a>, unknown: Option<Later>) -> Value<'a> {
    let is_boolean =
        |value: &Value<'_>| matches!(value, Value::Bool(_) | Value::Later(Later { is_boolean: true, .. }));
    match (unknown, value.truth()) {
        (None, _) => value,
        (Some(before), Some(truth)) if before.is_boolean && is_boolean(&value) => Value::Bool(truth),
        (Some(_), truth) => Value::Later(Later { is_boolean: false, truth }),
    }
}

/// What can be said of one of several values.
fn merged(before: Option<Later>, value: &Value<'_>) -> Later {
    let is_boolean = matches!(value, Value::Bool(_) | Value::Later(Later { is_boolean: true, .. }));
    Later { is_boolean: is_boolean && before.is_none_or(|before| before.is_boolean), truth: None }
}
