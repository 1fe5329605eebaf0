//! A plan's patches as one archive: tar, packed by gzip.
//!
//! Owns its bytes: one folder, a file for each patch in the plan's order, and no times and no owners, so that the same plan
//! is the same bytes whenever it is asked for. Holds one part of one patch at a time, however many there are.

use std::io::{self, Write as _};
use std::pin::pin;

use async_stream::try_stream;
use axum::body::Bytes;
use broker::Broker;
use events::blob::BlobRef;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use futures::stream::{Stream, StreamExt as _};
use tar::{Builder, EntryType, Header};

use super::blob;
use crate::fault::Fault;

/// How much goes out at once.
const PART_BYTES: usize = 64 * 1024;

/// What tar counts in.
const BLOCK_BYTES: u64 = 512;

/// The archive of these files, each of a name and its bytes.
pub(crate) fn read(
    broker: Broker,
    folder: String,
    files: Vec<(String, BlobRef)>,
) -> impl Stream<Item = Result<Bytes, Fault>> + Send + 'static {
    try_stream! {
        let mut packer = Packer::new(&folder)?;
        for (name, patch) in files {
            packer.begin(&format!("{folder}/{name}"), patch.size)?;
            let bytes = blob::read(&broker, patch).await?;
            let mut bytes = pin!(bytes);
            while let Some(part) = bytes.next().await {
                packer.write(&part?)?;
                if let Some(packed) = packer.take() {
                    yield packed;
                }
            }
            packer.end()?;
        }
        yield packer.finish()?;
    }
}

/// Writes an archive into memory that is emptied again and again.
struct Packer {
    tar: Builder<GzEncoder<Vec<u8>>>,
    /// How much of the file was written.
    written: u64,
}

impl Packer {
    /// Begins with a folder.
    fn new(folder: &str) -> Result<Self, Fault> {
        // Neither a name nor a time: only what is in it.
        let packed = GzBuilder::new().write(Vec::new(), Compression::default());
        let mut packer = Self { tar: Builder::new(packed), written: 0 };
        packer.head(EntryType::Directory, 0o755, &format!("{folder}/"), 0)?;
        Ok(packer)
    }

    /// Begins a file of so many bytes.
    fn begin(&mut self, path: &str, size: u64) -> Result<(), Fault> {
        self.written = 0;
        self.head(EntryType::Regular, 0o644, path, size)
    }

    fn head(&mut self, kind: EntryType, mode: u32, path: &str, size: u64) -> Result<(), Fault> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        // The library writes the header; the content follows as it comes.
        self.tar.append_data(&mut header, path, io::empty()).map_err(Fault::ours)
    }

    fn write(&mut self, part: &[u8]) -> Result<(), Fault> {
        self.written += part.len() as u64;
        self.tar.get_mut().write_all(part).map_err(Fault::ours)
    }

    /// Ends a file.
    fn end(&mut self) -> Result<(), Fault> {
        let missing = self.written.next_multiple_of(BLOCK_BYTES) - self.written;
        let padding = vec![0; usize::try_from(missing).unwrap_or_default()];
        self.tar.get_mut().write_all(&padding).map_err(Fault::ours)
    }

    /// What is packed so far, if it is worth sending.
    fn take(&mut self) -> Option<Bytes> {
        let packed = self.tar.get_mut().get_mut();
        (packed.len() >= PART_BYTES).then(|| std::mem::take(packed).into())
    }

    fn finish(self) -> Result<Bytes, Fault> {
        let packed = self.tar.into_inner().and_then(GzEncoder::finish);
        packed.map(Bytes::from).map_err(Fault::ours)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::io::Read as _;

    use super::*;

    /// An archive whose files come in parts of so many bytes.
    fn packed(files: &[(String, Vec<u8>)], part: usize) -> Vec<u8> {
        let (mut packer, mut bytes) = (Packer::new("plan").unwrap(), Vec::new());
        for (name, content) in files {
            packer.begin(&format!("plan/{name}"), content.len() as u64).unwrap();
            for part in content.chunks(part) {
                packer.write(part).unwrap();
                bytes.extend(packer.take().unwrap_or_default());
            }
            packer.end().unwrap();
        }
        bytes.extend(packer.finish().unwrap());
        bytes
    }

    #[test]
    fn an_archive_is_the_same_however_its_parts_came() {
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .take(300_001)
        .collect();
        let files = [
            ("empty.patch".to_owned(), Vec::new()),
            ("x".repeat(170), b"diff\n".repeat(40_000)),
            ("block.patch".to_owned(), vec![7; 512]),
            ("noise.patch".to_owned(), noise),
        ];
        let bytes = packed(&files, usize::MAX);
        assert_eq!(&bytes[4..8], [0; 4], "no time");
        for part in [1, 1_000, 65_536] {
            assert!(packed(&files, part) == bytes, "in parts of {part}");
        }
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&bytes[..]));
        let mut entries = tar.entries().unwrap();
        let folder = entries.next().unwrap().unwrap();
        assert_eq!((folder.path_bytes().as_ref(), folder.header().mtime().unwrap()), (&b"plan/"[..], 0));
        for (name, content) in &files {
            let mut entry = entries.next().unwrap().unwrap();
            assert_eq!(entry.path().unwrap().to_str(), Some(format!("plan/{name}").as_str()));
            let mut read = Vec::new();
            entry.read_to_end(&mut read).unwrap();
            assert!(read == *content, "{name}");
        }
        assert!(entries.next().is_none());
    }
}
