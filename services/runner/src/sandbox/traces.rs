//! Traces: what a step leaves in its container for the steps after it, besides the workspace.
//!
//! Owns the question whether there is anything. Steps that share a container may lean on what an earlier one installed or
//! left running; only where there is nothing of the kind would the next one do the same in a container of its own, so that
//! it may begin there some other day. What cannot be seen counts as a trace. Never opens a file, and never follows a link.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, lgetxattr, openat, statat};
use rustix::io::Errno;

use super::Container;

/// How many names in a layer are looked at: whoever left more left something.
const MOST: usize = 1_000;

/// What the overlay notes on a folder that came up from the image unchanged.
const ORIGIN: &str = "trusted.overlay.origin";

/// Where a container can be seen on its host.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Where the kernel counts whom it killed for want of memory.
    pub(super) kills: PathBuf,
    /// Where it lists who runs.
    pub(super) processes: PathBuf,
    /// What was written into the container's own layer; none where the engine keeps it elsewhere.
    pub(super) layer: Option<PathBuf>,
}

impl Container {
    /// Whether there is anything in it of the steps that have run so far, apart from the workspace: a file in its own
    /// layer, or a process.
    pub(crate) async fn has_traces(&self) -> bool {
        let Some(seen) = self.seen().await else { return true };
        let Some(layer) = seen.layer.clone() else { return true };
        let (processes, own, targets) =
            (seen.processes.clone(), self.own_processes(), self.targets().to_vec());
        let look = tokio::task::spawn_blocking(move || {
            let running = std::fs::read_to_string(processes).map_or(usize::MAX, |text| text.lines().count());
            running > own || Layer { targets: &targets, left: MOST }.is_written(&layer, Path::new("/"))
        });
        look.await.unwrap_or(true)
    }
}

struct Layer<'a> {
    /// What is mounted into the container, for which the engine makes places.
    targets: &'a [PathBuf],
    left: usize,
}

impl Layer<'_> {
    /// Whether anything is in a folder of the layer that the engine did not put there. `inside` is its path in the container.
    fn is_written(&mut self, folder: &Path, inside: &Path) -> bool {
        self.look(folder, inside).unwrap_or(true)
    }

    fn look(&mut self, folder: &Path, inside: &Path) -> Result<bool, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(CWD, folder, flags, Mode::empty())?;
        for entry in Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let Some(left) = self.left.checked_sub(1) else { return Ok(true) };
            self.left = left;
            let stat = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let name = std::ffi::OsStr::new(name.to_str().map_err(|_| Errno::ILSEQ)?);
            let (path, inside) = (folder.join(name), inside.join(name));
            let of_a_mount = self.targets.iter().any(|target| target.starts_with(&inside));
            let is_written = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => !(of_a_mount || came_up(&path)) || self.is_written(&path, &inside),
                FileType::RegularFile => !of_a_mount || stat.st_size > 0,
                _ => true,
            };
            if is_written {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a folder is the image's: one that a step wrote into and cleared again.
fn came_up(folder: &Path) -> bool {
    let mut value = [0; 256];
    lgetxattr(folder, ORIGIN, &mut value).is_ok()
}
