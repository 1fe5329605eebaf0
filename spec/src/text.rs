//! A text and the places in it.
//!
//! Owns the way from bytes to lines, columns and excerpts, and the collection of problems. Columns count characters.

use std::ops::Range;

use crate::diagnostic::{Diagnostic, Diagnostics, Problem, Severity};

/// How many problems are shown at once; a file with more is not the file that was meant.
const MAX_DIAGNOSTICS: usize = 100;

/// How many characters of a long line are shown before and after the start of the offending text.
const EXCERPT_BEFORE: usize = 60;
const EXCERPT_AFTER: usize = 60;

/// A text, its name, and where its lines begin.
#[derive(Clone, Debug)]
pub(crate) struct SourceText<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    line_starts: Vec<usize>,
}

/// A place in a text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl<'a> SourceText<'a> {
    pub(crate) fn new(name: &'a str, text: &'a str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { name, text, line_starts: std::iter::once(0).chain(breaks).collect() }
    }

    /// The places of bytes in ascending order, in one walk over the text.
    pub(crate) fn places(&self, offsets: impl IntoIterator<Item = usize>) -> Vec<Place> {
        let (mut walked, mut line, mut column) = (0, 1, 1);
        let place = |offset: usize| {
            for c in self.text.get(walked..offset).unwrap_or_default().chars() {
                (line, column) = if c == '\n' { (line + 1, 1) } else { (line, column + 1) };
            }
            walked = walked.max(offset);
            Place { line, column }
        };
        offsets.into_iter().map(place).collect()
    }

    fn diagnostic(&self, problem: Problem) -> Diagnostic {
        let start = self.boundary(problem.range.start);
        let end = self.boundary(problem.range.end.max(start));
        let line = self.line_starts.partition_point(|&line_start| line_start <= start) - 1;
        let line_start = self.line_starts[line];
        let rest = &self.text[line_start..];
        let line_text = rest.split('\n').next().unwrap_or_default().trim_end_matches('\r');
        // The text may say that it ends behind its last line, or that a key reaches into the next one.
        let start = start.min(line_start + line_text.len());
        let end = end.clamp(start, line_start + line_text.len());
        let column = self.text[line_start..start].chars().count();
        let length = self.text[start..end].chars().count();
        let (excerpt, offset, shown) = excerpt(line_text, column, length.max(1));
        Diagnostic {
            severity: problem.severity,
            code: problem.code,
            message: inert(&problem.message),
            hint: problem.hint.map(|hint| inert(&hint)),
            file: inert(self.name),
            line: number(line + 1),
            column: number(column + 1),
            length: number(shown),
            excerpt,
            excerpt_offset: number(offset),
        }
    }

    fn boundary(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        (0..=offset).rev().find(|&at| self.text.is_char_boundary(at)).unwrap_or(0)
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The part of a line around the offending text, how many characters stand before that, and how many of it are shown.
fn excerpt(line: &str, column: usize, length: usize) -> (String, usize, usize) {
    let first = if column > EXCERPT_BEFORE { column - EXCERPT_BEFORE } else { 0 };
    let mut shown = String::from(if first > 0 { "…" } else { "" });
    let mut chars = line.chars().skip(first);
    shown.extend(chars.by_ref().take(column - first + EXCERPT_AFTER).map(inert_char));
    let offset = column - first + usize::from(first > 0);
    let visible = shown.chars().count().saturating_sub(offset).max(1);
    if chars.next().is_some() {
        shown.push('…');
    }
    (shown, offset, length.min(visible))
}

/// Text in which nothing moves a terminal's cursor, changes its colours or the direction of writing.
fn inert(text: &str) -> String {
    text.chars().map(inert_char).collect()
}

fn inert_char(c: char) -> char {
    match c {
        '\t' => ' ',
        _ if c.is_control() => '\u{fffd}',
        '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}'
        | '\u{2028}'
        | '\u{2029}' => '\u{fffd}',
        _ => c,
    }
}

/// Collects problems of several texts.
#[derive(Debug, Default)]
pub(crate) struct Report {
    found: Vec<(usize, Problem)>,
}

impl Report {
    /// Adds a problem of the text at this position of the list given to the end.
    pub(crate) fn add(&mut self, text: usize, problem: Problem) {
        self.found.push((text, problem));
    }

    /// Whether the definition cannot be used.
    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|(_, problem)| problem.severity == Severity::Error)
    }

    /// Everything that was found, in the order of the texts.
    pub(crate) fn finish(mut self, texts: &[SourceText<'_>]) -> Diagnostics {
        // Errors first, so that what does not fit is never an error behind a hundred warnings.
        self.found.sort_by_key(|(_, problem)| problem.severity == Severity::Warning);
        let omitted = self.found.len().saturating_sub(MAX_DIAGNOSTICS);
        self.found.truncate(MAX_DIAGNOSTICS);
        self.found.sort_by_key(|(text, problem)| (*text, problem.range.start, problem.range.end));
        let diagnostics = self.found.into_iter().map(|(text, problem)| texts[text].diagnostic(problem));
        Diagnostics::new(diagnostics.collect(), omitted)
    }
}
