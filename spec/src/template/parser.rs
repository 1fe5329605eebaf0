//! The parser: blocks and control structures.
//!
//! Owns nesting and the scope of variables. Never evaluates anything. Invariant: a tree is never deeper than
//! [`MAX_DEPTH`], so whoever walks one may recurse.

use std::collections::BTreeSet;
use std::ops::Range;

use super::ast::{Arm, Node, Operand, OperandKind, Pipeline, Tree};
use super::fault::syntax;
use super::lexer::{Kind, Token, tokenize};
use super::names::{Allowed, Root};
use crate::diagnostic::{Code, Problem};

/// How deep blocks and parentheses may nest together.
const MAX_DEPTH: usize = 64;

const NOT_SUPPORTED: [&str; 3] = ["define", "template", "block"];

/// Parses a template for a field of this place, and says where its tokens begin.
pub(super) fn parse<'t>(text: &'t str, allowed: Allowed<'t>) -> Result<(Tree, Vec<usize>), Problem> {
    let tokens = tokenize(text)?;
    let starts = tokens.iter().map(|token| token.range.start).collect();
    let mut parser = Parser {
        tokens,
        next: 0,
        end: text.len(),
        allowed,
        uses: BTreeSet::new(),
        variables: Vec::new(),
        slots: 0,
        depth: 0,
        loops: 0,
        dots: 0,
    };
    let (nodes, end) = parser.block()?;
    match end.kind {
        EndKind::Text => Ok((Tree { nodes, slots: parser.slots, uses: parser.uses }, starts)),
        EndKind::End => Err(syntax(end.range, "there is no block that `end` could end")
            .hint("remove it, or open a block with `if`, `range` or `with`")),
        EndKind::Else => Err(syntax(end.range, "there is no block that `else` could belong to")
            .hint("remove it, or open a block with `if`, `range` or `with`")),
    }
}

/// The state of the parser.
pub(super) struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    next: usize,
    end: usize,
    pub(super) allowed: Allowed<'t>,
    /// The variables that were named so far, each with the field that follows, if one does.
    pub(super) uses: BTreeSet<(Root, Option<String>)>,
    /// Variables in scope, the innermost last.
    variables: Vec<(&'t str, usize)>,
    slots: usize,
    depth: usize,
    loops: usize,
    /// How many blocks around the next token set the dot.
    pub(super) dots: usize,
}

struct End {
    kind: EndKind,
    range: Range<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EndKind {
    /// The text is over.
    Text,
    End,
    /// `else`; what follows it, up to `}}`, is still to be read.
    Else,
}

impl<'t> Parser<'t> {
    /// Parses nodes up to what ends their block.
    fn block(&mut self) -> Result<(Vec<Node>, End), Problem> {
        let mut nodes = Vec::new();
        loop {
            let Some(token) = self.take() else {
                return Ok((nodes, End { kind: EndKind::Text, range: self.end..self.end }));
            };
            if let Kind::Verbatim(text) = token.kind {
                nodes.push(Node::Text(text.to_owned()));
                continue;
            }
            // Outside actions the lexer makes no other token than text and `${{`.
            let Some(Token { kind: Kind::Word(word), range, .. }) = self.peek().cloned() else {
                nodes.push(self.action()?);
                continue;
            };
            let kind = match word {
                "end" => EndKind::End,
                "else" => EndKind::Else,
                _ => {
                    nodes.push(self.statement(word, range)?);
                    continue;
                }
            };
            self.take();
            if kind == EndKind::End {
                self.close("end")?;
            }
            return Ok((nodes, End { kind, range }));
        }
    }

    /// Parses an action that begins with a word.
    fn statement(&mut self, word: &'t str, range: Range<usize>) -> Result<Node, Problem> {
        match word {
            "if" | "with" | "range" => {
                self.take();
                self.deeper(range.clone())?;
                let scope = self.variables.len();
                let node = if word == "range" { self.range_block(range) } else { self.choice(word, range) }?;
                self.variables.truncate(scope);
                self.depth -= 1;
                Ok(node)
            }
            "break" | "continue" => {
                self.take();
                self.close(word)?;
                if self.loops == 0 {
                    return Err(syntax(range, format!("`{word}` outside a `range`"))
                        .hint("remove it, or move it between `range` and its `end`"));
                }
                Ok(if word == "break" { Node::Break } else { Node::Continue })
            }
            _ if NOT_SUPPORTED.contains(&word) => {
                Err(Problem::new(Code::NotSupportedYet, range, format!("`{word}` is not supported yet"))
                    .hint("a field is one template of its own"))
            }
            _ => self.action(),
        }
    }

    fn action(&mut self) -> Result<Node, Problem> {
        let pipeline = self.pipeline(1)?;
        self.close("the action")?;
        refuse_structure(&pipeline)?;
        Ok(Node::Action(pipeline))
    }

