//! Repositories on this machine.
//!
//! Owns the look at one. Reads it where it is, with one process, and never writes to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;
use events::git::BranchRef;

use crate::git::{self, Io};
use crate::heads::{DefaultBranch, Heads};
use crate::trouble::{Skip, Trouble};

/// How long a look may take; a file system that hangs is the usual reason for more.
const PATIENCE: Duration = Duration::from_secs(120);

/// The folder with git's own files: `.git` of a work tree, or the repository itself if it is bare.
pub(crate) fn git_dir(path: &Path) -> PathBuf {
    let own = path.join(".git");
    if own.exists() { own } else { path.to_owned() }
}

/// The place that names the repository: real, and without `.git` at its end.
pub(crate) fn canonical(path: &str) -> String {
    let real = std::fs::canonicalize(path).ok();
    // Events are text: a real path that is not stays under the name that was given.
    let real =
        real.and_then(|real| real.into_os_string().into_string().ok()).unwrap_or_else(|| path.to_owned());
    real.strip_suffix("/.git").filter(|rest| !rest.is_empty()).map(str::to_owned).unwrap_or(real)
}

/// Looks at a repository.
pub(crate) async fn look(path: &Path) -> Result<Heads, Trouble> {
    let git_dir = git_dir(path);
    let mut command = git::local(&git_dir, "for-each-ref");
    command.args(["--format=%(HEAD)%(objectname) %(refname)", "refs/heads/"]);
    let output = git::run(command, Io::default(), PATIENCE).await?;
    if !output.success {
        if output.lacks_resources() {
            return Err(anyhow!("cannot look at {}: {}", path.display(), output.complaint).into());
        }
        return Err(unreadable(path, &output.complaint).into());
    }
    let mut heads = Heads { default: DefaultBranch::Unborn, branches: Default::default() };
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let (is_head, rest) = (line.starts_with('*'), line.get(1..).unwrap_or_default());
        let Some((oid, branch)) = rest.split_once(' ') else { continue };
        // A name that is not UTF-8 cannot be asked for either.
        let (Ok(oid), Ok(branch)) = (oid.parse(), branch.parse::<BranchRef>()) else { continue };
        if is_head {
            heads.default = DefaultBranch::Is(branch.clone());
        }
        heads.branches.insert(branch, oid);
    }
    if heads.default == DefaultBranch::Unborn && is_detached(&git_dir).await? {
        heads.default = DefaultBranch::Detached;
    }
    Ok(heads)
}

async fn is_detached(git_dir: &Path) -> Result<bool, Trouble> {
    let mut command = git::local(git_dir, "symbolic-ref");
    command.args(["--quiet", "HEAD"]);
    Ok(!git::run(command, Io::default(), PATIENCE).await?.success)
}

fn unreadable(path: &Path, complaint: &str) -> Skip {
    let shown = path.display();
    let hint = "Give the absolute path of a repository on the machine of the catalog.";
    Skip::unreachable(match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("There is nothing at {shown}. {hint}")
        }
        Err(error) => format!("{shown} cannot be read: {error}. {hint}"),
        Ok(_) => match path.ancestors().skip(1).find(|folder| folder.join(".git").exists()) {
            Some(top) => format!("{shown} lies inside a repository. Give its top folder, {}.", top.display()),
            None => format!("{shown} is not a git repository that can be read: {complaint}. {hint}"),
        },
    })
}
