//! The lexer: a template's text into tokens.
//!
//! Owns delimiters, trim markers, comments and literals. Never knows what a word means. It follows Go's
//! text/template/parse/lex.go, including what must be separated by spaces.

use std::ops::Range;

use super::fault::syntax;
use super::literal;
use crate::diagnostic::Problem;

const OPEN: &str = "${{";
const CLOSE: &str = "}}";
const COMMENT_OPEN: &str = "/*";
const COMMENT_CLOSE: &str = "*/";

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind<'t>,
    /// Its bytes in the template's text.
    pub(super) range: Range<usize>,
    /// Whether white space stands before it.
    pub(super) spaced: bool,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind<'t> {
    /// Text outside actions, trimmed as the markers say; never empty.
    Verbatim(&'t str),
    /// `${{`
    Open,
    /// `}}`
    Close,
    /// A keyword, a function or the root of a variable's name.
    Word(&'t str),
    /// `.name`, without the dot.
    Field(&'t str),
    /// `$name`, with the dollar; or `$` alone.
    Variable(&'t str),
    /// `.`
    Dot,
    Integer(i64),
    Float(f64),
    Quoted(String),
    Pipe,
    LeftParen,
    RightParen,
    Comma,
    /// `=`
    Assign,
    /// `:=`
    Declare,
}

/// Splits a template into tokens.
pub(super) fn tokenize(text: &str) -> Result<Vec<Token<'_>>, Problem> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    tokens: Vec<Token<'t>>,
}

impl<'t> Lexer<'t> {
    fn run(&mut self) -> Result<(), Problem> {
        let mut trim_start = false;
        loop {
            let Some(offset) = self.rest().find(OPEN) else {
                self.verbatim(self.text.len(), trim_start, false);
                return Ok(());
            };
            let open = self.at + offset;
            let inside = &self.text[open + OPEN.len()..];
            let trim_end = inside.starts_with('-') && inside[1..].starts_with(is_space);
            self.verbatim(open, trim_start, trim_end);
            self.at = open + OPEN.len() + usize::from(trim_end);
            trim_start = match self.comment(open, trim_end)? {
                Some(trim_after) => trim_after,
                None => self.action(open)?,
            };
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind<'t>, start: usize, spaced: bool) {
        self.tokens.push(Token { kind, range: start..self.at, spaced });
    }

    /// Takes the text up to an action.
    fn verbatim(&mut self, end: usize, trim_start: bool, trim_end: bool) {
        let start = self.at;
        let mut text = &self.text[start..end];
        if trim_start {
            text = text.trim_start_matches(is_space);
        }
        if trim_end {
            text = text.trim_end_matches(is_space);
        }
        self.at = end;
        if !text.is_empty() {
            self.push(Kind::Verbatim(text), start, false);
        }
    }

    /// Takes a comment if the action is one, and says whether it trims what follows.
    fn comment(&mut self, open: usize, trim_marker: bool) -> Result<Option<bool>, Problem> {
        let body = if trim_marker { self.rest().trim_start_matches(is_space) } else { self.rest() };
        let Some(body) = body.strip_prefix(COMMENT_OPEN) else { return Ok(None) };
        let whole = open..self.text.len();
        let Some(length) = body.find(COMMENT_CLOSE) else {
            return Err(syntax(whole, "the comment is not closed").hint("a comment ends with `*/}}`"));
        };
        let after = self.text.len() - body.len() + length + COMMENT_CLOSE.len();
        let Some((end, trims)) = close_at(self.text, after) else {
            return Err(syntax(open..after, "a comment must be alone between `${{` and `}}`")
                .hint("write `}}` right after `*/`"));
        };
        self.at = end;
        Ok(Some(trims))
    }

    /// Takes an action to its end, and says whether it trims what follows.
    fn action(&mut self, open: usize) -> Result<bool, Problem> {
        self.tokens.push(Token { kind: Kind::Open, range: open..open + OPEN.len(), spaced: false });
        let mut open_parens = Vec::new();
        loop {
            let before = self.at;
            if let Some((end, trims)) = close_at(self.text, self.at) {
                return self.close(end, trims, &open_parens);
            }
            self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
            let spaced = self.at > before;
            if spaced
                && let Some((end, trims)) = close_at(self.text, self.at - 1).or(close_at(self.text, self.at))
            {
                return self.close(end, trims, &open_parens);
            }
            let start = self.at;
            let Some(first) = self.rest().chars().next() else {
                return Err(syntax(open..open + OPEN.len(), "the action is not closed")
                    .hint("an action ends with `}}`; write a literal `${{` as `${{ \"${{\" }}`"));
            };
            let kind = self.token(first)?;
            match kind {
                Kind::LeftParen => open_parens.push(start),
                Kind::RightParen if open_parens.pop().is_none() => {
                    return Err(syntax(start..self.at, "nothing is open that `)` could close")
                        .hint("remove it, or open the parenthesis before"));
                }
                _ => {}
            }
            self.push(kind, start, spaced);
        }
    }

    fn close(&mut self, end: usize, trims: bool, open_parens: &[usize]) -> Result<bool, Problem> {
        if let Some(&paren) = open_parens.last() {
            return Err(
                syntax(paren..paren + 1, "the parenthesis is not closed").hint("write `)` before `}}`")
            );
        }
        self.at = end;
        self.push(Kind::Close, end - CLOSE.len(), false);
        Ok(trims)
    }

    fn token(&mut self, first: char) -> Result<Kind<'t>, Problem> {
        let rest = self.rest();
        let next_is_digit = rest[first.len_utf8()..].starts_with(|c: char| c.is_ascii_digit());
        match first {
            '|' => Ok(self.symbol(1, Kind::Pipe)),
            '(' => Ok(self.symbol(1, Kind::LeftParen)),
            ')' => Ok(self.symbol(1, Kind::RightParen)),
            ',' => Ok(self.symbol(1, Kind::Comma)),
            '=' => Ok(self.symbol(1, Kind::Assign)),
            ':' if rest.starts_with(":=") => Ok(self.symbol(2, Kind::Declare)),
            '.' if !next_is_digit => self.field(),
            '$' => {
                let name = self.word(1);
                self.terminated(Kind::Variable(name), name)
            }
            '"' | '`' | '\'' => self.literal(literal::quoted(rest)),
            '.' | '+' | '-' | '0'..='9' => self.literal(literal::number(rest)),
            _ if is_word(first) => {
                let name = self.word(0);
                self.terminated(Kind::Word(name), name)
            }
            _ => {
                let range = self.at..self.at + first.len_utf8();
                Err(syntax(range, format!("`{}` means nothing here", first.escape_debug()))
                    .hint("texts stand in double quotes; there are no operators"))
            }
        }
    }

    fn symbol(&mut self, length: usize, kind: Kind<'t>) -> Kind<'t> {
        self.at += length;
        kind
    }

    /// Takes a word after `skip` bytes that belong to it.
    fn word(&mut self, skip: usize) -> &'t str {
        let rest = self.rest();
        let length = rest[skip..].find(|c| !is_word(c)).map_or(rest.len(), |length| skip + length);
        self.at += length;
        &rest[..length]
    }

    fn field(&mut self) -> Result<Kind<'t>, Problem> {
        let name = self.word(1);
        let kind = if name.len() == 1 { Kind::Dot } else { Kind::Field(&name[1..]) };
        self.terminated(kind, name)
    }

    fn literal(&mut self, taken: Result<(Kind<'static>, usize), literal::Bad>) -> Result<Kind<'t>, Problem> {
        match taken {
            Ok((kind, length)) => {
                self.at += length;
                Ok(kind)
            }
            Err(bad) => {
                let fault = syntax(self.at..self.at + bad.length, bad.message);
                Err(fault.hint(bad.hint))
            }
        }
    }

    /// Refuses what Go refuses after a name, `a+b` for one: there are no operators.
    fn terminated(&self, kind: Kind<'t>, name: &str) -> Result<Kind<'t>, Problem> {
        let rest = self.rest();
        let ends = |c: char| is_space(c) || matches!(c, '.' | ',' | '|' | ':' | ')' | '(' | '=');
        match rest.chars().next() {
            Some(next) if !ends(next) && !rest.starts_with(CLOSE) => {
                let range = self.at..self.at + next.len_utf8();
                Err(syntax(range, format!("`{}` cannot follow `{name}`", next.escape_debug()))
                    .hint("there are no operators: use `eq`, `ne`, `lt`, `and`, `or`, `not`"))
            }
            _ => Ok(kind),
        }
    }
}

/// The end of the delimiter that closes an action at `at`, and whether it trims what follows.
fn close_at(text: &str, at: usize) -> Option<(usize, bool)> {
    let rest = text.get(at..)?;
    if rest.starts_with(CLOSE) {
        return Some((at + CLOSE.len(), false));
    }
    let marked = rest.strip_prefix(is_space)?.strip_prefix('-')?;
    marked.starts_with(CLOSE).then(|| (text.len() - marked.len() + CLOSE.len(), true))
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
