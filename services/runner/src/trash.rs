//! The trash: how folders that steps wrote in go away.
//!
//! Owns deletion. A step can nest folders deeper than a path can name or a recursion can follow, so the walk is left to
//! `rm`, which handles both. Invariant: what was discarded is out of sight at once, and a crash half-way leaves it in
//! the trash, which is emptied at the next start.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;
use uuid::Uuid;

/// A folder on the same file system as all that is thrown into it.
#[derive(Clone, Debug)]
pub(crate) struct Trash {
    dir: PathBuf,
}

impl Trash {
    /// Opens the trash, empty or with what a crash left in it.
    pub(crate) fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// Moves a folder out of sight. A folder that is not there is gone already.
    pub(crate) fn throw(&self, path: &Path) -> Result<Option<Thrown>> {
        let grave = self.dir.join(Uuid::now_v7().to_string());
        match std::fs::rename(path, &grave) {
            Ok(()) => Ok(Some(Thrown(grave))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot move {} away", path.display())),
        }
    }

    /// Deletes what an earlier process left.
    pub(crate) async fn empty(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.dir).context("cannot read the trash")? {
            Thrown(entry?.path()).delete().await?;
        }
        Ok(())
    }
}

/// A folder that is out of sight and still takes space.
pub(crate) struct Thrown(PathBuf);

impl Thrown {
    /// Gives its space back without anybody waiting for it.
    pub(crate) fn delete_later(self) {
        tokio::spawn(async move {
            if let Err(error) = self.delete().await {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "what was thrown away stays until the next start"
                );
            }
        });
    }

    /// Gives its space back.
    pub(crate) async fn delete(self) -> Result<()> {
        let output = Command::new("rm")
            .args(["-rf", "--one-file-system", "--"])
            .arg(&self.0)
            .stdin(Stdio::null())
            .output()
            .await
            .context("`rm` cannot be started")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("cannot delete {}: {}", self.0.display(), said.lines().next().unwrap_or_default());
        }
        Ok(())
    }
}
