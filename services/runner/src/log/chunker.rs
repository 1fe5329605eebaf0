//! The chunker: from pieces of output to numbered chunks, and what they amount to.
//!
//! Owns the numbers of chunks and lines over the whole attempt. Pure: the time comes in. Invariant: the chunks in order of
//! their numbers are the pieces in order of their arrival, byte for byte.

use events::Timestamp;
use events::blob::Sha256;
use events::log::{CHUNK_BYTES, Chunk, LogEnd, Stream};
use sha2::{Digest as _, Sha256 as Hasher};

/// Cuts the log. One chunk has one stream and one step, so a change of either ends it.
#[derive(Debug)]
pub(super) struct Chunker {
    number: u64,
    line: u64,
    pending: Vec<u8>,
    source: (u32, Stream),
    time: Timestamp,
}

impl Chunker {
    /// Goes on behind what was cut before: nothing at all, or what a crash left.
    pub(super) fn after(tally: &Tally) -> Self {
        Self {
            number: tally.chunks,
            line: tally.line_feeds + 1,
            pending: Vec::new(),
            source: (0, Stream::Runner),
            time: Timestamp::UNIX_EPOCH,
        }
    }

    /// Takes the next piece and gives what is complete to `done`.
    pub(super) fn push(
        &mut self,
        source: (u32, Stream),
        mut piece: &[u8],
        now: Timestamp,
        done: &mut Vec<Chunk>,
    ) {
        if piece.is_empty() {
            return;
        }
        if source != self.source {
            done.extend(self.flush());
            self.source = source;
        }
        self.time = now;
        while self.pending.len() + piece.len() >= CHUNK_BYTES {
            let (now, later) = piece.split_at(CHUNK_BYTES - self.pending.len());
            self.pending.extend_from_slice(now);
            done.extend(self.flush());
            piece = later;
        }
        self.pending.extend_from_slice(piece);
    }

    /// Ends the current chunk, if there is one.
    pub(super) fn flush(&mut self) -> Option<Chunk> {
        if self.pending.is_empty() {
            return None;
        }
        self.number += 1;
        let chunk = Chunk {
            number: self.number,
            first_line: self.line,
            step: self.source.0,
            stream: self.source.1,
            time: self.time,
            bytes: std::mem::take(&mut self.pending),
        };
        self.line += chunk.line_feeds();
        Some(chunk)
    }

    /// Whether bytes wait for more.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// What the chunks amount to so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) chunks: u64,
    bytes: u64,
    line_feeds: u64,
    ends_a_line: bool,
    hasher: Hasher,
}

impl Tally {
    /// Counts the next chunk.
    pub(super) fn add(&mut self, chunk: &Chunk) {
        self.chunks = chunk.number;
        self.bytes += chunk.bytes.len() as u64;
        self.line_feeds += chunk.line_feeds();
        self.ends_a_line = chunk.bytes.last() == Some(&b'\n');
        self.hasher.update(&chunk.bytes);
    }

    /// Whether the log ends in the middle of a line.
    pub(super) fn is_inside_a_line(&self) -> bool {
        self.bytes > 0 && !self.ends_a_line
    }

    /// What a final report says of the log.
    pub(super) fn end(&self) -> LogEnd {
        LogEnd {
            chunks: self.chunks,
            bytes: self.bytes,
            lines: self.line_feeds + u64::from(self.is_inside_a_line()),
            sha256: Sha256::from_bytes(&self.hasher.clone().finalize().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "2026-05-06T07:08:09.123Z".parse().unwrap()
    }

    fn pieces() -> impl Strategy<Value = Vec<(u32, bool, Vec<u8>, bool)>> {
        let text = prop_oneof![
            proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'x'), any::<u8>()], 0..40),
            (0..3 * CHUNK_BYTES).prop_map(|length| vec![b'y'; length]),
        ];
        proptest::collection::vec((1..3u32, any::<bool>(), text, any::<bool>()), 0..12)
    }

    proptest! {
        #[test]
        fn chunks_are_the_pieces_in_order_with_their_lines_counted(pieces in pieces()) {
            let (mut tally, mut chunks, mut whole) = (Tally::default(), Vec::new(), Vec::new());
            let mut chunker = Chunker::after(&tally);
            for (step, is_error, piece, flush) in &pieces {
                let stream = if *is_error { Stream::Stderr } else { Stream::Stdout };
                chunker.push((*step, stream), piece, now(), &mut chunks);
                whole.extend_from_slice(piece);
                if *flush {
                    chunks.extend(chunker.flush());
                    prop_assert!(!chunker.is_waiting());
                }
            }
            chunks.extend(chunker.flush());
            let mut seen = Vec::new();
            for (index, chunk) in chunks.iter().enumerate() {
                prop_assert_eq!(chunk.number, index as u64 + 1);
                prop_assert!((1..=CHUNK_BYTES).contains(&chunk.bytes.len()));
                let feeds = seen.iter().filter(|byte| **byte == b'\n').count() as u64;
                prop_assert_eq!(chunk.first_line, feeds + 1);
                seen.extend_from_slice(&chunk.bytes);
                tally.add(chunk);
            }
            prop_assert_eq!(&seen, &whole);
            let end = tally.end();
            prop_assert_eq!(end.bytes, whole.len() as u64);
            prop_assert_eq!(end.chunks, chunks.len() as u64);
            prop_assert_eq!(end.lines, whole.split_inclusive(|byte| *byte == b'\n').count() as u64);
            prop_assert_eq!(end.sha256, Sha256::from_bytes(&Hasher::digest(&whole).into()));
        }
    }

    #[test]
    fn a_chunk_has_one_stream_and_one_step() {
        let mut chunks = Vec::new();
        let mut chunker = Chunker::after(&Tally::default());
        for (step, stream, text) in
            [(1, Stream::Stdout, "a"), (1, Stream::Stderr, "b"), (2, Stream::Stderr, "c")]
        {
            chunker.push((step, stream), text.as_bytes(), now(), &mut chunks);
        }
        chunks.extend(chunker.flush());
        let sources: Vec<_> = chunks.iter().map(|chunk| (chunk.step, chunk.stream)).collect();
        assert_eq!(sources, [(1, Stream::Stdout), (1, Stream::Stderr), (2, Stream::Stderr)]);
    }
}
