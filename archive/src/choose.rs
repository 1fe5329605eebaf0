//! Choosing what to pack: the mounted files and folders, without what is ignored.
//!
//! Owns the walk over the user's folder. Only what a mount names is looked at, so that what lies beside it is neither sent
//! nor makes a new revision. Rules for what to ignore come from `.gitignore` and `.batchignore` alone, never from the
//! machine's own settings, so that the same folder gives the same choice everywhere.

use std::collections::BTreeMap;
use std::fs::{FileType, Metadata};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use ignore::{DirEntry, WalkBuilder};

use crate::error::Error;
use crate::limits::{Limits, shown};
use crate::path::{self, EntryPath};

/// Like `.gitignore`, for what git keeps and no step needs.
const IGNORE_FILE: &str = ".batchignore";

/// What is packed.
pub struct Choice {
    pub(crate) folder: PathBuf,
    pub(crate) entries: BTreeMap<EntryPath, Chosen>,
    refusals: BTreeMap<PathBuf, Refusal>,
    left_out: Vec<LeftOut>,
    files: u64,
    bytes: u64,
}

/// An entry of a choice.
pub(crate) enum Chosen {
    Folder,
    File,
    Link(PathBuf),
}

/// Why a mounted path cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// Something in a mounted folder that cannot be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its path in the folder, for people.
    pub path: String,
    /// What it is.
    pub why: &'static str,
}

impl Choice {
    /// Chooses what is at these paths in a folder; an empty path is the whole folder.
    ///
    /// # Errors
    /// When the folder cannot be read, holds a link that leads out of it, or is too much.
    pub fn of(folder: &Path, wanted: &[&Path], limits: &Limits) -> Result<Self, Error> {
        let mut choice = Self {
            folder: folder.to_owned(),
            entries: BTreeMap::new(),
            refusals: BTreeMap::new(),
            left_out: Vec::new(),
            files: 0,
            bytes: 0,
        };
        let mut there = Vec::new();
        for path in wanted {
            match look(folder, path) {
                None => there.push(path.to_path_buf()),
                Some(refusal) => drop(choice.refusals.insert(path.to_path_buf(), refusal)),
            }
        }
        if !there.is_empty() {
            choice.walk(&there, limits)?;
            for path in there {
                let name = EntryPath::parse(path.as_os_str().as_bytes());
                let found = name.is_ok_and(|name| choice.entries.contains_key(&name));
                if !found && path != Path::new("") {
                    choice.refusals.insert(path.clone(), ignored(&path));
                }
            }
        }
        Ok(choice)
    }

    /// Why a wanted path is not in it, if it is not.
    pub fn refusal(&self, path: &Path) -> Option<&Refusal> {
        self.refusals.get(path)
    }

    /// What is in a mounted folder and cannot be packed, in the order of the paths.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// How many files and links there are.
    pub fn files(&self) -> u64 {
        self.files
    }

    /// How many bytes the files have, for people.
    pub fn size(&self) -> String {
        shown(self.bytes)
    }

