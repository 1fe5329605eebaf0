//! The workspace of an attempt: its own view of a cached tree.
//!
//! Owns the overlay and its mount, or the plain copy where none can be mounted. Never reads what is in the files.
//! Invariant: the cached tree below is the same after the job as before it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tokio::process::Command;

use crate::trash::Trash;
use crate::tree_cache::Tree;

/// How jobs get a tree of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A writable layer over the cached tree: costs the same for any size of repository.
    Overlay,
    /// The same without syncing to disk what is thrown away anyway.
    VolatileOverlay,
    /// A copy, which shares blocks with the tree where the file system can.
    Copy,
}

/// Finds out what works below `dir`, and says so in the log.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn probe(dir: &Path) -> Result<Mode> {
    let layers = Layers::new(dir.join("probe"));
    let tree = layers.root.join("tree");
    layers.make().and_then(|()| std::fs::create_dir_all(&tree)).context("cannot write to the data folder")?;
    let mut refusal = None;
    let mut works = None;
    for mode in [Mode::VolatileOverlay, Mode::Overlay] {
        match layers.mount(&tree, mode) {
            Ok(()) => {
                unmount_if_mounted(&layers.merged())?;
                works = Some(mode);
                break;
            }
            Err(error) => refusal = Some(error),
        }
    }
    std::fs::remove_dir_all(&layers.root).context("cannot clean the data folder")?;
    if let (None, Some(error)) = (works, &refusal) {
        tracing::warn!(
            %error,
            dir = %dir.display(),
            "jobs work on plain copies: no overlay can be mounted here, which takes root and a file system such as ext4"
        );
    }
    Ok(works.unwrap_or(Mode::Copy))
}

/// One attempt's workspace. It holds its tree in the cache.
pub(crate) struct Workspace {
    layers: Layers,
    mode: Mode,
    tree: Tree,
}

/// Where things are inside the attempt's folder.
#[derive(Clone)]
struct Layers {
    root: PathBuf,
}

impl Layers {
    fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn merged(&self) -> PathBuf {
        self.root.join("merged")
    }

    fn upper(&self) -> PathBuf {
        self.root.join("upper")
    }

    fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    fn make(&self) -> io::Result<()> {
        [self.merged(), self.upper(), self.work()].iter().try_for_each(std::fs::create_dir_all)
    }

    fn mount(&self, lower: &Path, mode: Mode) -> io::Result<()> {
        let mut options = String::from("redirect_dir=off,metacopy=off,index=off");
        if mode == Mode::VolatileOverlay {
            options.push_str(",volatile");
        }
        for (name, path) in [("lowerdir", lower), ("upperdir", &self.upper()), ("workdir", &self.work())] {
            options.push_str(&format!(",{name}={}", escape(path)?));
        }
        let options = std::ffi::CString::new(options)?;
        mount(
            "overlay",
            self.merged(),
            "overlay",
            MountFlags::NODEV | MountFlags::NOSUID,
            Some(options.as_c_str()),
        )?;
        Ok(())
    }
}

/// Makes a path safe to stand in the options of an overlay, where commas and colons separate.
fn escape(path: &Path) -> io::Result<String> {
    let text = path.to_str().ok_or_else(|| io::Error::other("the path of the data folder is not UTF-8"))?;
    Ok(text.replace('\\', r"\\").replace(',', r"\,").replace(':', r"\:"))
}

impl Workspace {
    /// Makes the folder that will hold the files, empty until the workspace is opened: an engine wants a mount's source
    /// to be there when a container is created, which can then go on while the files are prepared.
    pub(crate) fn reserve(root: &Path) -> Result<PathBuf> {
        let layers = Layers::new(root.to_owned());
        layers.make().with_context(|| format!("cannot make the workspace {}", root.display()))?;
        Ok(layers.merged())
    }

