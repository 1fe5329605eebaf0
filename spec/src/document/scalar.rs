//! Texts and the way from their bytes back to the file.
//!
//! Owns the alignment of a decoded text with its source: indentation, line folding and escapes change what stands
//! where. Exact for every style of YAML and for JSON.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes or as a block: only white space differs from the source.
    Verbatim,
    /// In single quotes, which are doubled inside.
    SingleQuoted,
    /// In double quotes, with escapes.
    Escaped,
}

/// A text as it is meant.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub(crate) value: String,
    pub(crate) style: Style,
}

impl Scalar {
    /// For each byte of the value where its character begins in the source, and last where the value ends.
    ///
    /// `range` is where the scalar stands in the source.
    pub(crate) fn origins(&self, source: &str, range: &Range<usize>) -> Vec<usize> {
        let raw = source.get(range.clone()).unwrap_or_default();
        let mut walk = Walk { raw: raw.char_indices().peekable(), end: raw.len(), style: self.style };
        if self.style != Style::Verbatim {
            walk.raw.next();
        }
        let mut origins = Vec::with_capacity(self.value.len() + 1);
        for c in self.value.chars() {
            let at = if c.is_whitespace() { walk.space() } else { walk.visible() };
            origins.extend(std::iter::repeat_n(range.start + at, c.len_utf8()));
        }
        origins.push(range.start + walk.at());
        origins
    }
}

struct Walk<'s> {
    raw: Peekable<CharIndices<'s>>,
    end: usize,
    style: Style,
}

impl Walk<'_> {
    fn at(&mut self) -> usize {
        self.raw.peek().map_or(self.end, |(at, _)| *at)
    }

    /// Where a white space character of the value comes from: from one of the source, or from an escape.
    fn space(&mut self) -> usize {
        let at = self.at();
        match self.raw.peek() {
            Some((_, c)) if c.is_whitespace() => {
                self.raw.next();
            }
            Some((_, '\\')) if self.style == Style::Escaped => self.escape(),
            _ => {}
        }
        at
    }

    /// Where any other character comes from. Indentation and folded line ends before it are skipped.
    fn visible(&mut self) -> usize {
        loop {
            while self.raw.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            let at = self.at();
            match self.raw.peek() {
                Some((_, '\\')) if self.style == Style::Escaped => {
                    let mut ahead = self.raw.clone();
                    ahead.next();
                    if ahead.peek().is_some_and(|(_, c)| matches!(c, '\n' | '\r')) {
                        // A backslash at the end of a line joins it with the next one.
                        self.raw.next();
                        continue;
                    }
                    self.escape();
                }
                Some((_, '\'')) if self.style == Style::SingleQuoted => {
                    self.raw.next();
                    self.raw.next();
                }
                _ => {
                    self.raw.next();
                }
            }
            return at;
        }
    }

    /// Takes an escape: a backslash, a letter, and the digits that the letter asks for.
    fn escape(&mut self) {
        self.raw.next();
        let digits = match self.raw.next() {
            Some((_, 'x')) => 2,
            Some((_, 'u')) => 4,
            Some((_, 'U')) => 8,
            _ => 0,
        };
        let mut code = 0;
        for _ in 0..digits {
            let digit = self.raw.next().and_then(|(_, c)| c.to_digit(16)).unwrap_or(0);
            code = (code << 4) | digit;
        }
        // Half a character: the other half is an escape too.
        if (0xd800..0xdc00).contains(&code) {
            self.escape();
        }
    }
}
