//! `transformChanges`: which changes become changesets of their own.
//!
//! Owns the groups, the way from a file to its group, and the branches that changesets of one job end up on. Invariant:
//! no two groups that can meet in a repository have the same branch, or branches that cannot exist beside each other.

use std::collections::BTreeMap;

use events::git::BranchRef;

use crate::changeset::{Changeset, ChangesetTemplate};
use crate::context::Context;
use crate::diagnostic::shown;
use crate::segments::{Meeting, Segments};
use crate::template::{RenderError, RenderFault};

/// The changes below a folder, and the branch that they go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Relative to the repository's root, without `.` and empty names; empty: the root.
    pub directory: String,
    /// The branch.
    pub branch: BranchRef,
    /// The only repository that it holds for; absent: it holds for all.
    pub repository: Option<String>,
}

/// Groups, the last that fits a file being the one that counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TransformChanges {
    groups: Vec<Group>,
    directories: Segments,
    branches: Segments,
}

/// Why a group cannot stand beside an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conflict<'g> {
    /// They have the same branch.
    Same(&'g Group),
    /// The name of one branch begins with that of the other.
    Nested(&'g Group),
}

impl TransformChanges {
    /// The groups, in the order of the definition.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Adds a group, unless an earlier one has a branch that its own cannot stand beside.
    pub(crate) fn add(&mut self, group: Group) -> Result<(), Conflict<'_>> {
        let repository = group.repository.as_deref();
        match self.branches.meeting(group.branch.short(), repository) {
            Some(Meeting::Same(other)) => return Err(Conflict::Same(&self.groups[other])),
            Some(Meeting::Nested(other)) => return Err(Conflict::Nested(&self.groups[other])),
            None => {}
        }
        let number = self.groups.len();
        self.branches.insert(group.branch.short(), repository, number);
        self.directories.insert(&group.directory, repository, number);
        self.groups.push(group);
        Ok(())
    }

    /// The later group that takes every file of this one, if there is one.
    pub(crate) fn hidden_by(&self, number: usize) -> Option<&Group> {
        let Group { directory, repository, .. } = &self.groups[number];
        let newest = self.directories.newest_above(directory, repository.as_deref())?;
        (newest > number).then(|| &self.groups[newest])
    }

    /// The group of a file of a repository, by its path from the root.
    pub fn group_of(&self, repository: &str, path: &str) -> Option<&Group> {
        self.directories.newest_above(path, Some(repository)).map(|number| &self.groups[number])
    }

    /// The group whose branch a branch of a repository cannot stand beside.
    fn group_beside(&self, repository: &str, branch: &BranchRef) -> Option<(&Group, bool)> {
        match self.branches.meeting(branch.short(), Some(repository))? {
            Meeting::Same(number) => Some((&self.groups[number], true)),
            Meeting::Nested(number) => Some((&self.groups[number], false)),
        }
    }
}

/// A changeset and which paths of a job's diff belong to it: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// What they are published as.
    pub changeset: Changeset,
    /// The paths by their positions in what was given, ascending.
    pub paths: Vec<usize>,
}

impl ChangesetTemplate {
    /// Renders the changesets of a job whose base branch is `base` and whose final diff touches these paths: one for each
    /// branch that gets any of them, that of the template first, the others in the order of their groups. A renamed file
    /// is given as two paths, each of which goes its own way. No paths, no changesets.
    pub fn render_shares<'p>(
        &self,
        transform: &TransformChanges,
        (context, base): (&Context, &BranchRef),
        paths: impl IntoIterator<Item = &'p str>,
    ) -> Result<Vec<Share>, RenderError> {
        let own = self.render(context, base)?;
        let repository = context.repository.name.as_str();
        self.check(transform, (repository, base), &own.branch)?;
        let mut shares: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for (position, path) in paths.into_iter().enumerate() {
            let group = transform.directories.newest_above(path, Some(repository));
            shares.entry(group).or_default().push(position);
        }
        let changeset = |group: Option<usize>| match group.map(|number| &transform.groups[number].branch) {
            None => own.clone(),
            Some(branch) => {
                let publication = self.published.decide(repository, branch);
                Changeset { branch: branch.clone(), publication, ..own.clone() }
            }
        };
        Ok(shares.into_iter().map(|(group, paths)| Share { changeset: changeset(group), paths }).collect())
    }

    /// Checks what only the rendered branch and the base can show.
    fn check(
        &self,
        transform: &TransformChanges,
        (repository, base): (&str, &BranchRef),
        own: &BranchRef,
    ) -> Result<(), RenderError> {
        let fault = match (transform.group_beside(repository, own), transform.group_beside(repository, base))
        {
            (Some((group, is_same)), _) => RenderFault::GroupBranch {
                name: shown(own.short()),
                directory: shown(&group.directory),
                group: shown(group.branch.short()),
                relation: if is_same { "is also that of" } else { "cannot exist beside that of" },
            },
            (None, Some((group, true))) => {
                RenderFault::GroupBase { name: shown(base.short()), directory: shown(&group.directory) }
            }
            _ => return Ok(()),
        };
        Err(self.branch.error(0, fault))
    }
}