    /// Parses `if` or `with` from behind the word to its `end`.
    fn choice(&mut self, word: &'t str, range: Range<usize>) -> Result<Node, Problem> {
        let mut arms = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            let pipeline = self.pipeline(1)?;
            self.close(word)?;
            self.dots += usize::from(word == "with");
            let (body, end) = self.scoped_block()?;
            self.dots -= usize::from(word == "with");
            arms.push(Arm { pipeline, body });
            if end.kind == EndKind::Else {
                match self.peek().map(|token| &token.kind) {
                    Some(Kind::Word(next)) if *next == word => {
                        self.take();
                        continue;
                    }
                    _ => otherwise = self.otherwise(word, &range)?,
                }
            } else {
                expect_end(word, &range, end.kind)?;
            }
            return Ok(Node::Choice { sets_dot: word == "with", arms, otherwise });
        }
    }

    /// Parses `range` from behind the word to its `end`.
    fn range_block(&mut self, range: Range<usize>) -> Result<Node, Problem> {
        let pipeline = self.pipeline(2)?;
        self.close("range")?;
        self.loops += 1;
        self.dots += 1;
        let (body, end) = self.scoped_block()?;
        self.dots -= 1;
        self.loops -= 1;
        let otherwise = if end.kind == EndKind::Else {
            self.otherwise("range", &range)?
        } else {
            expect_end("range", &range, end.kind)?;
            Vec::new()
        };
        Ok(Node::Range { pipeline, body, otherwise })
    }

    /// Parses from behind `else` to the `end` of the block.
    fn otherwise(&mut self, word: &str, opened: &Range<usize>) -> Result<Vec<Node>, Problem> {
        self.close("else")?;
        let (nodes, end) = self.scoped_block()?;
        if end.kind == EndKind::Else {
            return Err(syntax(end.range, "the block has an `else` already")
                .hint("`else if …` may stand before the last `else`"));
        }
        expect_end(word, opened, end.kind)?;
        Ok(nodes)
    }

    fn scoped_block(&mut self) -> Result<(Vec<Node>, End), Problem> {
        let scope = self.variables.len();
        let parsed = self.block()?;
        self.variables.truncate(scope);
        Ok(parsed)
    }

    /// Takes `}}`.
    fn close(&mut self, after: &str) -> Result<(), Problem> {
        match self.take() {
            Some(Token { kind: Kind::Close, .. }) => Ok(()),
            Some(token) => Err(syntax(token.range, format!("expected `}}}}` after {}", quoted(after)))
                .hint("an action holds one value, one call or one keyword")),
            None => {
                Err(syntax(self.end..self.end, "the action is not closed").hint("an action ends with `}}`"))
            }
        }
    }

    /// Counts one more level of nesting; the caller takes it back.
    pub(super) fn deeper(&mut self, range: Range<usize>) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(syntax(range, format!("more than {MAX_DEPTH} levels of nesting"))
                .hint("nest less deeply: a variable can hold a part"));
        }
        Ok(())
    }

    /// Takes back one level of nesting.
    pub(super) fn shallower(&mut self) {
        self.depth -= 1;
    }

    pub(super) fn take(&mut self) -> Option<Token<'t>> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    pub(super) fn peek(&self) -> Option<&Token<'t>> {
        self.tokens.get(self.next)
    }

    pub(super) fn peek_second(&self) -> Option<&Token<'t>> {
        self.tokens.get(self.next + 1)
    }

    /// The place of the next token, for messages.
    pub(super) fn here(&self) -> Range<usize> {
        self.peek().map_or(self.end..self.end, |token| token.range.clone())
    }

    /// Makes a new variable that hides an older one of its name.
    pub(super) fn declare(&mut self, name: &'t str) -> usize {
        let slot = self.slots;
        self.slots += 1;
        self.variables.push((name, slot));
        slot
    }

    /// The variable that a name means here.
    pub(super) fn variable(&self, name: &str, range: Range<usize>) -> Result<usize, Problem> {
        let found = self.variables.iter().rev().find(|(known, _)| *known == name);
        found.map(|&(_, slot)| slot).ok_or_else(|| {
            let fault =
                Problem::new(Code::UnknownVariable, range, format!("there is no variable `{name}` here"));
            match name {
                "$" => fault.hint("start with a name, as in `repository.name`"),
                _ => fault.hint(format!("`{name} := …` declares it, up to the end of its block")),
            }
        })
    }
}

/// Refuses to print a whole variable such as `repository`.
fn refuse_structure(pipeline: &Pipeline) -> Result<(), Problem> {
    match pipeline.commands.last().map(|command| &command.head) {
        Some(Operand { kind: OperandKind::Root(root), fields, at })
            if fields.is_empty() && pipeline.targets.is_empty() && *root != Root::BatchChangeLink =>
        {
            let range = *at..at + root.name().len();
            let field = root.fields().first().unwrap_or(&"NAME");
            Err(Problem::new(Code::UnknownVariable, range, format!("`{}` is not text", root.name()))
                .hint(format!("choose one of its fields, as `{}.{field}`", root.name())))
        }
        _ => Ok(()),
    }
}

fn expect_end(word: &str, opened: &Range<usize>, end: EndKind) -> Result<(), Problem> {
    match end {
        EndKind::End => Ok(()),
        _ => Err(syntax(opened.clone(), format!("`{word}` has no `end`")).hint("close it with `${{ end }}`")),
    }
}

fn quoted(after: &str) -> String {
    if after.contains(' ') { after.to_owned() } else { format!("`{after}`") }
}
