//! Reading a sealed log from any place on.
//!
//! Owns the way from a line, a byte or a chunk to a frame. Holds one frame and one piece of the blob in memory, however long the
//! log is; a frame that is damaged is an error, never other bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use events::blob::{BlobRef, CHUNK_BYTES};
use events::log::Chunk;
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};

use super::{Entry, Frame, Index, SKIPPABLE_HEADER, TRAILER_BYTES, TRAILER_MARK};
use crate::{BlobError, Broker};

/// The first look at the end of a blob, which brings the whole index of all but enormous logs.
const END_BYTES: u64 = 64 * 1024;

/// The most that an index or a chunk table may amount to: one that claims more is damaged.
const TABLE_BYTES: usize = 256 * 1024 * 1024;

/// Why a sealed log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SealedLogError {
    /// The blob cannot be read.
    #[error("the sealed log cannot be read")]
    Blob(#[from] BlobError),
    /// The blob is no sealed log of a form that this build knows, or its bytes changed.
    #[error("the sealed log {blob} is damaged, or of a later version: {what}")]
    Damaged {
        /// The blob's digest.
        blob: events::blob::Sha256,
        /// What is wrong with it.
        what: String,
    },
}

/// A sealed log, opened for reading. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SealedLog {
    broker: Broker,
    blob: BlobRef,
    index: Arc<Index>,
}

impl SealedLog {
    /// Opens a sealed log: reads its end.
    ///
    /// # Errors
    /// When the blob cannot be read or is no sealed log.
    pub async fn open(broker: &Broker, blob: &BlobRef) -> Result<Self, SealedLogError> {
        let damaged = |what: &str| damaged(blob, what);
        let mut from = blob.size.saturating_sub(END_BYTES);
        let mut end = broker.read_blob_range(blob, from..blob.size).await?;
        let length = index_length(&end).filter(|length| *length <= blob.size);
        let length = length.ok_or_else(|| damaged("it has no index"))?;
        if length > end.len() as u64 {
            from = blob.size - length;
            end = broker.read_blob_range(blob, from..blob.size).await?;
        }
        let start = usize::try_from(blob.size - length - from).unwrap_or(usize::MAX);
        let index: Index = end
            .get(start + SKIPPABLE_HEADER..end.len() - TRAILER_BYTES)
            .and_then(|content| unpack(content, TABLE_BYTES))
            .and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| damaged("its index cannot be read"))?;
        let whole = index.frames.iter().all(|frame| frame.end() + frame.table <= blob.size);
        if !whole {
            return Err(damaged("its index points behind its end"));
        }
        Ok(Self { broker: broker.clone(), blob: blob.clone(), index: Arc::new(index) })
    }

    /// How many bytes the log has.
    pub fn bytes(&self) -> u64 {
        self.index.bytes
    }

    /// How many lines the log has; a last one without a line feed counts.
    pub fn lines(&self) -> u64 {
        self.index.lines
    }

    /// How many chunks the log has.
    pub fn chunks(&self) -> u64 {
        self.index.chunks
    }

    /// The number of the log's last chunk. More than there are chunks: some are missing.
    pub fn last_chunk(&self) -> u64 {
        self.index.last_chunk
    }

    /// The log's bytes from the start of a line on; 0 and 1: from the start. Nothing when the log has fewer lines.
    pub fn from_line(&self, line: u64) -> BoxStream<'static, Result<Bytes, SealedLogError>> {
        // Line N begins behind the line feed that ends line N - 1, which is in the last frame that begins before line N.
        let frame = self.index.frames.partition_point(|frame| frame.first_line < line).saturating_sub(1);
        let line_at = self.index.frames.get(frame).map_or(1, |frame| frame.first_line);
        let cursor = Cursor::new(self.clone(), frame);
        stream::try_unfold((cursor, line.saturating_sub(line_at)), |(mut cursor, mut feeds)| async move {
            while let Some(frame) = cursor.next_frame() {
                let content = Bytes::from(cursor.content(&frame).await?);
                let skipped = skip_lines(&content, &mut feeds);
                if skipped < content.len() {
                    return Ok(Some((content.slice(skipped..), (cursor, feeds))));
                }
            }
            Ok(None)
        })
        .boxed()
    }

    /// A part of the log, by bytes from its start. Where the log ends before the part does, so does what is read.
    pub fn range(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, SealedLogError>> {
        let (mut frame, mut frame_at) = (0, 0_u64);
        for known in &self.index.frames {
            let behind = frame_at.saturating_add(known.bytes);
            if behind > range.start {
                break;
            }
            (frame, frame_at) = (frame + 1, behind);
        }
        let (skip, left) = (range.start.saturating_sub(frame_at), range.end.saturating_sub(range.start));
        let cursor = Cursor::new(self.clone(), frame);
        stream::try_unfold((cursor, skip, left), |(mut cursor, mut skip, mut left)| async move {
            while left > 0 {
                let Some(frame) = cursor.next_frame() else { break };
                let content = Bytes::from(cursor.content(&frame).await?);
                let from = usize::try_from(skip).unwrap_or(usize::MAX).min(content.len());
                let part = content.slice(from..);
                let part = part.slice(..usize::try_from(left).unwrap_or(usize::MAX).min(part.len()));
                skip -= from as u64;
                left -= part.len() as u64;
                if !part.is_empty() {
                    return Ok(Some((part, (cursor, skip, left))));
                }
            }
            Ok(None)
        })
        .boxed()
    }

    /// The chunks behind the one of this number, in order; 0: all. What a chunk says of its first line is true of this
    /// log.
    pub fn chunks_after(&self, number: u64) -> BoxStream<'static, Result<Chunk, SealedLogError>> {
        let frame = self.index.frames.partition_point(|frame| frame.first_chunk <= number).saturating_sub(1);
        let cursor = Cursor::new(self.clone(), frame);
        stream::try_unfold(cursor, |mut cursor| async move {
            let Some(frame) = cursor.next_frame() else { return Ok(None) };
            let chunks = cursor.chunks(&frame).await?;
            Ok::<_, SealedLogError>(Some((stream::iter(chunks.into_iter().map(Ok)), cursor)))
        })
        .try_flatten()
        .try_filter(move |chunk| std::future::ready(chunk.number > number))
        .boxed()
    }
}

