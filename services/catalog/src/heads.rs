//! Heads: which branches a repository has, which one is the default, and which were asked for.
//!
//! Owns the choice. Pure: what was seen of the repository comes in.

use std::collections::{BTreeMap, BTreeSet};

use events::document::SkipReason;
use events::git::{BranchRef, Oid};

use crate::trouble::Skip;

/// What one look at a repository showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) default: DefaultBranch,
    pub(crate) branches: BTreeMap<BranchRef, Oid>,
}

/// What `HEAD` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DefaultBranch {
    /// This branch, which exists.
    Is(BranchRef),
    /// A branch that does not exist.
    Unborn,
    /// A commit.
    Detached,
}

/// A branch and the commit that it pointed at.
pub(crate) type Pin = (BranchRef, Oid);

/// What becomes of the branches that were asked for; the default branch if none was.
pub(crate) fn pick(heads: &Heads, asked: &[String]) -> Vec<Result<Pin, Skip>> {
    if heads.branches.is_empty() && heads.default != DefaultBranch::Detached {
        let message = "The repository has no commits. Push a first commit, then run again.";
        return vec![Err(Skip::new(SkipReason::Empty, message))];
    }
    if asked.is_empty() {
        return vec![default(heads)];
    }
    let mut seen = BTreeSet::new();
    let asked = asked.iter().map(|name| name.strip_prefix("refs/heads/").unwrap_or(name));
    asked.filter(|name| seen.insert(*name)).map(|name| named(heads, name)).collect()
}

fn default(heads: &Heads) -> Result<Pin, Skip> {
    let message = match &heads.default {
        DefaultBranch::Is(branch) => match heads.branches.get(branch) {
            Some(oid) => return Ok((branch.clone(), oid.clone())),
            None => "The repository's default branch does not exist",
        },
        DefaultBranch::Unborn => "The repository's default branch does not exist",
        DefaultBranch::Detached => "The repository has no default branch: its HEAD is detached",
    };
    let hint = "Check a branch out there (`git switch BRANCH`), or name the branches under `on`.";
    Err(Skip::new(SkipReason::NoBranch, format!("{message}. {hint}")))
}

fn named(heads: &Heads, name: &str) -> Result<Pin, Skip> {
    let branch: Option<BranchRef> = format!("refs/heads/{name}").parse().ok();
    let found =
        branch.and_then(|branch| heads.branches.get(&branch).map(|oid| (branch.clone(), oid.clone())));
    found.ok_or_else(|| {
        let message =
            format!("The repository has no branch `{name}`. Push it, or correct the name under `on`.");
        Skip::new(SkipReason::NoBranch, message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn heads(default: DefaultBranch, branches: &[&str]) -> Heads {
        let oid: Oid = "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".parse().unwrap();
        let branch = |name: &&str| (format!("refs/heads/{name}").parse().unwrap(), oid.clone());
        Heads { default, branches: branches.iter().map(branch).collect() }
    }

    fn picked(heads: &Heads, asked: &[&str]) -> Vec<String> {
        let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
        let shown = |pick: Result<Pin, Skip>| match pick {
            Ok((branch, _)) => branch.short().to_owned(),
            Err(skip) => format!("{:?}: {}", skip.reason, skip.message),
        };
        pick(heads, &asked).into_iter().map(shown).collect()
    }

    #[test]
    fn the_default_branch_or_each_branch_that_was_asked_for_once() {
        let main = DefaultBranch::Is("refs/heads/main".parse().unwrap());
        let heads = heads(main, &["main", "next", "a/b"]);
        assert_eq!(picked(&heads, &[]), ["main"]);
        assert_eq!(picked(&heads, &["next", "refs/heads/next", "a/b"]), ["next", "a/b"]);
        let missing = picked(&heads, &["gone", "-x"]);
        assert!(missing[0].starts_with("NoBranch: The repository has no branch `gone`"), "{missing:?}");
        assert!(missing[1].starts_with("NoBranch"), "{missing:?}");
    }

    #[test]
    fn what_has_no_default_branch_says_why() {
        for (default, branches, expected) in [
            (DefaultBranch::Unborn, &[][..], "Empty: The repository has no commits"),
            (DefaultBranch::Unborn, &["x"], "NoBranch: The repository's default branch does not exist"),
            (
                DefaultBranch::Detached,
                &["x"],
                "NoBranch: The repository has no default branch: its HEAD is detached",
            ),
            (
                DefaultBranch::Detached,
                &[],
                "NoBranch: The repository has no default branch: its HEAD is detached",
            ),
        ] {
            let picked = picked(&heads(default, branches), &[]);
            assert!(picked[0].starts_with(expected), "{picked:?}");
        }
    }
}
