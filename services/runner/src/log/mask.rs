//! The mask: what every byte of a step's output passes before it is written down or leaves the process.
//!
//! Owns the bytes that may be the beginning of a value to hide: they are held back, per stream, until the next ones tell,
//! so that a value that comes in two pieces is hidden too. Never sees what the runner says itself. Invariant: with no values
//! to hide, nothing is held back and nothing is copied.

use bytes::Bytes;
use events::log::Stream;

/// Hides values in the output of an attempt. There are none to hide yet.
#[derive(Debug, Default)]
pub(super) struct Mask {}

impl Mask {
    /// Takes the next bytes of a stream, and returns what may be shown.
    pub(super) fn pass(&mut self, _stream: Stream, bytes: Bytes) -> Bytes {
        bytes
    }

    /// Returns what was held back of a stream at its end.
    pub(super) fn finish(&mut self, _stream: Stream) -> Bytes {
        Bytes::new()
    }
}
