//! The spool: an attempt's whole log in one file, written before anything of it is sent.
//!
//! Owns the file's format: how far the broker has the log, and then one record a chunk, a fixed head and the bytes. There is
//! no file before the first chunk. It is not synced: a crash of the process loses nothing that was written, and a power
//! failure loses only attempts that it ends anyway. Invariant: a record that was appended reads back whole; a torn one at
//! the end is as if it had never been.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use events::Timestamp;
use events::log::{CHUNK_BYTES, Chunk, Stream};

use super::chunker::Tally;

/// Number, first line, time in milliseconds, step, length, stream; little-endian.
const HEAD_BYTES: usize = 8 + 8 + 8 + 4 + 4 + 1;

/// How many bytes before the first record say how far the broker has the log: chunks and offset, little-endian.
const NOTE_BYTES: usize = 8 + 8;

/// A place between two records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// How many chunks are before it.
    pub(super) chunks: u64,
    /// How many bytes of the file are before it.
    pub(super) offset: u64,
}

impl Place {
    /// Before the first record.
    pub(super) const START: Self = Self { chunks: 0, offset: NOTE_BYTES as u64 };
}

/// The end that is written to.
#[derive(Debug)]
pub(super) struct Spool {
    path: PathBuf,
    /// None before the first chunk.
    file: Option<File>,
    end: Place,
    record: Vec<u8>,
}

impl Spool {
    /// Opens the spool behind its last whole record, and says what is in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Tally)> {
        let mut tally = Tally::default();
        let mut end = Place::START;
        let file = match File::options().read(true).write(true).open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(file) = &file {
            while let Some((chunk, next)) = read(file, end)? {
                tally.add(&chunk);
                end = next;
            }
            file.set_len(end.offset)?;
        }
        Ok((Self { path: path.to_owned(), file, end, record: Vec::new() }, tally))
    }

    /// Appends a chunk. After an error the spool ends before it.
    pub(super) fn append(&mut self, chunk: &Chunk) -> io::Result<Place> {
        self.record.clear();
        encode(chunk, &mut self.record);
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::create_new(&self.path)?),
        };
        if let Err(error) = file.write_all_at(&self.record, self.end.offset) {
            file.set_len(self.end.offset)?;
            return Err(error);
        }
        self.end = Place { chunks: chunk.number, offset: self.end.offset + self.record.len() as u64 };
        Ok(self.end)
    }

    /// Behind the last record.
    pub(super) const fn end(&self) -> Place {
        self.end
    }
}

/// Notes how far the broker has the log, for the next process. A note that is behind costs chunks that are sent twice.
pub(super) fn note_stored(file: &File, stored: Place) -> io::Result<()> {
    file.write_all_at(&[stored.chunks, stored.offset].map(u64::to_le_bytes).concat(), 0)
}

/// How far the broker has the log, as the last process noted.
pub(super) fn stored(file: &File) -> io::Result<Place> {
    let (mut chunks, mut offset) = ([0; 8], [0; 8]);
    if !fill(file, &mut chunks, 0)? || !fill(file, &mut offset, 8)? {
        return Ok(Place::START);
    }
    let (chunks, offset) = (u64::from_le_bytes(chunks), u64::from_le_bytes(offset));
    Ok(if chunks == 0 { Place::START } else { Place { chunks, offset } })
}

/// Reads the record at a place, and says where the next one is; none at the end, and where a record is torn.
pub(super) fn read(file: &File, at: Place) -> io::Result<Option<(Chunk, Place)>> {
    let mut head = [0; HEAD_BYTES];
    if !fill(file, &mut head, at.offset)? {
        return Ok(None);
    }
    let Some((mut chunk, length)) = decode(&head) else { return Ok(None) };
    if chunk.number != at.chunks + 1 {
        return Ok(None);
    }
    chunk.bytes.resize(length, 0);
    if !fill(file, &mut chunk.bytes, at.offset + HEAD_BYTES as u64)? {
        return Ok(None);
    }
    let next = Place { chunks: chunk.number, offset: at.offset + (HEAD_BYTES + length) as u64 };
    Ok(Some((chunk, next)))
}

