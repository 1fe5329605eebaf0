//! The parser's other half: pipelines, commands and operands.
//!
//! Owns what can be said inside an action, and checks what can be known without running it: names, fields of
//! variables, and the number of arguments.

use std::ops::Range;

use super::ast::{Command, Name, Operand, OperandKind, Pipeline};
use super::fault::syntax;
use super::function::{FUNCTIONS, Function};
use super::lexer::{Kind, Token};
use super::names::{self, Root};
use super::parser::Parser;
use crate::diagnostic::{Code, Problem, did_you_mean, shown};

/// How many of a definition's own names a hint repeats.
const MAX_LISTED: usize = 4;

impl<'t> Parser<'t> {
    /// Parses a pipeline, with at most `targets` variables that it sets. What ends it is left to the caller.
    pub(super) fn pipeline(&mut self, targets: usize) -> Result<Pipeline, Problem> {
        let (names, declares) = self.targets(targets)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(commands.is_empty())?;
            check_arguments(&command, !commands.is_empty())?;
            commands.push(command);
            match self.peek().map(|token| &token.kind) {
                Some(Kind::Pipe) => self.take(),
                _ => break,
            };
        }
        // A variable is known only after its own value.
        let targets = names.into_iter().map(|(name, range)| match declares {
            true => Ok(self.declare(name)),
            false => self.variable(name, range),
        });
        Ok(Pipeline { targets: targets.collect::<Result<_, _>>()?, commands })
    }

    /// Takes `$x :=`, `$x =` or `$i, $x :=`, and says whether the variables are new.
    #[expect(clippy::type_complexity, reason = "the pair is taken apart at once by the only caller")]
    fn targets(&mut self, at_most: usize) -> Result<(Vec<(&'t str, Range<usize>)>, bool), Problem> {
        let mut names = Vec::new();
        while let Some(Token { kind: Kind::Variable(name), range, .. }) = self.peek().cloned() {
            let second = self.peek_second().map(|token| token.kind.clone());
            let declares = second == Some(Kind::Declare);
            if !matches!(second, Some(Kind::Declare | Kind::Assign | Kind::Comma)) {
                break;
            }
            self.take();
            self.take();
            if name == "$" {
                return Err(syntax(range, "a variable needs a name after `$`").hint("write `$name := …`"));
            }
            names.push((name, range.clone()));
            if names.len() > at_most {
                return Err(syntax(range, "too many variables: only `range` sets two")
                    .hint("set each in an action of its own"));
            }
            if second != Some(Kind::Comma) {
                return Ok((names, declares));
            }
        }
        match names.pop() {
            Some((name, range)) => {
                Err(syntax(range, format!("`{name},` must be followed by a second variable"))
                    .hint("write `range $index, $value := …`"))
            }
            None => Ok((names, false)),
        }
    }

    fn command(&mut self, first: bool) -> Result<Command, Problem> {
        let Some(head) = self.operand()? else {
            let range = self.here();
            return Err(syntax(range, "a value is missing here")
                .hint("write a name, a text in double quotes, a number or a call"));
        };
        if !first && head.kind.is_literal() && head.fields.is_empty() {
            let range = head.at..head.at + 1;
            return Err(syntax(range, "only a function can stand after `|`")
                .hint("the value before `|` becomes the last argument of the function after it"));
        }
        let mut arguments = Vec::new();
        while self
            .peek()
            .is_some_and(|token| !matches!(token.kind, Kind::Pipe | Kind::Close | Kind::RightParen))
        {
            let Some(token) = self.peek() else { break };
            if !token.spaced {
                return Err(syntax(token.range.clone(), "a space is missing before this")
                    .hint("arguments stand apart from each other by spaces"));
            }
            let range = token.range.clone();
            match self.operand()? {
                Some(operand) => arguments.push(operand),
                None => {
                    return Err(syntax(range, "this cannot be an argument")
                        .hint("an argument is a name, a literal, or a call in parentheses"));
                }
            }
        }
        Ok(Command { head, arguments })
    }

    fn operand(&mut self) -> Result<Option<Operand>, Problem> {
        let Some(token) = self.peek().cloned() else { return Ok(None) };
        let at = token.range.start;
        let mut fields = Vec::new();
        let kind = match token.kind {
            Kind::Word(word) => self.word(word, token.range)?,
            Kind::Field(name) => {
                self.check_dot(token.range)?;
                fields.push(Name { text: name.to_owned(), at });
                OperandKind::Dot
            }
            Kind::Dot => {
                self.check_dot(token.range)?;
                OperandKind::Dot
            }
            Kind::Variable(name) => OperandKind::Variable(self.variable(name, token.range)?),
            Kind::Integer(value) => OperandKind::Integer(value),
            Kind::Float(value) => OperandKind::Float(value),
            Kind::Quoted(value) => OperandKind::Text(value),
            Kind::LeftParen => {
                self.take();
                OperandKind::Pipeline(Box::new(self.parenthesised(token.range)?))
            }
            _ => return Ok(None),
        };
        if !matches!(kind, OperandKind::Pipeline(_)) {
            self.take();
        }
        self.fields(&kind, &mut fields)?;
        check_fields(&kind, &fields)?;
        if let OperandKind::Root(root) = kind {
            self.check_output(root, fields.first())?;
            self.uses.insert((root, fields.first().map(|field| field.text.clone())));
        }
        Ok(Some(Operand { kind, fields, at }))
    }

    /// Refuses an output that no earlier step sets.
    fn check_output(&self, root: Root, name: Option<&Name>) -> Result<(), Problem> {
        let outputs = self.allowed.outputs;
        let Some(name) = name.filter(|name| root == Root::Outputs && !outputs.contains(&name.text)) else {
            return Ok(());
        };
        let known: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let message = format!("no earlier step has an output `{}`", shown(&name.text));
        let all = || match known.is_empty() {
            true => "name it in `outputs` of an earlier step".to_owned(),
            false => {
                let first: Vec<String> = outputs.iter().take(MAX_LISTED).map(|name| shown(name)).collect();
                format!("outputs here: {}", listed(&first.iter().map(String::as_str).collect::<Vec<_>>()))
            }
        };
        let range = name.at..name.at + 1 + name.text.len();
        Err(Problem::new(Code::UnknownVariable, range, message)
            .hint(did_you_mean(&name.text, &known).unwrap_or_else(all)))
    }

    /// Refuses the dot where no block gives it a meaning.
    fn check_dot(&self, range: Range<usize>) -> Result<(), Problem> {
        if self.dots > 0 {
            return Ok(());
        }
        Err(Problem::new(Code::UnknownVariable, range, "`.` means nothing outside `range` and `with`")
            .hint("names start without a dot, as `repository.name`"))
    }

    fn parenthesised(&mut self, range: Range<usize>) -> Result<Pipeline, Problem> {
        self.deeper(range)?;
        let pipeline = self.pipeline(1)?;
        self.shallower();
        match self.take() {
            Some(Token { kind: Kind::RightParen, .. }) => Ok(pipeline),
            Some(token) => Err(expected_parenthesis(token.range)),
            None => Err(expected_parenthesis(self.here())),
        }
    }

    /// Takes the fields that follow a value without a space.
    fn fields(&mut self, kind: &OperandKind, fields: &mut Vec<Name>) -> Result<(), Problem> {
        while let Some(Token { kind: Kind::Field(name), range, spaced: false }) = self.peek().cloned() {
            if kind.is_literal() && fields.is_empty() {
                return Err(syntax(range, format!("a literal has no field `{name}`"))
                    .hint("fields belong to names, as in `repository.name`"));
            }
            self.take();
            fields.push(Name { text: name.to_owned(), at: range.start });
        }
        Ok(())
    }

    fn word(&self, word: &str, range: Range<usize>) -> Result<OperandKind, Problem> {
        match word {
            "true" => return Ok(OperandKind::Bool(true)),
            "false" => return Ok(OperandKind::Bool(false)),
            "nil" => return Ok(OperandKind::Nil),
            _ => {}
        }
        if let Some(function) = Function::named(word) {
            return Ok(OperandKind::Function(function));
        }
        let Some(entry) = names::entry(word) else { return Err(self.unknown(word, range)) };
        if entry.is_known(self.allowed.place) {
            return Ok(OperandKind::Root(entry.root));
        }
        let message = format!("`{word}` is not known in this field");
        Err(Problem::new(Code::VariableNotAvailable, range, message)
            .hint(format!("it is known in {}", entry.known_in)))
    }

    fn unknown(&self, word: &str, range: Range<usize>) -> Problem {
        let followed =
            self.peek_second().is_some_and(|token| matches!(token.kind, Kind::Field(_)) && !token.spaced);
        let variables: Vec<_> = names::known(self.allowed.place).collect();
        let functions = FUNCTIONS.iter().map(|function| function.name());
        let (code, what) = match followed {
            true => (Code::UnknownVariable, "variable"),
            false => (Code::UnknownFunction, "variable or function"),
        };
        let known: Vec<_> = match followed {
            true => variables.clone(),
            false => variables.iter().copied().chain(functions).collect(),
        };
        let fault = Problem::new(code, range, format!("there is no {what} `{word}`"));
        let all = || format!("variables here: {}", listed(&variables));
        fault.hint(did_you_mean(word, &known).unwrap_or_else(all))
    }
}

