//! A text and the places in it.
//!
//! Owns the way from bytes to lines, columns and excerpts, and the collection of problems. Columns count characters.

use crate::diagnostic::{Code, Diagnostic, Diagnostics, Problem, Severity};

/// How many problems are shown at once; a file with more is not the file that was meant.
const MAX_DIAGNOSTICS: usize = 100;

/// How many characters of a long line are shown before and after the start of the offending text.
const EXCERPT_BEFORE: usize = 60;
const EXCERPT_AFTER: usize = 60;

/// The longest message in characters.
const MAX_MESSAGE: usize = 300;

/// Every so many bytes it is known how many characters begin before, so that a column costs no walk over a long line.
const BLOCK: usize = 1024;

/// A text, its name, and where its lines begin.
#[derive(Clone, Debug)]
pub(crate) struct SourceText<'a> {
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    line_starts: Vec<usize>,
    /// For each block of the text how many characters begin before it.
    chars_before: Vec<usize>,
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
        let count = |before: &mut usize, block: &[u8]| {
            let first = *before;
            *before += char_starts(block);
            Some(first)
        };
        let mut chars_before: Vec<usize> = text.as_bytes().chunks(BLOCK).scan(0, count).collect();
        if text.len().is_multiple_of(BLOCK) {
            chars_before.push(char_starts(text.as_bytes()));
        }
        Self { name, text, line_starts: std::iter::once(0).chain(breaks).collect(), chars_before }
    }

    /// The place of a byte.
    pub(crate) fn place(&self, offset: usize) -> Place {
        let offset = self.boundary(offset);
        let line = self.line_starts.partition_point(|&line_start| line_start <= offset) - 1;
        let column = self.chars_to(offset) - self.chars_to(self.line_starts[line]);
        Place { line: number(line + 1), column: number(column + 1) }
    }

    /// How many characters begin before a byte inside the text or at its end.
    fn chars_to(&self, offset: usize) -> usize {
        let block = offset / BLOCK;
        self.chars_before[block] + char_starts(&self.text.as_bytes()[block * BLOCK..offset])
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
            message: inert(&shortened(problem.message)),
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

fn char_starts(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The part of a line around the offending text, how many characters stand before that, and how many of it are shown.
fn excerpt(line: &str, column: usize, length: usize) -> (String, usize, usize) {
    let first = column.saturating_sub(EXCERPT_BEFORE);
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

/// A message that repeats no more of a text than anybody would read.
fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
    message
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
        self.found.sort_by(|left, right| order(left).cmp(&order(right)));
        // What stands behind an alias is read once for each, and is wrong in the same way each time.
        self.found.dedup();
        // Errors first, so that what does not fit is never an error behind a hundred warnings.
        self.found.sort_by_key(|(_, problem)| problem.severity == Severity::Warning);
        let omitted = self.found.len().saturating_sub(MAX_DIAGNOSTICS);
        self.found.truncate(MAX_DIAGNOSTICS);
        self.found.sort_by(|left, right| order(left).cmp(&order(right)));
        let diagnostics = self.found.into_iter().map(|(text, problem)| texts[text].diagnostic(problem));
        Diagnostics::new(diagnostics.collect(), omitted)
    }
}

/// The order of the texts and of what stands in them.
fn order((text, problem): &(usize, Problem)) -> (usize, usize, usize, Code, &str) {
    (*text, problem.range.start, problem.range.end, problem.code, &problem.message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_place_counts_lines_and_characters(text in "[ax\u{e9}\u{1f600}\n]{0,60}", times in 1_usize..60) {
            let text = text.repeat(times);
            let source = SourceText::new("t", &text);
            for (at, _) in text.char_indices().chain([(text.len(), ' ')]).step_by(7) {
                let before = &text[..at];
                let line = before.matches('\n').count() + 1;
                let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
                prop_assert_eq!(source.place(at), Place { line: number(line), column: number(column) });
            }
        }
    }

    #[test]
    fn a_text_of_exactly_some_blocks_has_places_to_its_end() {
        for length in [0, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK] {
            let text = "x".repeat(length);
            let place = SourceText::new("t", &text).place(length + 10);
            assert_eq!(place, Place { line: 1, column: number(length + 1) });
        }
    }

    #[test]
    fn what_a_terminal_would_act_on_is_not_shown() {
        let text = "a\u{1b}[31m\u{202e}b\tc\r\n";
        let mut report = Report::default();
        report.add(0, Problem::new(Code::InvalidValue, 1..2, "m\u{7}"));
        let found = report.finish(&[SourceText::new("f\u{1b}", text)]).into_list().remove(0);
        assert_eq!(found.excerpt, "a\u{fffd}[31m\u{fffd}b c");
        assert_eq!((found.file.as_str(), found.message.as_str()), ("f\u{fffd}", "m\u{fffd}"));
    }

    #[test]
    fn errors_are_kept_before_warnings_and_shown_in_the_order_of_the_text() {
        let mut report = Report::default();
        (0..MAX_DIAGNOSTICS).for_each(|at| {
            report.add(0, Problem::new(Code::VersionForm, at..at + 1, "w").warning());
        });
        report.add(0, Problem::new(Code::InvalidValue, 50..51, "e"));
        report.add(0, Problem::new(Code::InvalidValue, 50..51, "e"));
        let text = "x".repeat(MAX_DIAGNOSTICS);
        let found = report.finish(&[SourceText::new("t", &text)]);
        assert_eq!(found.omitted(), 1);
        let errors: Vec<_> =
            found.as_slice().iter().filter(|found| found.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1);
        assert!(found.as_slice().is_sorted_by_key(|found| found.column));
    }
}
