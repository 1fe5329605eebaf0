//! The file of an import: what is in it, as a plain archive that can be read twice.
//!
//! Owns the undoing of compression, and the difference between images that were saved and a root filesystem.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{Stage, refused};

/// The most bytes of a list of images that are read.
const LIST_BYTES: u64 = 16 * 1024 * 1024;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A plain archive, to be read from its begin.
pub(super) struct Archive {
    pub(super) file: File,
    pub(super) bytes: u64,
    pub(super) layout: Layout,
}

/// What an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// So many images, as `docker save` writes them.
    Saved { images: usize },
    /// The files of one image.
    Root,
}

/// An image in the list of an archive that `docker save` wrote.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[expect(dead_code, reason = "it has to be there, or this is no such list")]
    config: String,
    #[expect(dead_code, reason = "it has to be there, or this is no such list")]
    layers: Vec<String>,
}

/// Opens a file, or takes the standard input.
pub(super) fn open(path: Option<&Path>, progress: &dyn Fn(Stage, u64, Option<u64>)) -> Result<Archive> {
    let shown = path.map_or_else(|| "the standard input".into(), Path::to_string_lossy);
    let mut file = match path {
        Some(path) => plain(File::open(path).map_err(|error| unreadable(&shown, &error))?, progress),
        None => copy(BufReader::new(io::stdin()), None, progress),
    }
    .with_context(|| format!("cannot read {shown}"))?;
    let layout = layout(&mut file, &shown)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok(Archive { file, bytes, layout })
}

fn unreadable(shown: &str, error: &io::Error) -> anyhow::Error {
    refused(
        format!("{shown} cannot be read: {error}"),
        "Name a file that is there, or `-` for the standard input.",
    )
}

/// The file itself if nothing has to be undone and it can be read twice.
fn plain(mut file: File, progress: &dyn Fn(Stage, u64, Option<u64>)) -> io::Result<File> {
    let about = file.metadata()?;
    if !about.is_file() {
        return copy(BufReader::new(file), None, progress);
    }
    let mut magic = Vec::new();
    (&file).take(4).read_to_end(&mut magic)?;
    file.rewind()?;
    if magic.starts_with(GZIP) || magic.starts_with(ZSTD) {
        return copy(BufReader::new(file), Some(about.len()), progress);
    }
    Ok(file)
}

/// Counts what is read.
struct Counted<'p, R> {
    from: R,
    done: u64,
    all: Option<u64>,
    progress: &'p dyn Fn(Stage, u64, Option<u64>),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.done += read as u64;
        (self.progress)(Stage::Reading, self.done, self.all);
        Ok(read)
    }
}

/// Writes what comes, without its compression, into a file that nobody else sees and that goes away by itself.
fn copy(from: impl Read, all: Option<u64>, progress: &dyn Fn(Stage, u64, Option<u64>)) -> io::Result<File> {
    let mut from = BufReader::with_capacity(super::READ_BYTES, Counted { from, done: 0, all, progress });
    let mut to = tempfile::tempfile()?;
    let start = from.fill_buf()?;
    if start.starts_with(GZIP) {
        io::copy(&mut flate2::bufread::MultiGzDecoder::new(from), &mut to)?;
    } else if start.starts_with(ZSTD) {
        io::copy(&mut zstd::Decoder::with_buffer(from)?, &mut to)?;
    } else {
        io::copy(&mut from, &mut to)?;
    }
    to.flush()?;
    to.rewind()?;
    Ok(to)
}

/// Looks at every entry of an archive.
fn layout(file: &mut File, shown: &str) -> Result<Layout> {
    let none = |why: &str| {
        refused(
            format!("{shown} is no archive of an image: {why}"),
            "Give what `docker save` writes, or a tar archive of a root filesystem; both may be compressed with gzip or zstd.",
        )
    };
    let mut archive = tar::Archive::new(file);
    let entries = archive.entries_with_seek().map_err(|error| none(&error.to_string()))?;
    let (mut is_empty, mut is_oci) = (true, false);
    for entry in entries {
        let mut entry = entry.map_err(|error| none(&error.to_string()))?;
        is_empty = false;
        let path = entry.path().map_err(|error| none(&error.to_string()))?;
        let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        is_oci |= path == Path::new("oci-layout");
        if path == Path::new("manifest.json") && entry.size() <= LIST_BYTES {
            let mut text = Vec::new();
            entry.read_to_end(&mut text)?;
            if let Ok(images) = serde_json::from_slice::<Vec<Listed>>(&text) {
                return Ok(Layout::Saved { images: images.len() });
            }
        }
    }
    match (is_empty, is_oci) {
        (true, _) => Err(none("there is nothing in it")),
        (_, true) => Err(refused(
            format!("{shown} is an archive in the OCI layout, which not every engine reads"),
            "Write it in the one of `docker save`: `skopeo copy oci-archive:FILE docker-archive:NEW:NAME:TAG`.",
        )),
        _ => Ok(Layout::Root),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::super::Refused;
    use super::*;

    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn opened(bytes: &[u8]) -> Result<Archive> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        open(Some(file.path()), &|_, _, _| ())
    }

    fn hint(bytes: &[u8]) -> String {
        opened(bytes).err().unwrap().downcast::<Refused>().unwrap().hint
    }

    const LIST: &str = r#"[{"Config":"a.json","RepoTags":null,"Layers":["a"]},{"Config":"b","Layers":[]}]"#;

    #[test]
    fn saved_images_and_a_root_are_told_apart() {
        let saved = opened(&tar(&[("a.json", "{}"), ("manifest.json", LIST)])).unwrap();
        assert_eq!(saved.layout, Layout::Saved { images: 2 });
        for files in [[("bin/sh", "x"), ("etc/a", "")], [("bin/sh", "x"), ("manifest.json", "{}")]] {
            assert_eq!(opened(&tar(&files)).unwrap().layout, Layout::Root);
        }
        assert!(hint(&tar(&[("oci-layout", "{}"), ("index.json", "{}")])).contains("skopeo"));
        for none in
            [&b"no archive at all, however long it is, because there is no header in it"[..], &[0; 2048], b""]
        {
            assert!(hint(none).contains("docker save"));
        }
    }

    #[test]
    fn compression_is_undone() {
        let plain = tar(&[("bin/sh", "x")]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for bytes in [plain.clone(), gzip.finish().unwrap(), zstd] {
            let mut archive = opened(&bytes).unwrap();
            let mut read = Vec::new();
            archive.file.read_to_end(&mut read).unwrap();
            assert!(read == plain && archive.bytes == plain.len() as u64);
        }
    }
}