/// Refuses fields that a variable is known not to have.
fn check_fields(kind: &OperandKind, fields: &[Name]) -> Result<(), Problem> {
    let Some(first) = fields.first() else { return Ok(()) };
    let range = |name: &Name| name.at..name.at + 1 + name.text.len();
    match kind {
        OperandKind::Root(Root::Outputs) => Ok(()),
        OperandKind::Root(root) => {
            if !root.fields().contains(&first.text.as_str()) {
                return Err(unknown_field(*root, first, range(first)));
            }
            match fields.get(1) {
                Some(second) => Err(Problem::new(
                    Code::UnknownVariable,
                    range(second),
                    format!("`{}.{}` has no field `{}`", root.name(), first.text, second.text),
                )
                .hint("remove it: what stands before is a text or a list")),
                None => Ok(()),
            }
        }
        OperandKind::Function(function) => Err(Problem::new(
            Code::UnknownVariable,
            range(first),
            format!("`{}` is a function and has no field `{}`", function.name(), first.text),
        )
        .hint("put its call in parentheses")),
        _ => Ok(()),
    }
}

fn expected_parenthesis(range: Range<usize>) -> Problem {
    syntax(range, "expected `)`").hint("close the parenthesis before this")
}

fn unknown_field(root: Root, field: &Name, range: Range<usize>) -> Problem {
    let message = format!("`{}` has no field `{}`", root.name(), field.text);
    let all = || match root.fields() {
        [] => "remove it: what stands before is a text".to_owned(),
        fields => format!("its fields: {}", listed(fields)),
    };
    Problem::new(Code::UnknownVariable, range, message)
        .hint(did_you_mean(&field.text, root.fields()).unwrap_or_else(all))
}

