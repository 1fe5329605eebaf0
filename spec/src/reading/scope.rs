//! `on`: which repositories.
//!
//! Owns the forms of its entries. Never resolves one: a query is carried as it is written.

use std::collections::HashSet;

use super::changeset::branch_problem;
use super::walk::{Shape, Walk};
use crate::definition::Scope;
use crate::diagnostic::{Code, Problem, shown};
use crate::document::Node;

pub(super) const ENTRY: Shape = Shape {
    what: "an entry of `on`",
    keys: &["repositoriesMatchingQuery", "repository", "branch", "branches"],
    elsewhere: &[],
};

/// Reads `on`.
pub(super) fn on(walk: &mut Walk<'_>, node: &Node) -> Vec<Scope> {
    let entries = walk.list(node, "on").unwrap_or_default();
    entries.iter().filter_map(|entry| scope(walk, entry)).collect()
}

fn scope(walk: &mut Walk<'_>, node: &Node) -> Option<Scope> {
    let fields = walk.map(node, &ENTRY)?;
    let (query, repository) = (fields.get("repositoriesMatchingQuery"), fields.get("repository"));
    let (branch, branches) = (fields.get("branch"), fields.get("branches"));
    let conflict = |of, with| {
        Problem::new(
            Code::ConflictingKeys,
            fields.place(of),
            format!("`{of}` and `{with}` exclude each other"),
        )
    };
    match (query, repository) {
        (Some(_), Some(_)) => {
            walk.problem(
                conflict("repository", "repositoriesMatchingQuery").hint("make it two entries of `on`"),
            );
            None
        }
        (None, None) => {
            walk.problem(
                Problem::new(
                    Code::MissingKey,
                    fields.anchor(),
                    "an entry of `on` must say which repositories",
                )
                .hint("write `repository: …` or `repositoriesMatchingQuery: …`"),
            );
            None
        }
        (Some(query), None) => {
            for (key, _) in
                [("branch", branch), ("branches", branches)].iter().filter(|(_, node)| node.is_some())
            {
                walk.problem(conflict(key, "repositoriesMatchingQuery").hint("a query says it by `rev:`"));
            }
            let query = walk.filled(query, "repositoriesMatchingQuery")?;
            Some(Scope::Query { query: query.to_owned() })
        }
        (None, Some(repository)) => {
            if branch.is_some() && branches.is_some() {
                walk.problem(conflict("branch", "branches").hint("list them all under `branches`"));
            }
            let mut found = Vec::new();
            if let Some(node) = branches {
                found = self::branches(walk, node);
            }
            found.extend(branch.and_then(|node| self::branch(walk, node, "branch")));
            let name = walk.filled(repository, "repository")?.trim().to_owned();
            Some(Scope::Repository { name, branches: found })
        }
    }
}

fn branches(walk: &mut Walk<'_>, node: &Node) -> Vec<String> {
    let mut branches: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    for item in walk.list(node, "branches").unwrap_or_default() {
        let Some(branch) = branch(walk, item, "branches") else { continue };
        if !seen.insert(branch.clone()) {
            let message = format!("the branch `{}` is there already", shown(&branch));
            walk.problem(
                Problem::new(Code::DuplicateKey, item.anchor(), message).hint("remove one of the two"),
            );
        } else {
            branches.push(branch);
        }
    }
    branches
}

fn branch(walk: &mut Walk<'_>, node: &Node, key: &'static str) -> Option<String> {
    let name = walk.filled(node, key)?.trim();
    match branch_problem(node.anchor(), name) {
        None => Some(name.to_owned()),
        Some(problem) => {
            walk.problem(problem);
            None
        }
    }
}