fn fill(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn encode(chunk: &Chunk, record: &mut Vec<u8>) {
    record.extend_from_slice(&chunk.number.to_le_bytes());
    record.extend_from_slice(&chunk.first_line.to_le_bytes());
    record.extend_from_slice(&chunk.time.timestamp_millis().to_le_bytes());
    record.extend_from_slice(&chunk.step.to_le_bytes());
    record.extend_from_slice(&(chunk.bytes.len() as u32).to_le_bytes());
    record.push(match chunk.stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
        Stream::Runner => 3,
    });
    record.extend_from_slice(&chunk.bytes);
}

/// Reads a head: the chunk without its bytes, and how many there are.
fn decode(head: &[u8; HEAD_BYTES]) -> Option<(Chunk, usize)> {
    let (number, rest) = head.split_first_chunk()?;
    let (first_line, rest) = rest.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (step, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let stream = match rest {
        [1] => Stream::Stdout,
        [2] => Stream::Stderr,
        [3] => Stream::Runner,
        _ => return None,
    };
    let length = u32::from_le_bytes(*length) as usize;
    let chunk = Chunk {
        number: u64::from_le_bytes(*number),
        first_line: u64::from_le_bytes(*first_line),
        step: u32::from_le_bytes(*step),
        stream,
        time: Timestamp::from_timestamp_millis(i64::from_le_bytes(*time))?,
        bytes: Vec::new(),
    };
    (1..=CHUNK_BYTES).contains(&length).then_some((chunk, length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use proptest::prelude::*;

    use super::*;

    fn chunk(number: u64, bytes: Vec<u8>) -> Chunk {
        Chunk {
            number,
            first_line: 90_000 + number,
            step: 7,
            stream: Stream::Stderr,
            time: "2026-05-06T07:08:09.123Z".parse().unwrap(),
            bytes,
        }
    }

    fn all(path: &Path) -> Vec<Chunk> {
        let file = File::open(path).unwrap();
        let mut place = Place::START;
        let mut chunks = Vec::new();
        while let Some((chunk, next)) = read(&file, place).unwrap() {
            chunks.push(chunk);
            place = next;
        }
        chunks
    }

    proptest! {
        #[test]
        fn a_cut_anywhere_loses_the_torn_record_and_nothing_else(
            lengths in proptest::collection::vec(1..300usize, 1..8),
            cut: proptest::sample::Index,
            junk: bool,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            let (mut spool, _) = Spool::open(&path).unwrap();
            let mut ends = vec![Place::START.offset];
            let chunks: Vec<Chunk> =
                lengths.iter().zip(1..).map(|(length, number)| chunk(number, vec![b'x'; *length])).collect();
            for chunk in &chunks {
                ends.push(spool.append(chunk).unwrap().offset);
            }
            let size = cut.index(*ends.last().unwrap() as usize + 1) as u64;
            let file = File::options().write(true).open(&path).unwrap();
            note_stored(&file, Place { chunks: 1, offset: ends[1] }).unwrap();
            file.set_len(size).unwrap();
            if junk {
                // What a power failure leaves: the length is there, the bytes are not.
                file.set_len(size + 200).unwrap();
            }
            let whole = ends.iter().filter(|end| **end <= size).count().saturating_sub(1);
            let (mut spool, tally) = Spool::open(&path).unwrap();
            prop_assert_eq!(tally.chunks, spool.end().chunks);
            if !junk {
                prop_assert_eq!(spool.end().chunks, whole as u64);
            }
            let kept = spool.end().chunks;
            let next = chunk(kept + 1, b"next".to_vec());
            spool.append(&next).unwrap();
            let read = all(&path);
            prop_assert_eq!(&read[..whole], &chunks[..whole]);
            prop_assert_eq!(read.last(), Some(&next));
        }
    }
}
