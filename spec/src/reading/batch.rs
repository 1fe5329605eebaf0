//! The top level of a batch spec.
//!
//! Owns its keys. Each key's value is read by the module of its name.

use super::branch;
use super::changeset;
use super::import;
use super::scope;
use super::settings;
use super::step;
use super::transform;
use super::walk::{Shape, Walk};
use super::workspaces;
use crate::context::BatchChange;
use crate::definition::{Definition, Kind};
use crate::diagnostic::{Code, Problem, shown};
use crate::document::{Node, NodeKind};

pub(super) const BATCH_SPEC: Shape = Shape {
    what: "a batch spec",
    keys: &[
        "version",
        "name",
        "description",
        "on",
        "workspaces",
        "steps",
        "transformChanges",
        "importChangesets",
        "changesetTemplate",
        "patchwave",
    ],
    elsewhere: &[
        ("title", "it belongs below `changesetTemplate`"),
        ("body", "it belongs below `changesetTemplate`"),
        ("branch", "it belongs below `changesetTemplate`"),
        ("commit", "it belongs below `changesetTemplate`"),
        ("published", "it belongs below `changesetTemplate`"),
        ("run", "it belongs to an item of `steps`"),
        ("container", "it belongs to an item of `steps`"),
        ("env", "it belongs to an item of `steps`"),
        ("files", "it belongs to an item of `steps`"),
        ("timeout", "it belongs below `patchwave`"),
        ("stepTimeout", "it belongs below `patchwave`"),
        ("queueTimeout", "it belongs below `patchwave`"),
        ("network", "it belongs below `patchwave`"),
        ("limits", "it belongs below `patchwave`"),
    ],
};

const VERSIONS: [u8; 3] = [1, 2, 3];

/// Reads a batch spec.
pub(super) fn definition(walk: &mut Walk<'_>, root: &Node) -> Option<Definition> {
    if matches!(root.kind, NodeKind::Null) {
        walk.problem(
            Problem::new(Code::MissingKey, 0..0, "the file says nothing")
                .hint("the least that a batch spec says is `name: …`"),
        );
        return None;
    }
    let fields = walk.map(root, &BATCH_SPEC)?;
    let version = fields.get("version").map_or(Some(1), |node| version(walk, node));
    let name = walk.required(&fields, "name").and_then(|node| name(walk, node));
    let description = match fields.get("description") {
        Some(node) => walk.text(node, "description").map(|text| text.value.clone()),
        None => Some(String::new()),
    };
    let on = fields.get("on").map(|node| scope::on(walk, node)).unwrap_or_default();
    let workspaces =
        fields.get("workspaces").map(|node| workspaces::workspaces(walk, node)).unwrap_or_default();
    let batch_change = BatchChange {
        name: name.clone().unwrap_or_default(),
        description: description.clone().unwrap_or_default(),
    };
    let steps = fields.get("steps").map(|node| step::steps(walk, node, &batch_change)).unwrap_or_default();
    let transform_changes = fields
        .get("transformChanges")
        .map(|node| transform::transform_changes(walk, node))
        .unwrap_or_default();
    let import_changesets =
        fields.get("importChangesets").map(|node| import::import_changesets(walk, node)).unwrap_or_default();
    let template = fields.get("changesetTemplate");
    let has_steps = |node: &Node| matches!(&node.kind, NodeKind::List(steps) if !steps.is_empty());
    if template.is_none() && fields.get("steps").is_some_and(has_steps) {
        walk.problem(
            Problem::new(Code::MissingKey, fields.place("steps"), "`steps` need a `changesetTemplate`")
                .hint("it says what becomes of the changes: `title`, `branch` and `commit.message` at least"),
        );
    }
    let changeset_template = template.and_then(|node| changeset::template(walk, node));
    let settings = fields.get("patchwave").map(|node| settings::settings(walk, node)).unwrap_or_default();
    let definition = Definition {
        kind: Kind::BatchSpec { version: version? },
        name: name?,
        description: description?,
        on,
        workspaces,
        steps,
        transform_changes,
        import_changesets,
        changeset_template,
        settings,
    };
    if let Some(node) = template.and_then(|node| super::value(node, "branch")) {
        branch::check(walk, node, &definition);
    }
    Some(definition)
}

fn version(walk: &mut Walk<'_>, node: &Node) -> Option<u8> {
    let (digits, plain) = match &node.kind {
        NodeKind::Number(number) => (number.as_str(), true),
        NodeKind::Text(text) => (text.value.strip_prefix(['v', 'V']).unwrap_or(&text.value), false),
        _ => {
            walk.wrong_type(node, "version", "a number");
            return None;
        }
    };
    let version = digits.parse().ok().filter(|version| VERSIONS.contains(version));
    match version {
        None => walk.problem(
            Problem::new(Code::InvalidValue, node.anchor(), "there is no such version")
                .hint("versions: 1, 2, 3"),
        ),
        Some(version) if !plain => walk.problem(
            Problem::new(Code::VersionForm, node.anchor(), "the version is a number")
                .hint(format!("write `version: {version}`"))
                .warning(),
        ),
        Some(_) => {}
    }
    version
}

fn name(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let name = walk.filled(node, "name")?;
    match name_problem(name) {
        None => Some(name.to_owned()),
        Some((message, hint)) => {
            walk.problem(Problem::new(Code::InvalidValue, node.anchor(), message).hint(hint));
            None
        }
    }
}

/// What keeps a text from being an action's name, and what to do about it.
pub(super) fn name_problem(name: &str) -> Option<(String, &'static str)> {
    if !name.chars().all(events::name::allows) {
        let message = format!("`{}` cannot be a name", shown(name));
        return Some((message, "a name is made of ASCII letters, digits, `_`, `.` and `-`"));
    }
    let most = events::name::MAX_BYTES;
    (name.len() > most)
        .then(|| (format!("the name is longer than {most} characters"), "choose a shorter one"))
}
