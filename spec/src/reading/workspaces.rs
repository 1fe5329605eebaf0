//! `workspaces`: which folders are workspaces of their own.
//!
//! Owns the keys of its entries. Never matches a repository.

use super::changeset::glob;
use super::walk::{Shape, Walk};
use crate::diagnostic::{Code, Problem, shown};
use crate::document::Node;
use crate::workspaces::WorkspaceRule;

pub(super) const ENTRY: Shape = Shape {
    what: "an entry of `workspaces`",
    keys: &["rootAtLocationOf", "in", "onlyFetchWorkspace"],
    elsewhere: &[("repository", "the repositories are given by `in`, as a glob on their names")],
};

/// The most entries: each is compared with every repository.
const MAX_ENTRIES: usize = 1000;

/// Reads `workspaces`.
pub(super) fn workspaces(walk: &mut Walk<'_>, node: &Node) -> Vec<WorkspaceRule> {
    let entries = walk.list(node, "workspaces").unwrap_or_default();
    if entries.len() > MAX_ENTRIES {
        let message = format!("`workspaces` has {} entries, {MAX_ENTRIES} are the most", entries.len());
        walk.problem(
            Problem::new(Code::TooLarge, node.anchor(), message)
                .hint("let a glob in `in` stand for several repositories"),
        );
        return Vec::new();
    }
    entries.iter().filter_map(|entry| rule(walk, entry)).collect()
}

fn rule(walk: &mut Walk<'_>, entry: &Node) -> Option<WorkspaceRule> {
    let fields = walk.map(entry, &ENTRY)?;
    let file = walk.required(&fields, "rootAtLocationOf").and_then(|node| file_name(walk, node));
    let repositories = match fields.get("in") {
        Some(node) => {
            let pattern = walk.filled(node, "in");
            pattern.and_then(|pattern| glob(walk, &node.anchor(), pattern))
        }
        None => glob(walk, &entry.anchor(), "*"),
    };
    let only = fields.get("onlyFetchWorkspace").and_then(|node| walk.boolean(node, "onlyFetchWorkspace"));
    Some(WorkspaceRule {
        root_at_location_of: file?,
        repositories: repositories?,
        only_fetch_workspace: only.unwrap_or(false),
    })
}

fn file_name(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let name = walk.filled(node, "rootAtLocationOf")?;
    if !name.contains('/') && !matches!(name, "." | "..") && !name.contains(|c: char| c.is_control()) {
        return Some(name.to_owned());
    }
    walk.problem(
        Problem::new(Code::InvalidValue, node.anchor(), format!("`{}` is not a file's name", shown(name)))
            .hint("write the name alone, without folders, for example `package.json`"),
    );
    None
}
