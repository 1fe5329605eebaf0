//! `transformChanges`: which changes become changesets of their own.
//!
//! Owns the keys of its groups and what a directory may be. Branches are compared with each other here; with the
//! template's own once that is rendered.

use super::changeset::branch_problem;
use super::walk::{Shape, Walk};
use crate::changeset::without_prefix;
use crate::diagnostic::{Code, Problem, shown};
use crate::document::Node;
use crate::transform::{Conflict, Group, TransformChanges};

pub(super) const TRANSFORM: Shape = Shape {
    what: "`transformChanges`",
    keys: &["group"],
    elsewhere: &[
        ("directory", "it belongs to an item of `group`"),
        ("branch", "it belongs to an item of `group`"),
        ("repository", "it belongs to an item of `group`"),
    ],
};

pub(super) const GROUP: Shape =
    Shape { what: "a group", keys: &["directory", "branch", "repository"], elsewhere: &[] };

/// The longest branch in bytes: what file systems take as a path.
const MAX_BRANCH: usize = 1000;

/// Reads `transformChanges`.
pub(super) fn transform_changes(walk: &mut Walk<'_>, node: &Node) -> TransformChanges {
    let mut read = TransformChanges::default();
    let items = walk.map(node, &TRANSFORM).and_then(|fields| fields.get("group"));
    let items = items.and_then(|node| walk.list(node, "group")).unwrap_or_default();
    let mut places = Vec::with_capacity(items.len());
    for item in items {
        let Some((group, place, branch)) = group(walk, item) else { continue };
        match read.add(group) {
            Ok(()) => places.push(place),
            Err(conflict) => {
                let problem = problem(branch, conflict);
                walk.problem(problem);
            }
        }
    }
    for (number, place) in places.into_iter().enumerate() {
        if let Some(later) = read.hidden_by(number) {
            let message = format!(
                "this group gets nothing: every file goes to the later one of `{}`",
                root(&later.directory)
            );
            walk.problem(
                Problem::new(Code::UnusedGroup, place, message)
                    .hint("the last group that fits counts: put the narrower directory behind the wider one")
                    .warning(),
            );
        }
    }
    read
}

type Range = std::ops::Range<usize>;

/// A group, and the places of its directory and its branch.
fn group(walk: &mut Walk<'_>, item: &Node) -> Option<(Group, Range, Range)> {
    let fields = walk.map(item, &GROUP)?;
    let place = walk.required(&fields, "directory");
    let directory = place.and_then(|node| directory(walk, node));
    let branch_node = walk.required(&fields, "branch");
    let branch = branch_node.and_then(|node| {
        let text = walk.filled(node, "branch")?.trim();
        let problem = match text.len() > MAX_BRANCH {
            true => Some(
                Problem::new(Code::TooLarge, node.anchor(), "the branch's name is too long")
                    .hint("choose a shorter one"),
            ),
            false => branch_problem(node.anchor(), text),
        };
        problem.into_iter().for_each(|problem| walk.problem(problem));
        format!("refs/heads/{}", without_prefix(text)).parse().ok().filter(|_| text.len() <= MAX_BRANCH)
    });
    let repository = match fields.get("repository") {
        Some(node) => Some(walk.filled(node, "repository")?.trim().to_owned()),
        None => None,
    };
    let group = Group { directory: directory?, branch: branch?, repository };
    Some((group, place?.anchor(), branch_node?.anchor()))
}

/// A directory of the repository, without what changes nothing in it.
fn directory(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let text = walk.filled(node, "directory")?.trim();
    let parts: Vec<&str> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let message = match () {
        () if text.starts_with('/') => format!("`{}` is an absolute path", shown(text)),
        () if parts.contains(&"..") => format!("`{}` climbs up with `..`", shown(text)),
        () if text.contains(|c: char| c.is_control()) => {
            format!("`{}` holds control characters", shown(text))
        }
        () => return Some(parts.join("/")),
    };
    walk.problem(
        Problem::new(Code::InvalidValue, node.anchor(), message)
            .hint("write a directory from the repository's root on, for example `services/web`"),
    );
    None
}

fn problem(range: Range, conflict: Conflict<'_>) -> Problem {
    match conflict {
        Conflict::Same(other) => {
            let message = format!("the group of `{}` has this branch already", root(&other.directory));
            Problem::new(Code::DuplicateKey, range, message)
                .hint("each group needs a branch of its own: its changes become a changeset of their own")
        }
        Conflict::Nested(other) => {
            let message = format!(
                "this branch and `{}`, that of the group of `{}`, cannot exist beside each other",
                shown(other.branch.short()),
                root(&other.directory)
            );
            Problem::new(Code::InvalidValue, range, message)
                .hint("for git a branch is either a name or a folder of names: `x` or `x/y`")
        }
    }
}

/// A directory for a message.
fn root(directory: &str) -> String {
    if directory.is_empty() { ".".to_owned() } else { shown(directory) }
}