    /// Puts the tree's files into a reserved folder.
    pub(crate) async fn open(root: &Path, tree: Tree, mode: Mode) -> Result<Self> {
        let layers = Layers::new(root.to_owned());
        match mode {
            Mode::Overlay | Mode::VolatileOverlay => {
                layers.mount(&tree.files(), mode).context("cannot mount the workspace's overlay")?;
            }
            Mode::Copy => copy(&tree.files(), &layers.merged()).await?,
        }
        Ok(Self { layers, mode, tree })
    }

    /// The files as the steps see them.
    pub(crate) fn files(&self) -> PathBuf {
        self.layers.merged()
    }

    /// The layer that holds only what was written, with deletions marked; none for a copy.
    pub(crate) fn written(&self) -> Option<PathBuf> {
        (self.mode != Mode::Copy).then(|| self.layers.upper())
    }

    /// The tree below.
    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// A folder for what is computed about the workspace; it goes away with it.
    pub(crate) fn scratch(&self) -> &Path {
        &self.layers.root
    }
}

/// Where a workspace in this folder holds what is written into it: its own layer, or the copy.
pub(crate) fn written(root: &Path, mode: Mode) -> PathBuf {
    let layers = Layers::new(root.to_owned());
    if mode == Mode::Copy { layers.merged() } else { layers.upper() }
}

/// Unmounts and throws away a workspace's folder, whoever left it there.
pub(crate) fn discard(root: &Path, trash: &Trash) -> Result<()> {
    unmount_if_mounted(&Layers::new(root.to_owned()).merged())?;
    if let Some(thrown) = trash.throw(root)? {
        thrown.delete_later();
    }
    Ok(())
}

fn unmount_if_mounted(merged: &Path) -> Result<()> {
    // Detached, because a process of the host that still looks into it must not keep the attempt from ending.
    match unmount(merged, UnmountFlags::DETACH) {
        // EINVAL: nothing is mounted there. EPERM: not root, who could not have mounted anything.
        Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT | rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot unmount {}", merged.display())),
    }
}

async fn copy(from: &Path, to: &Path) -> Result<()> {
    let output = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .arg(from.join("."))
        .arg(to)
        .stdin(Stdio::null())
        .output()
        .await
        .context("`cp` cannot be started")?;
    if !output.status.success() {
        bail!("cannot copy the tree: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use std::fs;

    use super::*;
    use crate::fixture::{Fixture, modes};

    #[tokio::test]
    async fn a_job_changes_its_view_and_never_the_tree() {
        let fixture = Fixture::new(|dir| fs::write(dir.join("file"), "as it was\n").unwrap());
        for mode in modes() {
            let workspace = fixture.workspace(mode).await;
            let (root, files) = (workspace.scratch().to_owned(), workspace.files());
            fs::write(files.join("file"), "changed\n").unwrap();
            fs::remove_dir_all(files.join(".git")).unwrap();
            drop(workspace);
            discard(&root, &fixture.trash).unwrap();
            assert!(!root.exists());
            let tree = fixture.tree().await.files();
            assert_eq!(fs::read_to_string(tree.join("file")).unwrap(), "as it was\n");
            assert!(tree.join(".git/HEAD").exists());
        }
    }

    #[test]
    fn a_data_folder_may_have_any_name() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join(r"a:b,c\d=e ü");
        fs::create_dir(&odd).unwrap();
        let plain = probe(dir.path()).unwrap();
        assert_eq!(probe(&odd).unwrap(), plain);
        assert_eq!(fs::read_dir(&odd).unwrap().count(), 0, "the probe cleans up");
    }

    #[tokio::test]
    async fn what_a_crash_left_mounted_is_taken_away() {
        let fixture = Fixture::new(|dir| fs::write(dir.join("file"), "x").unwrap());
        let workspace = fixture.workspace(modes()[0]).await;
        let root = workspace.scratch().to_owned();
        drop(workspace);
        discard(&root, &fixture.trash).unwrap();
        fixture.trash.empty().await.unwrap();
        assert!(!root.exists());
        assert_eq!(fs::read_dir(fixture.dir.path().join("trash")).unwrap().count(), 0);
    }
}
