//! Applying a patch: the changes of steps that need not run again.

use anyhow::{Context as _, Result};

use crate::git;
use crate::workspace::Workspace;

/// Makes the changes of a patch in a workspace in which nothing runs yet: all of them or none. Git keeps to the work tree,
/// follows no link out of it, and touches no `.git`, whoever wrote the patch.
pub(crate) async fn apply(workspace: &Workspace, patch: &[u8]) -> Result<()> {
    if patch.is_empty() {
        return Ok(());
    }
    let mut command = workspace.tree().git().command_in(&workspace.files(), "apply");
    command.args(["--whitespace=nowarn", "-"]);
    git::output(command, patch).await.context("the changes of earlier steps cannot be made again")?;
    Ok(())
}
