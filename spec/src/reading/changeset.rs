//! `changesetTemplate`: what becomes of the changes.
//!
//! Owns its keys and the forms of `published`. Checks here whatever does not depend on a repository; the rest is
//! checked when it is rendered.

use std::ops::Range;

use events::document::Publication;
use events::git::is_valid_branch;

use super::walk::{Field, Fields, Shape, Walk};
use crate::changeset::{
    Author, ChangesetTemplate, PublicationRule, Published, has_author_marks, without_prefix,
};
use crate::diagnostic::{Code, Problem, shown};
use crate::document::{Node, NodeKind};
use crate::template::{FieldPlace, Glob, Template};

pub(super) const TEMPLATE: Shape = Shape {
    what: "`changesetTemplate`",
    keys: &["title", "body", "branch", "fork", "commit", "published"],
    elsewhere: &[("message", "it belongs below `commit`"), ("author", "it belongs below `commit`")],
};

pub(super) const COMMIT: Shape = Shape { what: "`commit`", keys: &["message", "author"], elsewhere: &[] };

pub(super) const AUTHOR: Shape = Shape { what: "`author`", keys: &["name", "email"], elsewhere: &[] };

/// Reads `changesetTemplate`.
pub(super) fn template(walk: &mut Walk<'_>, node: &Node) -> Option<ChangesetTemplate> {
    let fields = walk.map(node, &TEMPLATE)?;
    let title = required(walk, &fields, "title", "title");
    let body = fields.get("body").and_then(|node| {
        let field = Field { key: "body", path: path("body"), place: FieldPlace::Body };
        walk.template(node, field)
    });
    let branch = required(walk, &fields, "branch", "branch");
    if let (Some(branch), Some(node)) = (&branch, fields.get("branch")) {
        check_branch(walk, branch, node);
    }
    let commit = walk.required(&fields, "commit").and_then(|node| walk.map(node, &COMMIT));
    let message = commit.and_then(|commit| required(walk, &commit, "message", "commit.message"));
    let author = commit.and_then(|commit| commit.get("author")).and_then(|node| author(walk, node));
    let fork = fields.get("fork").and_then(|node| walk.boolean(node, "fork"));
    let published =
        fields.get("published").map_or(Published::All(Publication::Undecided), |node| published(walk, node));
    Some(ChangesetTemplate {
        title: title?,
        body,
        branch: branch?,
        message: message?,
        author,
        fork,
        published,
    })
}

fn path(key: &str) -> String {
    format!("changesetTemplate.{key}")
}

fn required(walk: &mut Walk<'_>, fields: &Fields<'_>, key: &'static str, at: &str) -> Option<Template> {
    walk.required_template(fields, key, (path(at), FieldPlace::Changeset))
}

fn check_branch(walk: &mut Walk<'_>, branch: &Template, node: &Node) {
    let problem = branch.constant().and_then(|name| branch_problem(node.anchor(), name.trim()));
    problem.into_iter().for_each(|problem| walk.problem(problem));
}

/// What keeps a text, with or without `refs/heads/`, from being a branch.
pub(super) fn branch_problem(range: Range<usize>, name: &str) -> Option<Problem> {
    (!is_valid_branch(without_prefix(name))).then(|| {
        Problem::new(Code::InvalidValue, range, format!("`{}` is not a branch name", shown(name)))
            .hint("git's rules are in `git help check-ref-format`")
    })
}

fn author(walk: &mut Walk<'_>, node: &Node) -> Option<Author> {
    let fields = walk.map(node, &AUTHOR)?;
    let mut part = |key, at| {
        let template = required(walk, &fields, key, at)?;
        let (text, node) = (template.constant().map(str::trim), fields.get(key)?);
        if let Some(text) = text.filter(|text| has_author_marks(text)) {
            let message = format!("`{}` cannot be a part of an author", shown(text));
            walk.problem(
                Problem::new(Code::InvalidValue, node.anchor(), message)
                    .hint("git takes no line break, `<` or `>` there"),
            );
        }
        Some(template)
    };
    let name = part("name", "commit.author.name");
    let email = part("email", "commit.author.email");
    Some(Author { name: name?, email: email? })
}

/// Reads `published`: one answer for all, or a list of rules.
fn published(walk: &mut Walk<'_>, node: &Node) -> Published {
    let NodeKind::List(items) = &node.kind else {
        return Published::All(publication(walk, node, "published").unwrap_or(Publication::Undecided));
    };
    Published::Rules(items.iter().filter_map(|item| rule(walk, item)).collect())
}

fn publication(walk: &mut Walk<'_>, node: &Node, key: &str) -> Option<Publication> {
    let message = match &node.kind {
        NodeKind::Null => return Some(Publication::Undecided),
        NodeKind::Bool(true) => return Some(Publication::Published),
        NodeKind::Bool(false) => return Some(Publication::Unpublished),
        NodeKind::Text(text) if text.value == "draft" => return Some(Publication::Draft),
        NodeKind::Text(text) => format!("`{}` takes no `{}`", shown(key), shown(&text.value)),
        _ => {
            walk.wrong_type(node, key, "`true`, `false` or `draft`");
            return None;
        }
    };
    walk.problem(
        Problem::new(Code::InvalidValue, node.anchor(), message)
            .hint("write `true`, `false` or `draft`, or nothing to decide later"),
    );
    None
}

fn rule(walk: &mut Walk<'_>, item: &Node) -> Option<PublicationRule> {
    let entries = walk.entries(item, "published")?;
    let [(key, value)] = entries else {
        walk.problem(
            Problem::new(Code::InvalidValue, item.anchor(), "an item of `published` holds one rule")
                .hint("write `- ` before each rule"),
        );
        return None;
    };
    let publication = publication(walk, value, &key.text);
    let (repository, branch) = match key.text.split_once('@') {
        Some((repository, branch)) => (repository, Some(branch).filter(|branch| !branch.is_empty())),
        None => (key.text.as_str(), None),
    };
    Some(PublicationRule {
        repository: glob(walk, &key.range, repository)?,
        branch: branch.map(str::to_owned),
        publication: publication?,
    })
}

/// A glob on repositories' names; what is none is reported.
pub(super) fn glob(walk: &mut Walk<'_>, range: &Range<usize>, pattern: &str) -> Option<Glob> {
    match Glob::new(pattern) {
        Ok(glob) => Some(glob),
        Err(reason) => {
            let message = format!("`{}` is not a glob: {reason}", shown(pattern));
            walk.problem(
                Problem::new(Code::InvalidValue, range.clone(), message)
                    .hint("`*` stands for any text, `?` for one character, `{a,b}` for a choice"),
            );
            None
        }
    }
}
