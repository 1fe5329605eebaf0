//! What a job touched: the only paths that a patch has to look at.
//!
//! Owns the reading of an overlay's upper layer, and the comparison of two trees where there is no overlay. Never opens
//! a file of the upper layer and never follows a link. Invariant: a path with a component that names a repository's
//! folder, and a file that git cannot hold, are never returned as changed.

use std::collections::HashSet;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use events::path::names_git_dir;

use super::Error;

/// Paths relative to the root of the tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Touched {
    /// Files that the commit holds and that were written.
    pub(super) changed: Vec<PathBuf>,
    /// Files that the commit does not hold.
    pub(super) created: Vec<PathBuf>,
    /// Files of the commit that are gone.
    pub(super) removed: Vec<PathBuf>,
    pub(super) left_out: Vec<LeftOut>,
}

/// How many paths are given to git as arguments.
const ARGUMENTS: usize = 200;

impl Touched {
    /// Whether there is nothing that a patch could hold.
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.created.is_empty() && self.removed.is_empty()
    }

    /// The paths, if they are few, and each is a file of the commit that is still one.
    pub(super) fn only_known_files(&self, below: &Path) -> Option<Vec<PathBuf>> {
        let is_file =
            |path: &PathBuf| fs::symlink_metadata(below.join(path)).is_ok_and(|meta| !meta.is_dir());
        let few = self.created.is_empty() && self.removed.is_empty() && self.changed.len() <= ARGUMENTS;
        (few && self.changed.iter().all(is_file)).then(|| self.changed.clone())
    }
}

/// Something that a step wrote and that no patch can hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) path: PathBuf,
    pub(crate) why: &'static str,
}

/// Finds what an overlay's upper layer holds over the tree `below`.
pub(super) fn in_layer(upper: &Path, below: &Path) -> Result<Touched, Error> {
    Search::new(upper, below, true).run()
}

/// Finds where a copy differs from the tree `below`.
pub(super) fn in_copy(files: &Path, below: &Path) -> Result<Touched, Error> {
    Search::new(files, below, false).run()
}

struct Search<'a> {
    top: &'a Path,
    below: &'a Path,
    /// Whether `top` holds only differences, with deletions marked.
    layer: bool,
    /// Folders to look into, and whether none of the tree below shows through there.
    folders: Vec<(PathBuf, bool)>,
    /// Files of the commit in folders that were replaced as a whole. What stays here is gone.
    hidden: HashSet<PathBuf>,
    found: Touched,
}

impl<'a> Search<'a> {
    fn new(top: &'a Path, below: &'a Path, layer: bool) -> Self {
        let folders = vec![(PathBuf::new(), false)];
        Self { top, below, layer, folders, hidden: HashSet::new(), found: Touched::default() }
    }

    fn run(mut self) -> Result<Touched, Error> {
        while let Some((folder, fresh)) = self.folders.pop() {
            self.folder(&folder, fresh).map_err(|(path, error)| explain(&path, error))?;
        }
        self.found.removed.extend(self.hidden);
        Ok(self.found)
    }

