//! Resuming: an attempt begins after the steps that need not run again.
//!
//! Owns what has to hold for that: the images are those on which the steps ran, what they came to can be had, and their changes
//! can be made. Where anything is in the way all steps run, and the log says why.

use std::path::Path;

use anyhow::{anyhow, bail};
use events::step_cache::Reuse;
use spec::{Definition, FileChanges};

use super::ready::{Setup, changes_in};
use super::results::Done;
use super::story::Story;
use super::work::Broken;
use crate::outbox::Outbox;
use crate::patch;
use crate::workspace::Workspace;

/// Where an attempt begins.
#[derive(Default)]
pub(super) struct Resumed {
    /// What the steps came to that need not run.
    pub(super) done: Option<Done>,
    /// How many they are.
    pub(super) steps: usize,
    /// The workspace with their changes, if it was opened.
    pub(super) workspace: Option<Workspace>,
    /// Whether all images were looked for.
    pub(super) has_images: bool,
}

impl Setup<'_> {
    /// Takes what the steps came to that the ticket names, and makes their changes where others come after them.
    pub(super) async fn resume(
        &self,
        definition: &Definition,
        story: &mut Story,
        root: &Path,
        outbox: &mut Outbox,
    ) -> Result<Resumed, Broken> {
        let Some(reuse) = &self.begun.ticket.reuse else { return Ok(Resumed::default()) };
        let mut resumed = Resumed::default();
        let mut images = self.begun.ticket.images.clone();
        if !reuse.images.iter().all(|pin| self.pinned(&pin.reference).is_some()) {
            images.extend(self.find_images(definition, story, outbox).await?);
            resumed.has_images = true;
        }
        let done = async {
            if let Some(pin) = reuse.images.iter().find(|pin| !images.contains(pin)) {
                bail!("`{}` is another image by now", pin.reference);
            }
            Done::fetch(&self.shared.broker, &reuse.result).await
        };
        let done = match done.await {
            Ok(done) => done,
            Err(error) => {
                self.run_all(&error).await;
                return Ok(resumed);
            }
        };
        let steps = reuse.step as usize;
        if definition.steps_in(story.context()).iter().any(|position| *position >= steps) {
            resumed.workspace = Some(self.open_workspace(definition, root).await?);
        }
        match self.go_on(&done, reuse, story, resumed.workspace.as_ref()).await {
            Ok(()) => Ok(Resumed { done: Some(done), steps, ..resumed }),
            Err(error) => {
                *story = Story::new(&self.begun.ticket, definition, self.secrets.clone());
                self.run_all(&error).await;
                Ok(resumed)
            }
        }
    }

    async fn go_on(
        &self,
        done: &Done,
        reuse: &Reuse,
        story: &mut Story,
        workspace: Option<&Workspace>,
    ) -> anyhow::Result<()> {
        let mut changes = FileChanges::default();
        if let Some(workspace) = workspace {
            patch::apply(workspace, &done.patch).await?;
            changes = changes_in(workspace, &self.begun.ticket).await.map_err(|error| anyhow!(error))?;
        }
        story.resume(&done.said, changes)?;
        self.results.begin_with(reuse.step, reuse.result.clone());
        Ok(())
    }

    async fn run_all(&self, error: &anyhow::Error) {
        let line = format!("all steps run, because what some came to earlier cannot be used: {error:#}");
        self.log.tell(&line).await;
    }
}
