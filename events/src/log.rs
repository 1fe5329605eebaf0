//! The log of an attempt: a byte stream cut into numbered chunks.
//!
//! Owns what a chunk says of itself. The log is the concatenation of its chunks in order of their numbers; a line ends
//! with a line feed and is numbered from 1 over the whole attempt, whichever stream wrote it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::blob::Sha256;

/// The most bytes in one chunk.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Who wrote the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The step's standard output.
    Stdout,
    /// The step's standard error.
    Stderr,
    /// The runner itself: an image is pulled, a limit was hit.
    Runner,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Runner => "runner",
        })
    }
}

/// A piece of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// From 1 in each attempt, without a gap.
    pub number: u64,
    /// The line that the first byte belongs to, from 1.
    pub first_line: u64,
    /// The step that wrote it, from 1; 0 outside of any step.
    pub step: u32,
    /// Who wrote it.
    pub stream: Stream,
    /// When its last byte was read.
    pub time: Timestamp,
    /// At most [`CHUNK_BYTES`] bytes, as they were written, after masking.
    pub bytes: Vec<u8>,
}

/// What a chunk's message says beside its bytes.
const NUMBER: &str = "Log-Chunk";
const FIRST_LINE: &str = "Log-First-Line";
const STEP: &str = "Log-Step";
const STREAM: &str = "Log-Stream";
const TIME: &str = "Log-Time";

/// A message of the LOGS stream that is not a chunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("log chunk without a valid `{0}` header")]
pub struct InvalidChunk(pub &'static str);

impl Chunk {
    /// The headers of the chunk's message.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            (NUMBER, self.number.to_string()),
            (FIRST_LINE, self.first_line.to_string()),
            (STEP, self.step.to_string()),
            (STREAM, self.stream.to_string()),
            (TIME, self.time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
        ]
    }

    /// Reads a chunk from its message. `header` looks a header up by name.
    pub fn from_message<'a>(
        header: impl Fn(&str) -> Option<&'a str>,
        bytes: Vec<u8>,
    ) -> Result<Self, InvalidChunk> {
        Ok(Self {
            number: field(&header, NUMBER)?,
            first_line: field(&header, FIRST_LINE)?,
            step: field(&header, STEP)?,
            stream: match header(STREAM) {
                Some("stdout") => Stream::Stdout,
                Some("stderr") => Stream::Stderr,
                Some("runner") => Stream::Runner,
                _ => return Err(InvalidChunk(STREAM)),
            },
            time: field(&header, TIME)?,
            bytes,
        })
    }

    /// How many line feeds it holds.
    pub fn line_feeds(&self) -> u64 {
        self.bytes.iter().filter(|byte| **byte == b'\n').count() as u64
    }
}

fn field<'a, T: FromStr>(
    header: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
) -> Result<T, InvalidChunk> {
    header(name).and_then(|text| text.parse().ok()).ok_or(InvalidChunk(name))
}

/// What the whole log must amount to, as counted by the runner that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogEnd {
    /// How many chunks.
    pub chunks: u64,
    /// How many bytes.
    pub bytes: u64,
    /// How many lines; a last one without a line feed counts.
    pub lines: u64,
    /// The digest of all bytes in order.
    pub sha256: Sha256,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn a_chunk_reads_back_from_its_message() {
        let chunk = Chunk {
            number: 17,
            first_line: 90_210,
            step: 3,
            stream: Stream::Stderr,
            time: "2026-05-06T07:08:09.123Z".parse().unwrap(),
            bytes: vec![0xff, b'\n', 0],
        };
        let headers = chunk.headers();
        let header =
            |name: &str| headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str());
        assert_eq!(Chunk::from_message(header, chunk.bytes.clone()), Ok(chunk));
        assert_eq!(Chunk::from_message(|_| None, vec![]), Err(InvalidChunk("Log-Chunk")));
    }
}
