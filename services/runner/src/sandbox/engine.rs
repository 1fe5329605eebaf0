//! The connection to the engine.

use std::collections::HashSet;

use anyhow::Result;
use events::beat::Running;
use events::id::RunnerId;

use super::{Container, ContainerSpec, Image, ImageSource, Trouble};

/// A container engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {}

impl Engine {
    /// Connects to the engine and agrees on a version of its API.
    ///
    /// # Errors
    /// When it cannot be reached, with what to do about it.
    pub(crate) async fn connect(_host: Option<&str>, _runner: &RunnerId) -> Result<Self> {
        anyhow::bail!("not yet")
    }

    /// Asks whether it answers now.
    pub(crate) async fn ping(&self) -> Result<()> {
        anyhow::bail!("not yet")
    }

    /// Removes the containers of this runner's attempts that are not in `keep`, and says how many it found.
    pub(crate) async fn remove_leftovers(&self, _keep: &HashSet<Running>) -> Result<usize> {
        anyhow::bail!("not yet")
    }

    /// Makes an image ready: present, pulled, or built. `note` is told of the progress, a line at a time.
    pub(crate) async fn image(
        &self,
        _source: &ImageSource,
        _note: &mut (dyn FnMut(String) + Send),
    ) -> Result<Image, Trouble> {
        Err(Trouble::Engine(anyhow::anyhow!("not yet")))
    }

    /// Creates a container without starting it; the workspace's files need not be there yet.
    pub(crate) async fn create(&self, _spec: &ContainerSpec<'_>) -> Result<Container, Trouble> {
        Err(Trouble::Engine(anyhow::anyhow!("not yet")))
    }
}
