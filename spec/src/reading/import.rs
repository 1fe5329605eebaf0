//! `importChangesets`: changesets that exist already.
//!
//! Owns the keys of its entries. Never looks for a changeset.

use std::collections::HashSet;

use super::walk::{Shape, Walk};
use crate::definition::Import;
use crate::diagnostic::{Code, Problem, shown};
use crate::document::{Node, NodeKind};

pub(super) const ENTRY: Shape = Shape {
    what: "an entry of `importChangesets`",
    keys: &["repository", "externalIDs"],
    elsewhere: &[("externalID", "they are listed below `externalIDs`")],
};

/// The longest name of a changeset.
const MAX_ID: usize = 200;

/// Reads `importChangesets`.
pub(super) fn import_changesets(walk: &mut Walk<'_>, node: &Node) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut seen = HashSet::new();
    for entry in walk.list(node, "importChangesets").unwrap_or_default() {
        let Some(fields) = walk.map(entry, &ENTRY) else { continue };
        let repository =
            walk.required(&fields, "repository").and_then(|node| walk.filled(node, "repository"));
        let ids = walk.required(&fields, "externalIDs").and_then(|node| walk.list(node, "externalIDs"));
        for item in ids.unwrap_or_default() {
            let (Some(external_id), Some(repository)) = (external_id(walk, item), repository) else {
                continue;
            };
            let import = Import { repository: repository.trim().to_owned(), external_id };
            if seen.insert(import.clone()) {
                imports.push(import);
                continue;
            }
            let message = format!("`{}` of this repository is there already", shown(&import.external_id));
            walk.problem(
                Problem::new(Code::DuplicateKey, item.anchor(), message).hint("remove one of the two"),
            );
        }
    }
    imports
}

/// A changeset's name on its code host: a whole number or a text.
fn external_id(walk: &mut Walk<'_>, item: &Node) -> Option<String> {
    let is_whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = match &item.kind {
        NodeKind::Number(number) if is_whole(number) => number.as_str(),
        NodeKind::Text(text) => text.value.trim(),
        _ => {
            walk.wrong_type(item, "externalIDs", "whole numbers or texts");
            return None;
        }
    };
    if (1..=MAX_ID).contains(&id.len()) && !id.contains(|c: char| c.is_control()) {
        return Some(id.to_owned());
    }
    walk.problem(
        Problem::new(Code::InvalidValue, item.anchor(), format!("`{}` names no changeset", shown(id)))
            .hint("write its number on the code host, for example `1234`"),
    );
    None
}
