//! Files that nobody but their owner may read.

use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Writes a file that its owner alone may read, in one step.
pub(crate) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    // One that a crash left may have been open to others.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    std::fs::rename(&next, path)
}