    fn folder(&mut self, folder: &Path, fresh: bool) -> Result<(), (PathBuf, io::Error)> {
        let at = |error| (folder.to_owned(), error);
        let mut names = HashSet::new();
        for entry in fs::read_dir(self.top.join(folder)).map_err(at)? {
            let entry = entry.map_err(at)?;
            let path = folder.join(entry.file_name());
            let meta = entry.metadata().map_err(at)?;
            self.entry(path.clone(), &meta, fresh).map_err(|error| (path, error))?;
            names.insert(entry.file_name());
        }
        if !self.layer && !fresh {
            for entry in fs::read_dir(self.below.join(folder)).map_err(at)? {
                let name = entry.map_err(at)?.file_name();
                if !names.contains(&name) && name != ".git" {
                    self.removed(&folder.join(name)).map_err(at)?;
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, meta: &Metadata, fresh: bool) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        if names_git_dir(name.as_bytes()) {
            // A repository of the steps' own is no news; another spelling of its name is.
            if name != ".git" {
                self.left_out(path, "it has a name that some systems read as `.git`");
            }
            return Ok(());
        }
        let kind = meta.file_type();
        let below = if fresh { None } else { lstat(&self.below.join(&path))? };
        if self.layer && kind.is_char_device() && meta.rdev() == 0 {
            return self.removed(&path);
        }
        if kind.is_dir() {
            return self.enter(path, below.as_ref());
        }
        if !kind.is_file() && !kind.is_symlink() {
            self.left_out(path, special(kind));
            return Ok(());
        }
        match below {
            Some(below) if below.is_dir() => {
                let known = is_submodule(&self.below.join(&path))?;
                self.removed(&path)?;
                if known { self.found.changed.push(path) } else { self.found.created.push(path) }
            }
            Some(below)
                if !self.layer && same(&self.top.join(&path), meta, &self.below.join(&path), &below)? => {}
            Some(_) => self.found.changed.push(path),
            None if self.hidden.remove(&path) => self.found.changed.push(path),
            None => self.found.created.push(path),
        }
        Ok(())
    }

    fn enter(&mut self, path: PathBuf, below: Option<&Metadata>) -> io::Result<()> {
        let Some(below) = below else {
            self.folders.push((path, true));
            return Ok(());
        };
        if below.is_dir() && is_submodule(&self.below.join(&path))? {
            // What is inside belongs to another repository.
            return Ok(());
        }
        let replaced = !below.is_dir() || (self.layer && is_opaque(&self.top.join(&path))?);
        if replaced {
            self.hidden.extend(files_below(self.below, &path)?);
        }
        self.folders.push((path, replaced));
        Ok(())
    }

    /// Notes that whatever the commit holds at the path is gone.
    fn removed(&mut self, path: &Path) -> io::Result<()> {
        self.found.removed.extend(files_below(self.below, path)?);
        Ok(())
    }

    fn left_out(&mut self, path: PathBuf, why: &'static str) {
        self.found.left_out.push(LeftOut { path, why });
    }
}

fn explain(path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::InvalidFilename {
        let shown: String = path.to_string_lossy().chars().take(60).collect();
        return Error::TooDeep(format!("{shown}…"));
    }
    Error::Ours(anyhow::Error::new(error).context(format!("cannot look at {}", path.display())))
}

fn special(kind: FileType) -> &'static str {
    if kind.is_fifo() {
        "git cannot hold a named pipe"
    } else if kind.is_socket() {
        "git cannot hold a socket"
    } else {
        "git cannot hold a device"
    }
}

fn lstat(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Whether an upper folder hides the one below.
fn is_opaque(path: &Path) -> io::Result<bool> {
    let mut value = [0; 2];
    match rustix::fs::lgetxattr(path, "trusted.overlay.opaque", &mut value) {
        Ok(length) => Ok(&value[..length] == b"y"),
        Err(rustix::io::Errno::NODATA) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Git has no empty folders: one in a checkout stands for a submodule.
fn is_submodule(path: &Path) -> io::Result<bool> {
    Ok(fs::read_dir(path)?.next().is_none())
}

/// Every path that the commit holds at or below this one.
fn files_below(tree: &Path, path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Some(meta) = lstat(&tree.join(&path))? else { continue };
        let is_file = !meta.is_dir() || is_submodule(&tree.join(&path))?;
        if is_file {
            files.push(path);
            continue;
        }
        for entry in fs::read_dir(tree.join(&path))? {
            waiting.push(path.join(entry?.file_name()));
        }
    }
    Ok(files)
}

/// Whether a copied file is as it was made. Times count, as they do for git: a file that was written anew goes through
/// its rules for line endings again.
fn same(path: &Path, meta: &Metadata, below_path: &Path, below: &Metadata) -> io::Result<bool> {
    const MODE_BITS: u32 = 0o170_100;
    if meta.mode() & MODE_BITS != below.mode() & MODE_BITS || meta.len() != below.len() {
        return Ok(false);
    }
    if meta.is_symlink() {
        return Ok(fs::read_link(path)? == fs::read_link(below_path)?);
    }
    Ok(meta.modified()? == below.modified()? && fs::read(path)? == fs::read(below_path)?)
}
