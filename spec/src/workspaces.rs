//! `workspaces`: which folders of a repository are workspaces of their own.
//!
//! Owns the choice of the rule for a repository, the roots that a tree's files give, and what lies within a root. Never
//! reads a tree: whoever has one lists its files.

use std::collections::BTreeSet;

use crate::definition::Definition;
use crate::template::Glob;

/// One entry of `workspaces`.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkspaceRule {
    /// A file's name: every folder that holds such a file is a root.
    pub root_at_location_of: String,
    /// The repositories that it holds for, by their names.
    pub repositories: Glob,
    /// Whether the files outside of a root are left out.
    pub only_fetch_workspace: bool,
}

/// A repository that two entries of `workspaces` claim.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the entries {first} and {second} of `workspaces` both match `{repository}`: make `in` of one of them narrower"
)]
pub struct TwoRules {
    /// The repository.
    pub repository: String,
    /// The first entry, counted from 1.
    pub first: usize,
    /// The second.
    pub second: usize,
}

impl Definition {
    /// Whether a job in a folder of a repository gets the files of that folder alone.
    ///
    /// # Errors
    /// When two rules speak of the repository.
    pub fn fetches_only(&self, repository: &str, path: &str) -> Result<bool, TwoRules> {
        let rule = WorkspaceRule::find(&self.workspaces, repository)?;
        Ok(rule.is_some_and(|rule| rule.only_fetch_workspace) && !path.is_empty())
    }
}

impl WorkspaceRule {
    /// The rule for a repository; without one the repository's root is its only workspace.
    pub fn find<'r>(rules: &'r [Self], repository: &str) -> Result<Option<&'r Self>, TwoRules> {
        let mut matching = rules.iter().enumerate().filter(|(_, rule)| rule.repositories.matches(repository));
        match (matching.next(), matching.next()) {
            (Some((first, _)), Some((second, _))) => {
                Err(TwoRules { repository: repository.to_owned(), first: first + 1, second: second + 1 })
            }
            (found, _) => Ok(found.map(|(_, rule)| rule)),
        }
    }

    /// The roots that the files of a tree give, sorted, each once; empty: the root of the repository. No roots: the
    /// repository has no workspace.
    pub fn roots<'p>(&self, files: impl IntoIterator<Item = &'p str>) -> BTreeSet<&'p str> {
        files.into_iter().filter_map(|path| self.root(path)).collect()
    }

    /// The root that one file gives.
    pub fn root<'p>(&self, file: &'p str) -> Option<&'p str> {
        let folder = file.strip_suffix(self.root_at_location_of.as_str())?;
        if folder.is_empty() { Some(folder) } else { folder.strip_suffix('/') }
    }

    /// Why a repository has no workspace, for people.
    pub fn without_roots(&self) -> String {
        format!("no folder holds a file `{}`, at which `workspaces` puts the roots", self.root_at_location_of)
    }
}

/// Whether a path lies in a workspace's root, by whole segments: `a/b` holds `a/b/c`, and not `a/bc`.
pub fn within(root: &str, path: &str) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
