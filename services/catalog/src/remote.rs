//! Repositories on hosts.
//!
//! Owns the look at one: one question that gives the default branch, its commit and the branches that were asked for.

use std::time::Duration;

use anyhow::anyhow;
use events::location::Remote;

use crate::git::{self, Io, Output};
use crate::heads::{DefaultBranch, Heads};
use crate::trouble::{Skip, Trouble};

/// How long a host may take to list its branches.
const PATIENCE: Duration = Duration::from_secs(120);

/// Looks at a repository.
pub(crate) async fn look(remote: &Remote, asked: &[String]) -> Result<Heads, Trouble> {
    let mut patterns = vec!["HEAD".to_owned()];
    let full = |name: &String| format!("refs/heads/{}", name.strip_prefix("refs/heads/").unwrap_or(name));
    patterns.extend(asked.iter().map(full));
    let heads = list(remote, &patterns).await?;
    if heads.branches.is_empty() && heads.default != DefaultBranch::Detached {
        // It is empty, or has nothing of what was asked for: the difference is worth a second question.
        return list(remote, &["HEAD".to_owned(), "refs/heads/*".to_owned()]).await;
    }
    Ok(heads)
}

async fn list(remote: &Remote, patterns: &[String]) -> Result<Heads, Trouble> {
    let mut command = git::remote(remote, None, "ls-remote");
    command.args(["--quiet", "--symref", "--end-of-options", &remote.url]).args(patterns);
    let output = git::run(command, Io::default(), PATIENCE).await?;
    if output.success { Ok(read(&output.stdout)) } else { Err(trouble(remote, &output)) }
}

fn read(stdout: &[u8]) -> Heads {
    let mut heads = Heads { default: DefaultBranch::Unborn, branches: Default::default() };
    for line in String::from_utf8_lossy(stdout).lines() {
        match line.split_once('\t') {
            Some((target, "HEAD")) => match target.strip_prefix("ref: ") {
                Some(branch) => {
                    heads.default = branch.parse().map_or(DefaultBranch::Unborn, DefaultBranch::Is);
                }
                // The commit comes after the branch, if there is one.
                None => match &heads.default {
                    DefaultBranch::Is(branch) => {
                        if let Ok(oid) = target.parse() {
                            heads.branches.insert(branch.clone(), oid);
                        }
                    }
                    _ => heads.default = DefaultBranch::Detached,
                },
            },
            Some((oid, branch)) => {
                // A pattern also finds branches whose names end like it; they do no harm.
                if let (Ok(oid), Ok(branch)) = (oid.parse(), branch.parse()) {
                    heads.branches.insert(branch, oid);
                }
            }
            None => {}
        }
    }
    heads
}

/// What a failed conversation with a host means.
pub(crate) fn trouble(remote: &Remote, output: &Output) -> Trouble {
    let (url, complaint) = (&remote.url, &output.complaint);
    if output.lacks_resources() {
        return anyhow!("cannot fetch {url}: {complaint}").into();
    }
    let asks = ["could not read Username", "Authentication failed", "Permission denied (publickey"];
    let hint = if asks.iter().any(|sign| complaint.contains(sign)) {
        "It is private or does not exist: repositories that need a password or a token cannot be read yet."
    } else if complaint.contains("Host key verification failed") {
        "Add the host's key to the known hosts of the account that runs the catalog."
    } else {
        "Check the address, and that the machine of the catalog reaches the host."
    };
    Skip::unreachable(format!("{url} cannot be read: {complaint}. {hint}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_gives_the_default_branch_with_its_commit() {
        let oid = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3";
        let heads =
            read(format!("ref: refs/heads/main\tHEAD\n{oid}\tHEAD\n{oid}\trefs/heads/next\n").as_bytes());
        assert_eq!(heads.branches.len(), 2);
        assert!(matches!(heads.default, DefaultBranch::Is(branch) if branch.short() == "main"));
        assert_eq!(read(format!("{oid}\tHEAD\n").as_bytes()).default, DefaultBranch::Detached);
        assert_eq!(read(b"").default, DefaultBranch::Unborn);
        assert_eq!(read(b"\xff\tHEAD\nx\n\t\n").default, DefaultBranch::Detached);
    }
}
