//! Secrets in a patch: whoever can read the repository could read them there.
//!
//! Owns the search, in names, links and contents of the files that a patch changes and in the patch itself: git encodes what
//! is binary. Never opens a file through a link. Invariant: no message holds a value.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::OFlags;

use super::Error;
use crate::mask::Masker;

/// How much of a file is read at once.
const PIECE: usize = 64 * 1024;

/// How each file of a patch begins. No line of a change does.
const HEADER: &[u8] = b"diff --git ";

/// Looks for secrets in the changed files of a tree and in the patch that was made of them.
pub(super) async fn refuse(
    files: PathBuf,
    paths: Vec<PathBuf>,
    patch: Vec<u8>,
    masker: Masker,
) -> Result<Vec<u8>, Error> {
    let search = tokio::task::spawn_blocking(move || {
        for path in &paths {
            if let Some(name) = in_file(&files, path, &masker)? {
                return Err(found(name, &path.to_string_lossy(), &masker));
            }
        }
        if let Some((name, path)) = in_patch(&patch, &masker) {
            return Err(found(name, &path, &masker));
        }
        Ok(patch)
    });
    search.await.context("the search for secrets ended early")?
}

/// Says where a secret is, in words that do not hold it: the name of a file may be one.
fn found(name: &str, path: &str, masker: &Masker) -> Error {
    Error::Secret { name: name.to_owned(), path: masker.text(path).escape_debug().to_string() }
}

fn in_file<'m>(files: &Path, path: &Path, masker: &'m Masker) -> Result<Option<&'m str>> {
    let search = |bytes: &[u8]| masker.finder().and_then(|mut finder| finder.next(bytes));
    if let Some(name) = search(path.as_os_str().as_bytes()) {
        return Ok(Some(name));
    }
    let file = files.join(path);
    let cannot = || format!("{} cannot be searched for secrets", path.display());
    let meta = match std::fs::symlink_metadata(&file) {
        Ok(meta) => meta,
        // It was deleted, perhaps with its folder.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error).with_context(cannot),
    };
    if meta.is_symlink() {
        let target = std::fs::read_link(&file).with_context(cannot)?;
        return Ok(search(target.as_os_str().as_bytes()));
    }
    let Some(mut finder) = masker.finder().filter(|_| meta.is_file()) else { return Ok(None) };
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(&file).with_context(cannot)?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece).with_context(cannot)? {
            0 => return Ok(None),
            length => {
                if let Some(name) = finder.next(&piece[..length]) {
                    return Ok(Some(name));
                }
            }
        }
    }
}

/// What is only in the patch: lines that go, and those around a change.
fn in_patch<'m>(patch: &[u8], masker: &'m Masker) -> Option<(&'m str, String)> {
    let mut finder = masker.finder()?;
    let mut header: &[u8] = b"";
    for line in patch.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(HEADER) {
            header = &line[HEADER.len()..];
        }
        if let Some(name) = finder.next(line) {
            let header = String::from_utf8_lossy(header).trim_end().to_owned();
            let path = header.rsplit_once(" b/").map_or(header.clone(), |(_, path)| path.to_owned());
            return Some((name, path));
        }
    }
    None
}
