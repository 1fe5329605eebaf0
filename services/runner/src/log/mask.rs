//! The mask of a log: what every byte of it passes before it is written down or leaves the process.
//!
//! Owns one stream of the mask for each of a step's outputs. Invariant: with no values to hide, nothing is held back and
//! nothing is copied.

use bytes::Bytes;
use events::log::Stream;

use crate::mask::{self, Masker};

/// Hides values in the log of an attempt.
pub(super) struct Mask {
    masker: Masker,
    stdout: mask::Stream,
    stderr: mask::Stream,
}

impl Mask {
    /// Hides what the masker knows.
    pub(super) fn new(masker: &Masker) -> Self {
        let stream = || mask::Stream::new(masker);
        Self { masker: masker.clone(), stdout: stream(), stderr: stream() }
    }

    /// Takes the next bytes of a stream, and returns what may be shown.
    pub(super) fn pass(&mut self, stream: Stream, bytes: Bytes) -> Bytes {
        match stream {
            Stream::Stdout => self.stdout.pass(bytes),
            Stream::Stderr => self.stderr.pass(bytes),
            // A line of the runner's own is all there.
            Stream::Runner => self.masker.whole(bytes),
        }
    }

    /// Returns what was held back of a stream at its end.
    pub(super) fn finish(&mut self, stream: Stream) -> Bytes {
        match stream {
            Stream::Stdout => self.stdout.finish(),
            Stream::Stderr => self.stderr.finish(),
            Stream::Runner => Bytes::new(),
        }
    }
}
