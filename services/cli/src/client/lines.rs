//! Lines of an answer that comes bit by bit.
//!
//! Owns what came of a line that is not whole yet.

/// Cuts what comes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// How much of the buffer was handed out.
    taken: usize,
}

impl Lines {
    /// Takes bytes in.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// What came of a line before the connection broke comes again, from its beginning.
    pub(super) fn forget_partial(&mut self) {
        self.buffer.clear();
        self.taken = 0;
    }

    /// The next whole line that is not empty.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        loop {
            let rest = &self.buffer[self.taken..];
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let line = self.taken..self.taken + end;
            self.taken += end + 1;
            if !self.buffer[line.clone()].trim_ascii().is_empty() {
                return Some(&self.buffer[line]);
            }
        }
    }
}
