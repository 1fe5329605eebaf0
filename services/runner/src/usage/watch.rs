//! The watch over what an attempt writes to disks.
//!
//! Owns which folders are looked at, and what they may take. Never ends anything itself.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::PoisonError;

use anyhow::{Context as _, Result};
use events::job::{Failure, FailureKind, LimitName};
use rustix::io::Errno;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{FIRST_LOOK, Usage, measured, pause_after};
use crate::kept::KeptFolder;
use crate::limits::{Limits, reached};
use crate::sandbox::{Container, Layer};

/// What an attempt may write, and where it does.
pub(crate) struct Watch {
    workspace: PathBuf,
    /// What was in the workspace before any step.
    before: Mutex<Usage>,
    limits: Limits,
    /// Where the layers of containers are.
    layers: Mutex<HashMap<String, Layer>>,
    /// Folders that outlive the attempt, each with what it took before.
    kept: std::sync::Mutex<Vec<(KeptFolder, Option<u64>)>>,
}

impl Watch {
    /// Watches a workspace of which nothing is there yet.
    pub(crate) fn new(workspace: PathBuf, limits: Limits) -> Self {
        let (before, layers, kept) = Default::default();
        Self { workspace, before, limits, layers, kept }
    }

    /// Takes what is in the workspace now for what was there before: needed where the workspace is a copy.
    pub(crate) async fn begin(&self) -> Result<()> {
        *self.before.lock().await = measured(&self.workspace, Usage::ANY).await??;
        Ok(())
    }

    /// Watches a folder too that outlives the attempt, and keeps it in use as long.
    pub(crate) fn keep(&self, folder: KeptFolder) {
        let before = folder.before();
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push((folder, before));
    }

    /// Waits until a limit is reached. `containers` says which there are.
    pub(crate) async fn reached(&self, containers: impl Fn() -> Vec<Container>) -> Failure {
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            match self.look(&containers()).await {
                Ok(Some(failure)) => return failure,
                Ok(None) => {}
                // An engine that is away is noticed by whoever waits for it.
                Err(error) => {
                    tracing::debug!(error = format!("{error:#}"), "the usage of a job is not known")
                }
            }
            pause = pause_after(began.elapsed());
        }
    }

    /// Looks at everything once.
    pub(crate) async fn look(&self, containers: &[Container]) -> Result<Option<Failure>> {
        if let Some(failure) = self.look_at_workspace().await? {
            return Ok(Some(failure));
        }
        let most = self.limits.image_bytes;
        let mut bytes = 0_u64;
        for container in containers {
            let left = Usage { bytes: most.saturating_sub(bytes), ..Usage::ANY };
            match self.layer(container, left).await? {
                Ok(usage) => bytes = bytes.saturating_add(usage.bytes),
                Err(Errno::NAMETOOLONG) => return Ok(Some(too_deep())),
                Err(error) => return Err(error).context("cannot look at a container's layer"),
            }
        }
        bytes = bytes.saturating_add(self.grown().await?);
        Ok((bytes >= most).then(|| reached(LimitName::ImageBytes, most)))
    }

    /// What was added to the kept folders.
    async fn grown(&self) -> Result<u64> {
        let folders: Vec<_> = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.iter().map(|(folder, before)| (folder.path(), *before)).collect()
        };
        let mut grown = 0_u64;
        let mut seen = HashSet::new();
        for (index, (path, before)) in folders.into_iter().enumerate() {
            // Each step that uses a folder took it.
            if !seen.insert(path.clone()) {
                continue;
            }
            let most = before.unwrap_or(u64::MAX).saturating_add(self.limits.image_bytes);
            let now = measured(&path, Usage { bytes: most, ..Usage::ANY }).await?;
            // One that nests too deep is thrown away with the next that makes room.
            let now = now.map_or(most, |usage| usage.bytes);
            if before.is_none() {
                // An earlier process filled it: what it took is what it takes at the first look.
                let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.iter_mut().skip(index).take(1).for_each(|(_, before)| *before = Some(now));
            }
            grown = grown.saturating_add(now.saturating_sub(before.unwrap_or(now)));
        }
        Ok(grown)
    }

    /// Looks at the workspace once.
    pub(crate) async fn look_at_workspace(&self) -> Result<Option<Failure>> {
        let before = *self.before.lock().await;
        let (bytes, files) = (self.limits.workspace_bytes, self.limits.workspace_files);
        let most =
            Usage { bytes: before.bytes.saturating_add(bytes), files: before.files.saturating_add(files) };
        let usage = match measured(&self.workspace, most).await? {
            Ok(usage) => usage,
            Err(Errno::NAMETOOLONG) => return Ok(Some(too_deep())),
            Err(error) => return Err(error).context("cannot look at a workspace"),
        };
        Ok(if usage.files > most.files {
            Some(reached(LimitName::WorkspaceFiles, files))
        } else if usage.bytes >= most.bytes {
            Some(reached(LimitName::WorkspaceBytes, bytes))
        } else {
            None
        })
    }

    async fn layer(&self, container: &Container, most: Usage) -> Result<rustix::io::Result<Usage>> {
        let mut layers = self.layers.lock().await;
        if !layers.contains_key(container.id()) {
            let layer = container.engine().layer(container.id()).await?;
            layers.insert(container.id().to_owned(), layer);
        }
        match layers.get(container.id()) {
            Some(Layer::Seen(folder)) => measured(folder, most).await,
            Some(Layer::Asked) => {
                let bytes = container.engine().written_bytes(container.id()).await?;
                Ok(Ok(Usage { bytes, files: 0 }))
            }
            None => Ok(Ok(Usage::default())),
        }
    }
}

fn too_deep() -> Failure {
    Failure {
        kind: FailureKind::Workspace,
        step: None,
        exit_code: None,
        limit: None,
        message: "a step nested folders too deep to be looked at".to_owned(),
        hint: "Let the step nest fewer folders, or remove them before it ends.".to_owned(),
    }
}
