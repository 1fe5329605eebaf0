//! Packing a choice.
//!
//! Owns the bytes: the same choice of the same content gives the same ones.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use events::Rejection;
use events::blob::{BlobKind, BlobRef, Sha256};
use events::rejection::Code;
use sha2::Digest as _;
use tar::{Builder, EntryType, Header};
use zstd::stream::write::Encoder;

use crate::choose::{Choice, Chosen};
use crate::error::Error;
use crate::limits::{Limits, shown};

/// How hard to compress. Changing it changes the name of every archive.
const LEVEL: i32 = 3;

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// Its name and length.
    pub blob: BlobRef,
    /// How many files and links are in it.
    pub files: u64,
    /// Its length, for people.
    pub size: String,
}

impl Choice {
    /// Writes the archive.
    ///
    /// # Errors
    /// When a file cannot be read or changes meanwhile, the archive becomes too large or cannot be written.
    pub fn pack(&self, limits: &Limits, to: impl Write) -> Result<Packed, Error> {
        let hashed = Hashed { to, hasher: sha2::Sha256::new(), size: 0, limit: limits.packed_bytes };
        let encoder = Encoder::new(hashed, LEVEL).map_err(Error::writing)?;
        let mut builder = Builder::new(encoder);
        for (name, chosen) in &self.entries {
            let (path, full) = (name.to_path(), self.folder.join(name.to_path()));
            match chosen {
                Chosen::Folder => {
                    let mut header = header(EntryType::Directory, 0o755, 0);
                    builder.append_data(&mut header, &path, io::empty()).map_err(Error::writing)?;
                }
                Chosen::Link(target) => {
                    let mut header = header(EntryType::Symlink, 0o777, 0);
                    builder.append_link(&mut header, &path, target).map_err(Error::writing)?;
                }
                Chosen::File => append_file(&mut builder, &path, &full)?,
            }
        }
        let encoder = builder.into_inner().map_err(Error::writing)?;
        let mut hashed = encoder.finish().map_err(Error::writing)?;
        hashed.flush().map_err(Error::writing)?;
        let sha256 = Sha256::from_bytes(&hashed.hasher.finalize().into());
        let blob = BlobRef { kind: BlobKind::Files, sha256, size: hashed.size };
        Ok(Packed { size: shown(blob.size), blob, files: self.files() })
    }
}

fn header(entry_type: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type);
    header.set_mode(mode);
    header.set_size(size);
    header
}

fn append_file(builder: &mut Builder<impl Write>, path: &Path, full: &Path) -> Result<(), Error> {
    let file = open(full).map_err(Error::file(full))?;
    let meta = file.metadata().map_err(Error::file(full))?;
    if !meta.is_file() {
        return Err(changed(path).into());
    }
    let mode = if meta.mode() & 0o111 == 0 { 0o644 } else { 0o755 };
    let size = meta.len();
    let mut content = Exactly { file, left: size, failed: None };
    let mut header = header(EntryType::Regular, mode, size);
    let appended = builder.append_data(&mut header, path, &mut content);
    if let Some(error) = content.failed {
        return Err(Error::file(full)(error));
    }
    appended.map_err(Error::writing)?;
    if content.left == 0 { Ok(()) } else { Err(changed(path).into()) }
}

/// Opens what was a plain file a moment ago, without following a link and without waiting for a pipe.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn changed(path: &Path) -> Rejection {
    let message = format!("`{}` changed while it was packed", path.display());
    Rejection::new(Code::InvalidFiles, message, "Try again when nothing writes there.")
}

/// As much of a file as was said before.
struct Exactly {
    file: File,
    left: u64,
    failed: Option<io::Error>,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match (&mut self.file).take(self.left).read(buffer) {
            Ok(read) => {
                self.left -= read as u64;
                Ok(read)
            }
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// What goes by, with its digest and its length.
struct Hashed<W> {
    to: W,
    hasher: sha2::Sha256,
    size: u64,
    limit: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        if self.size > self.limit {
            return Err(io::Error::other(Limits::too_many_bytes(self.limit, true)));
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
