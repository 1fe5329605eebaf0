//! Containers.

use std::time::Duration;

use anyhow::Result;

use super::{Output, Trouble};

/// A container of an attempt. Cheap to clone: another task may kill what this one waits for.
#[derive(Clone)]
pub(crate) struct Container {}

impl Container {
    /// Starts an idle container.
    pub(crate) async fn start(&self) -> Result<(), Trouble> {
        Err(Trouble::Engine(anyhow::anyhow!("not yet")))
    }

    /// Runs a script in an idle container, with bash if the image has it, else sh, and returns its exit code: 128 plus
    /// the signal's number if one ended it.
    pub(crate) async fn run_script(
        &self,
        _script: &str,
        _env: &[(String, String)],
        _output: &mut dyn Output,
    ) -> Result<i64, Trouble> {
        Err(Trouble::Engine(anyhow::anyhow!("not yet")))
    }

    /// Starts a container that is not idle, and returns the exit code of its main process.
    pub(crate) async fn run_main(&self, _output: &mut dyn Output) -> Result<i64, Trouble> {
        Err(Trouble::Engine(anyhow::anyhow!("not yet")))
    }

    /// Ends all that runs in it: SIGTERM, then SIGKILL after `grace`. When this returns nothing runs any more, and
    /// whoever waits for a script is told its exit code.
    pub(crate) async fn kill(&self, _grace: Duration) -> Result<()> {
        anyhow::bail!("not yet")
    }

    /// Removes the container, whatever runs in it.
    pub(crate) async fn remove(self) -> Result<()> {
        anyhow::bail!("not yet")
    }
}
