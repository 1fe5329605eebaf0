//! Sealed logs: an attempt's whole log as one blob that can be read from any line or byte.
//!
//! Owns the format. A sealed log is a concatenation of independent zstd frames, so that `zstdcat` gives exactly the log's
//! bytes:
//!
//! ```text
//! data frame      whole chunks of the log, about 1 MiB of them
//! chunk table     skippable frame: number, line, step, stream, time and length of each of those chunks
//! …               the same again until the log ends; none of both for an empty log
//! index           skippable frame: where each data frame is and which line it begins in; then a trailer of fixed size
//! ```
//!
//! A reader gets the trailer and the index from the blob's end and then only the frames that it needs:
//!
//! ```ignore
//! let log = SealedLog::open(&broker, &sealed.blob).await?;
//! let mut bytes = log.from_line(500_000); // a stream of `Result<Bytes, SealedLogError>`
//! let mut part = log.range(100..200);     // the same, by bytes
//! let mut rest = log.chunks_after(17);    // a stream of `Result<Chunk, SealedLogError>`: goes on where a live log broke off
//! ```
//!
//! Invariant: lines are counted from the bytes themselves, never taken from what a chunk says of itself.

mod read;

use std::io::{self, Write};

use events::Timestamp;
use events::blob::Sha256;
use events::log::{Chunk, LogEnd, Stream};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256 as Hasher};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

pub use read::{SealedLog, SealedLogError};

/// A data frame ends with the chunk that reaches this many bytes.
const FRAME_BYTES: usize = 1024 * 1024;

/// A data frame ends with this many chunks, so that its table stays small when the chunks are tiny.
const FRAME_CHUNKS: usize = 16 * 1024;

/// Fast, and close to the best that text allows.
const LEVEL: i32 = 3;

/// The magic number of the chunk tables' skippable frames.
const TABLE_MAGIC: u32 = 0x184D_2A51;
/// The magic number of the index's skippable frame.
const INDEX_MAGIC: u32 = 0x184D_2A50;
/// What a skippable frame has before its content: the magic number and the content's length.
const SKIPPABLE_HEADER: usize = 8;

/// The last bytes of a sealed log: how long the index's frame is, and this mark of the format's version.
const TRAILER_MARK: &[u8; 8] = b"pwlog  1";
const TRAILER_BYTES: usize = 16;

/// What is where in a sealed log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    frames: Vec<Frame>,
    chunks: u64,
    last_chunk: u64,
    bytes: u64,
    lines: u64,
}

/// A data frame, which its chunk table follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Frame {
    /// Where it begins in the blob.
    offset: u64,
    /// Its length in the blob.
    size: u64,
    /// The length of the chunk table's frame.
    table: u64,
    /// The length of its content.
    bytes: u64,
    /// The line that its first byte belongs to.
    first_line: u64,
    /// The number of its first chunk.
    first_chunk: u64,
}

/// What a chunk table says of one chunk: its number, the line that its first byte belongs to, its step, its stream, its
/// time in milliseconds since 1970 and its length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry(u64, u64, u32, Stream, i64, u64);

impl Entry {
    fn chunk(&self, bytes: Vec<u8>) -> Chunk {
        let &Self(number, first_line, step, stream, millis, _) = self;
        let time = Timestamp::from_timestamp_millis(millis).unwrap_or_default();
        Chunk { number, first_line, step, stream, time, bytes }
    }
}

/// Writes a sealed log, in memory for one frame.
pub struct SealedLogWriter<W> {
    to: W,
    written: u64,
    compressor: Compressor<'static>,
    content: Vec<u8>,
    table: Vec<Entry>,
    index: Index,
    hasher: Hasher,
    line_feeds: u64,
    last_byte: Option<u8>,
}

impl<W: Write> SealedLogWriter<W> {
    /// Begins a sealed log.
    ///
    /// # Errors
    /// When there is no memory for the compressor.
    pub fn new(to: W) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        // Ranges are read without the blob's digest: each frame has to know for itself that it is whole.
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self {
            to,
            written: 0,
            compressor,
            content: Vec::new(),
            table: Vec::new(),
            index: Index::default(),
            hasher: Hasher::new(),
            line_feeds: 0,
            last_byte: None,
        })
    }

    /// Adds a chunk. Chunks come in order of their numbers.
    ///
    /// # Errors
    /// When the frame that it fills cannot be written.
    pub fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        let length = chunk.bytes.len() as u64;
        let (line, millis) = (self.line_feeds + 1, chunk.time.timestamp_millis());
        self.table.push(Entry(chunk.number, line, chunk.step, chunk.stream, millis, length));
        self.content.extend_from_slice(&chunk.bytes);
        self.hasher.update(&chunk.bytes);
        self.line_feeds += chunk.line_feeds();
        self.last_byte = chunk.bytes.last().copied().or(self.last_byte);
        self.index.chunks += 1;
        self.index.last_chunk = chunk.number;
        self.index.bytes += length;
        if self.content.len() >= FRAME_BYTES || self.table.len() >= FRAME_CHUNKS {
            self.end_frame()?;
        }
        Ok(())
    }

    /// How many bytes of the log it has taken.
    pub const fn bytes(&self) -> u64 {
        self.index.bytes
    }

    /// How many chunks it has taken.
    pub const fn chunks(&self) -> u64 {
        self.index.chunks
    }

    /// Ends the log; returns what it amounts to.
    ///
    /// # Errors
    /// When the rest cannot be written.
    pub fn finish(mut self) -> io::Result<(W, LogEnd)> {
        self.end_frame()?;
        let open_line = self.last_byte.is_some_and(|byte| byte != b'\n');
        self.index.lines = self.line_feeds + u64::from(open_line);
        let mut content = self.compressor.compress(&serde_json::to_vec(&self.index)?)?;
        let size = (SKIPPABLE_HEADER + content.len() + TRAILER_BYTES) as u64;
        content.extend_from_slice(&size.to_le_bytes());
        content.extend_from_slice(TRAILER_MARK);
        self.to.write_all(&skippable_header(INDEX_MAGIC, &content)?)?;
        self.to.write_all(&content)?;
        self.to.flush()?;
        let Index { chunks, bytes, lines, .. } = self.index;
        let sha256 = Sha256::from_bytes(&self.hasher.finalize().into());
        Ok((self.to, LogEnd { chunks, bytes, lines, sha256 }))
    }

    fn end_frame(&mut self) -> io::Result<()> {
        let Some(&Entry(first_chunk, first_line, ..)) = self.table.first() else { return Ok(()) };
        let data = self.compressor.compress(&self.content)?;
        let table = self.compressor.compress(&serde_json::to_vec(&self.table)?)?;
        let header = skippable_header(TABLE_MAGIC, &table)?;
        for part in [&data[..], &header, &table] {
            self.to.write_all(part)?;
        }
        let frame = Frame {
            offset: self.written,
            size: data.len() as u64,
            table: (header.len() + table.len()) as u64,
            bytes: self.content.len() as u64,
            first_line,
            first_chunk,
        };
        self.written += frame.size + frame.table;
        self.index.frames.push(frame);
        self.content.clear();
        self.table.clear();
        Ok(())
    }
}

fn skippable_header(magic: u32, content: &[u8]) -> io::Result<[u8; SKIPPABLE_HEADER]> {
    let length = u32::try_from(content.len()).map_err(io::Error::other)?;
    let mut header = [0; SKIPPABLE_HEADER];
    header[..4].copy_from_slice(&magic.to_le_bytes());
    header[4..].copy_from_slice(&length.to_le_bytes());
    Ok(header)
}
