//! Unpacking an archive.
//!
//! Owns what is written: into a new folder, in which nobody else writes. Names never meet a link on their way, because a
//! folder's entry stands before what is in it, and nothing is written over.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use crate::error::Error;
use crate::limits::Limits;
use crate::read::{Contents, Kind, read};

/// Unpacks an archive into a folder that does not exist yet. After an error the folder holds a part.
///
/// # Errors
/// When the archive is not what [`crate`] says, or the files cannot be written.
pub fn unpack(archive: impl Read, limits: &Limits, into: &Path) -> Result<Contents, Error> {
    make_folder(into)?;
    read(archive, limits, |entry, kind, content| {
        let path = into.join(entry.to_path());
        match kind {
            Kind::Folder => make_folder(&path),
            Kind::File { executable, .. } => write(&path, if *executable { 0o755 } else { 0o644 }, content),
            Kind::Link { target } => symlink(target, &path).map_err(Error::file(&path)),
        }
    })
}

fn make_folder(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().mode(0o755).create(path);
    made.and_then(|()| readable(path, 0o755)).map_err(Error::file(path))
}

/// Sets the mode whatever the umask is.
fn readable(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, Permissions::from_mode(mode))
}

fn write(path: &Path, mode: u32, content: &mut dyn Read) -> Result<(), Error> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(Error::file(path))?;
    // What cannot be read is the archive's fault, what cannot be written the disk's: the system says which.
    io::copy(content, &mut file).map_err(Error::reading)?;
    file.set_permissions(Permissions::from_mode(mode)).map_err(Error::file(path))
}