/// Refuses arguments where nothing takes them, and the wrong number of them.
fn check_arguments(command: &Command, piped: bool) -> Result<(), Problem> {
    let head = &command.head;
    for argument in &command.arguments {
        if let OperandKind::Function(function) = argument.kind
            && function.arguments().0 > 0
        {
            let range = argument.at..argument.at + function.name().len();
            return Err(Problem::new(
                Code::WrongArguments,
                range,
                format!("`{}` needs arguments of its own", function.name()),
            )
            .hint("put its call in parentheses"));
        }
    }
    let given = command.arguments.len() + usize::from(piped);
    match head.kind {
        OperandKind::Function(function) => {
            let (least, most) = function.arguments();
            if (least..=most).contains(&given) {
                return Ok(());
            }
            let range = head.at..head.at + function.name().len();
            let message = format!("`{}` takes {}, not {given}", function.name(), counted(least, most));
            Err(Problem::new(Code::WrongArguments, range, message).hint(function.usage()))
        }
        _ if given > 0 => {
            let at = command.arguments.first().map_or(head.at, |argument| argument.at);
            Err(Problem::new(Code::WrongArguments, at..at + 1, "only a function takes arguments")
                .hint("join values with `join_if`, `print` or `printf`"))
        }
        OperandKind::Nil => Err(syntax(head.at..head.at + 3, "`nil` alone is not a value")
            .hint("compare with it, as in `eq $x nil`, or remove it")),
        _ => Ok(()),
    }
}

fn counted(least: usize, most: usize) -> String {
    let plural = |count| if count == 1 { "" } else { "s" };
    match most {
        _ if least == most => format!("{least} argument{}", plural(least)),
        usize::MAX => format!("at least {least} argument{}", plural(least)),
        _ => format!("{least} to {most} arguments"),
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