impl Frame {
    const fn end(&self) -> u64 {
        self.offset + self.size
    }
}

/// Goes through the frames from one on.
struct Cursor {
    log: SealedLog,
    next: usize,
    /// The piece of the blob that was read last, and where it begins: small frames share one.
    window: (u64, Vec<u8>),
}

impl Cursor {
    const fn new(log: SealedLog, next: usize) -> Self {
        Self { log, next, window: (0, Vec::new()) }
    }

    fn next_frame(&mut self) -> Option<Frame> {
        let frame = self.log.index.frames.get(self.next).cloned();
        self.next += 1;
        frame
    }

    /// A frame's bytes of the log.
    async fn content(&mut self, frame: &Frame) -> Result<Vec<u8>, SealedLogError> {
        let length = usize::try_from(frame.bytes).unwrap_or(usize::MAX);
        let packed = self.slice(frame.offset, frame.end()).await?;
        let content = unpack(packed, length.min(TABLE_BYTES)).filter(|content| content.len() == length);
        content.ok_or_else(|| damaged(&self.log.blob, "a frame is not what the index says"))
    }

    /// A frame's chunks.
    async fn chunks(&mut self, frame: &Frame) -> Result<VecDeque<Chunk>, SealedLogError> {
        let content = self.content(frame).await?;
        let table = self.slice(frame.end() + SKIPPABLE_HEADER as u64, frame.end() + frame.table).await?;
        let table: Option<Vec<Entry>> =
            unpack(table, TABLE_BYTES).and_then(|json| serde_json::from_slice(&json).ok());
        let table = table.ok_or_else(|| damaged(&self.log.blob, "a chunk table cannot be read"))?;
        let mut rest = &content[..];
        let mut chunks = VecDeque::with_capacity(table.len());
        for entry in &table {
            let split = rest.split_at_checked(usize::try_from(entry.5).unwrap_or(usize::MAX));
            let (bytes, behind) =
                split.ok_or_else(|| damaged(&self.log.blob, "a chunk table is not its frame's"))?;
            chunks.push_back(entry.chunk(bytes.to_vec()));
            rest = behind;
        }
        Ok(chunks)
    }

    /// A part of the blob.
    async fn slice(&mut self, from: u64, to: u64) -> Result<&[u8], SealedLogError> {
        let (start, piece) = &self.window;
        if from < *start || to > start + piece.len() as u64 {
            let until = to.max(from + CHUNK_BYTES as u64).min(self.log.blob.size);
            self.window = (from, self.log.broker.read_blob_range(&self.log.blob, from..until).await?);
        }
        let (start, piece) = &self.window;
        let position = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
        piece
            .get(position(from)..position(to))
            .ok_or_else(|| damaged(&self.log.blob, "it is shorter than it says"))
    }
}

/// How many bytes to skip until `feeds` line feeds have gone by; counts them down.
fn skip_lines(content: &[u8], feeds: &mut u64) -> usize {
    if *feeds == 0 {
        return 0;
    }
    for (position, byte) in content.iter().enumerate() {
        if *byte == b'\n' {
            *feeds -= 1;
            if *feeds == 0 {
                return position + 1;
            }
        }
    }
    content.len()
}

/// The length of the index's frame, from the trailer.
fn index_length(end: &[u8]) -> Option<u64> {
    let (length, mark) = end.last_chunk::<TRAILER_BYTES>()?.split_first_chunk::<8>()?;
    let length = u64::from_le_bytes(*length);
    let smallest = (SKIPPABLE_HEADER + TRAILER_BYTES) as u64;
    (mark == TRAILER_MARK && length >= smallest).then_some(length)
}

fn unpack(packed: &[u8], limit: usize) -> Option<Vec<u8>> {
    let claimed = zstd::bulk::Decompressor::upper_bound(packed).unwrap_or(limit);
    zstd::bulk::decompress(packed, claimed.min(limit)).ok()
}

fn damaged(blob: &BlobRef, what: &str) -> SealedLogError {
    SealedLogError::Damaged { blob: blob.sha256.clone(), what: what.to_owned() }
}
