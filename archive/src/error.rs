//! Why an archive is not made or not taken.
//!
//! Owns the border between what the archive's sender can mend and what the disk does. A reader of tar or zstd says with the
//! same type that the bytes are wrong and that they cannot be read: only the second comes from the system.

use std::io;
use std::path::{Path, PathBuf};

use events::Rejection;
use events::rejection::Code;

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive, or what would be packed, is not to be had like this.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// A file of the folder cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The archive itself cannot be read or written.
    #[error("the archive cannot be read or written")]
    Archive(#[source] io::Error),
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::File { path: path.to_owned(), source }
    }

    /// What a reader of the archive's bytes says.
    pub(crate) fn reading(error: io::Error) -> Self {
        if let Some(rejection) = error.get_ref().and_then(|inner| inner.downcast_ref::<Rejection>()) {
            return Self::Refused(rejection.clone());
        }
        if error.raw_os_error().is_some() {
            return Self::Archive(error);
        }
        Self::invalid(format!("the bytes are no tar archive compressed by zstd: {error}"))
    }

    /// What a writer of the archive's bytes says.
    pub(crate) fn writing(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Rejection>()) {
            Some(rejection) => Self::Refused(rejection.clone()),
            None => Self::Archive(error),
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        let hint = "`patchwave run` makes archives that are taken; so does `tar --sort=name --format=gnu`, compressed by `zstd`, \
                    over paths without `./` before them.";
        Self::Refused(Rejection::new(Code::InvalidFiles, message, hint))
    }
}