    fn walk(&mut self, wanted: &[PathBuf], limits: &Limits) -> Result<(), Error> {
        let (folder, roots) = (self.folder.clone(), wanted.to_vec());
        let on_the_way = move |entry: &DirEntry| {
            let path = entry.path().strip_prefix(&folder).unwrap_or(Path::new(""));
            entry.file_name() != ".git"
                && roots.iter().any(|root| path.starts_with(root) || root.starts_with(path))
        };
        // Git looks up to the root of the repository; outside of one, nothing above the folder says anything.
        let in_repository = self.folder.ancestors().any(|above| above.join(".git").exists());
        let walk = WalkBuilder::new(&self.folder)
            .standard_filters(false)
            .git_ignore(true)
            .require_git(in_repository)
            .add_custom_ignore_filename(IGNORE_FILE)
            .parents(in_repository)
            .sort_by_file_name(std::cmp::Ord::cmp)
            .filter_entry(on_the_way)
            .build();
        for entry in walk {
            let entry = entry.map_err(|error| unreadable(&self.folder, error))?;
            if entry.depth() > 0 {
                self.add(&entry, wanted, limits)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: &DirEntry, wanted: &[PathBuf], limits: &Limits) -> Result<(), Error> {
        let full = entry.path();
        let relative = full.strip_prefix(&self.folder).unwrap_or(full);
        let bytes = relative.as_os_str().as_bytes();
        let refuse = |why: &str| Error::invalid(format!("`{}` cannot be packed: {why}", path::shown(bytes)));
        let name = EntryPath::parse(bytes).map_err(refuse)?;
        let meta = entry.metadata().map_err(|error| unreadable(full, error))?;
        let chosen = match Sort::of(&meta.file_type()) {
            Sort::Folder => Chosen::Folder,
            // A file on the way to a mounted path is none: the path was looked at.
            _ if !wanted.iter().any(|root| relative.starts_with(root)) => return Ok(()),
            Sort::File => Chosen::File,
            Sort::Link => {
                let target = std::fs::read_link(full).map_err(Error::file(full))?;
                if let Some(problem) = path::link_problem(&name, target.as_os_str().as_bytes()) {
                    let target = path::shown(target.as_os_str().as_bytes());
                    return Err(refuse(&format!("it is {problem} (`{target}`)")));
                }
                Chosen::Link(target)
            }
            Sort::Other(why) => {
                self.left_out.push(LeftOut { path: name.shown(), why });
                return Ok(());
            }
        };
        self.count(&chosen, &meta, limits)?;
        self.entries.insert(name, chosen);
        Ok(())
    }

    fn count(&mut self, chosen: &Chosen, meta: &Metadata, limits: &Limits) -> Result<(), Error> {
        if self.entries.len() as u64 >= limits.entries {
            return Err(limits.too_many_entries().into());
        }
        match chosen {
            Chosen::Folder => {}
            Chosen::File => {
                (self.files, self.bytes) = (self.files + 1, self.bytes.saturating_add(meta.len()))
            }
            Chosen::Link(_) => self.files += 1,
        }
        if self.bytes > limits.unpacked_bytes {
            return Err(Limits::too_many_bytes(limits.unpacked_bytes, false).into());
        }
        Ok(())
    }
}

/// What something in a folder is.
enum Sort {
    Folder,
    File,
    Link,
    Other(&'static str),
}

impl Sort {
    fn of(file_type: &FileType) -> Self {
        match file_type {
            _ if file_type.is_dir() => Self::Folder,
            _ if file_type.is_file() => Self::File,
            _ if file_type.is_symlink() => Self::Link,
            _ if file_type.is_socket() => Self::Other("a socket"),
            _ if file_type.is_fifo() => Self::Other("a pipe"),
            _ => Self::Other("a device"),
        }
    }
}

/// Why a path cannot be mounted as it stands in the folder, if it cannot. A link is not followed: what it leads to has a
/// name of its own, and an engine that mounts a link follows it by rules of its own.
fn look(folder: &Path, wanted: &Path) -> Option<Refusal> {
    let named = |path: &Path| path::shown(path.as_os_str().as_bytes());
    let refusal = |message: String, hint: &str| Some(Refusal { message, hint: hint.to_owned() });
    let mut path = PathBuf::new();
    for name in wanted {
        path.push(name);
        let full = folder.join(&path);
        let sort = match full.symlink_metadata() {
            Ok(meta) => Sort::of(&meta.file_type()),
            Err(error) => {
                let message = format!("`{}` cannot be mounted: {error}", named(wanted));
                return refusal(message, "paths are relative to the folder of this file");
            }
        };
        match sort {
            Sort::Folder => {}
            Sort::File if path == wanted => {}
            Sort::File => {
                let message = format!("`{}` cannot be mounted: `{}` is a file", named(wanted), named(&path));
                return refusal(message, "paths are relative to the folder of this file");
            }
            Sort::Link => {
                let message = format!("`{}` cannot be mounted: `{}` is a link", named(wanted), named(&path));
                return refusal(message, "name the file or folder itself that it leads to");
            }
            Sort::Other(what) => {
                return refusal(
                    format!("`{}` is {what}", named(&path)),
                    "only files and folders can be mounted",
                );
            }
        }
    }
    None
}

fn ignored(path: &Path) -> Refusal {
    let message =
        format!("`{}` cannot be mounted: it is ignored by .gitignore or .batchignore", path.display());
    let hint = "take it out of there, or add a line to .batchignore that begins with `!`";
    Refusal { message, hint: hint.to_owned() }
}

fn unreadable(path: &Path, error: ignore::Error) -> Error {
    let named = match &error {
        ignore::Error::WithPath { path, .. } => path.clone(),
        _ => path.to_owned(),
    };
    let source = std::io::Error::other(error);
    Error::File { path: named, source }
}
