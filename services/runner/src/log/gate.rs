//! The gate: how much of what the steps print comes into the log.
//!
//! Owns the counts, per line and over the whole attempt. Pure. Invariant: what comes through is what was printed, byte for
//! byte, except where a note says that something is left out; and with no line too long and room left, nothing is copied.

use bytes::Bytes;
use events::job::{Limit, LimitName};
use events::log::Stream;
use memchr::{memchr, memrchr};
use spec::OnLogLimit;

use crate::limits::LogLimits;

/// Lets output through as long as there is room.
#[derive(Debug)]
pub(super) struct Gate {
    limits: LogLimits,
    /// How many bytes may still come through.
    room: u64,
    is_full: bool,
    /// The unfinished line of each stream.
    lines: [Line; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Line {
    bytes: u64,
    /// Whether the rest of it is left out.
    is_cut: bool,
}

/// What comes through.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Bytes(Bytes),
    /// A line about what does not.
    Note(String),
}

impl Gate {
    pub(super) fn new(limits: LogLimits) -> Self {
        Self { limits, room: limits.bytes, is_full: false, lines: [Line::default(); 2] }
    }

    /// Whether nothing comes through any more.
    pub(super) const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Takes the next bytes of a stream.
    pub(super) fn pass(&mut self, stream: Stream, bytes: Bytes, through: &mut Vec<Part>) {
        if self.is_full || bytes.is_empty() {
            return;
        }
        let length = bytes.len() as u64;
        let line = self.line(stream);
        if line.is_cut || line.bytes + length > self.limits.line_bytes || length > self.room {
            return self.pass_in_parts(stream, &bytes, through);
        }
        let line = self.line(stream);
        line.bytes = match memrchr(b'\n', &bytes) {
            Some(at) => length - at as u64 - 1,
            None => line.bytes + length,
        };
        self.room -= length;
        through.push(Part::Bytes(bytes));
    }

    /// Notes the end of a stream in a step: the next one begins a line of its own.
    pub(super) fn end(&mut self, stream: Stream) {
        *self.line(stream) = Line::default();
    }

    fn line(&mut self, stream: Stream) -> &mut Line {
        &mut self.lines[usize::from(stream == Stream::Stderr)]
    }

    /// The same where a line may be too long or the room too small.
    fn pass_in_parts(&mut self, stream: Stream, bytes: &Bytes, through: &mut Vec<Part>) {
        let most = self.limits.line_bytes;
        let mut line = *self.line(stream);
        // What lies between the two comes through as one.
        let (mut from, mut at) = (0, 0);
        while at < bytes.len() && !self.is_full {
            let feed = memchr(b'\n', &bytes[at..]);
            let length = feed.unwrap_or(bytes.len() - at);
            let end = at + feed.map_or(length, |feed| feed + 1);
            if line.is_cut {
                from = end;
            } else if line.bytes + length as u64 > most {
                let last = at + usize::try_from(most - line.bytes).unwrap_or(usize::MAX);
                self.admit(bytes.slice(from..last), through);
                if !self.is_full {
                    let limit = Limit { name: LimitName::LogBytes, value: most };
                    through.push(Part::Note(format!(
                        "that line is longer than {limit}: the rest of it is left out (limits.logLineBytes)"
                    )));
                }
                line.is_cut = true;
                from = end;
            } else {
                line.bytes += length as u64;
            }
            if feed.is_some() {
                line = Line::default();
            }
            at = end;
        }
        self.admit(bytes.slice(from..at.max(from)), through);
        *self.line(stream) = line;
    }

    /// Lets bytes through as far as there is room for them.
    fn admit(&mut self, bytes: Bytes, through: &mut Vec<Part>) {
        if bytes.is_empty() || self.is_full {
            return;
        }
        let fits = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        self.room -= fits as u64;
        self.is_full = fits < bytes.len();
        if fits > 0 {
            through.push(Part::Bytes(bytes.slice(..fits)));
        }
        if self.is_full {
            let limit = Limit { name: LimitName::LogBytes, value: self.limits.bytes };
            let then = match self.limits.when_full {
                OnLogLimit::Continue => "what the steps print from here on is left out",
                OnLogLimit::Fail => "the job ends here",
            };
            through.push(Part::Note(format!("the log is full at {limit} (limits.logBytes): {then}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gate(bytes: u64, line_bytes: u64) -> Gate {
        Gate::new(LogLimits { bytes, line_bytes, when_full: OnLogLimit::Continue })
    }

    /// What comes through of pieces of standard output, with `!` for each note.
    fn through(mut gate: Gate, pieces: &[&str]) -> String {
        let mut parts = Vec::new();
        for piece in pieces {
            gate.pass(Stream::Stdout, Bytes::copy_from_slice(piece.as_bytes()), &mut parts);
        }
        let shown = parts.iter().map(|part| match part {
            Part::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Part::Note(_) => "!".to_owned(),
        });
        shown.collect()
    }

    #[test]
    fn a_long_line_is_cut_wherever_its_pieces_end() {
        let text = "abc\nabcdefgh\nabcde\n\nabcdef\nx";
        let expected = "abc\nabcde!abcde\n\nabcde!x";
        for size in 1..=text.len() {
            let pieces: Vec<_> =
                text.as_bytes().chunks(size).map(|piece| std::str::from_utf8(piece).unwrap_or("")).collect();
            assert_eq!(through(gate(1000, 5), &pieces), expected, "pieces of {size}");
        }
    }

    #[test]
    fn a_full_log_says_so_once_and_takes_no_more() {
        assert_eq!(through(gate(6, 100), &["abc\n", "def\n", "ghi\n"]), "abc\nde!");
        assert_eq!(through(gate(8, 100), &["abc\n", "def\n", "ghi\n"]), "abc\ndef\n!");
        assert_eq!(through(gate(8, 100), &["abc\n", "def\n"]), "abc\ndef\n", "what just fits is all there");
    }

    #[test]
    fn streams_have_lines_of_their_own() {
        let (mut gate, mut parts) = (gate(1000, 4), Vec::new());
        for (stream, piece) in [
            (Stream::Stdout, "abc"),
            (Stream::Stderr, "abc"),
            (Stream::Stdout, "d\n"),
            (Stream::Stderr, "de\n"),
        ] {
            gate.pass(stream, Bytes::from_static(piece.as_bytes()), &mut parts);
        }
        let notes = parts.iter().filter(|part| matches!(part, Part::Note(_))).count();
        assert_eq!(notes, 1);
    }

    proptest! {
        #[test]
        fn without_a_note_all_comes_through(
            pieces in proptest::collection::vec("[ab\n]{0,12}", 0..12),
            bytes in 0..60_u64,
            line in 1..12_u64,
        ) {
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let whole = pieces.concat();
            let shown = through(gate(bytes, line), &pieces);
            let longest = whole.split('\n').map(str::len).max().unwrap_or(0) as u64;
            if whole.len() as u64 <= bytes && longest <= line {
                prop_assert_eq!(shown, whole);
            } else {
                prop_assert!(shown.contains('!'));
                prop_assert!(shown.replace('!', "").len() as u64 <= bytes);
                let kept = shown.split(['\n', '!']).map(str::len).max().unwrap_or(0) as u64;
                prop_assert!(kept <= line);
            }
        }
    }
}
