//! The reading: from a document to a definition.
//!
//! Owns the choice of syntax and format, and the keys of both formats. Never knows how a text becomes a document.
//! Invariant: whatever a definition lacks was reported, and everything that was reported names its place.

mod batch;
mod branch;
mod changeset;
mod duration;
mod env;
mod import;
mod legacy;
mod mount;
mod output;
mod registry;
mod scope;
mod settings;
mod size;
mod step;
mod transform;
mod walk;
mod workspaces;

use walk::Walk;

use crate::definition::{Definition, Parsed};
use crate::diagnostic::{Code, Diagnostics, Problem};
use crate::document::{self, Node, NodeKind, Syntax};
use crate::settings::Limits;
use crate::source::{Beside, Given, Source};

/// The keys of every map that has known ones, and where the published schemas describe it: the format's name and a pointer
/// into its schema.
#[cfg(test)]
pub(crate) const KEYS: &[(&[&str], &str, &str)] = &[
    (batch::BATCH_SPEC.keys, "batch-spec", ""),
    (scope::ENTRY.keys, "batch-spec", "/$defs/scope"),
    (workspaces::ENTRY.keys, "batch-spec", "/$defs/workspace"),
    (step::STEP.keys, "batch-spec", "/$defs/step"),
    (output::OUTPUT.keys, "batch-spec", "/$defs/output"),
    (mount::MOUNT.keys, "batch-spec", "/$defs/mount"),
    (settings::STEP.keys, "batch-spec", "/$defs/stepSettings"),
    (transform::TRANSFORM.keys, "batch-spec", "/$defs/transformChanges"),
    (transform::GROUP.keys, "batch-spec", "/$defs/group"),
    (import::ENTRY.keys, "batch-spec", "/$defs/import"),
    (changeset::TEMPLATE.keys, "batch-spec", "/$defs/changesetTemplate"),
    (changeset::COMMIT.keys, "batch-spec", "/$defs/commit"),
    (changeset::AUTHOR.keys, "batch-spec", "/$defs/author"),
    (settings::PATCHWAVE.keys, "batch-spec", "/$defs/settings"),
    (settings::LIMITS.keys, "batch-spec", "/$defs/limits"),
    (registry::REGISTRY.keys, "batch-spec", "/$defs/registry"),
    (legacy::ACTION.keys, "action-file", ""),
    (legacy::STEP.keys, "action-file", "/$defs/step"),
];

/// The largest file: together with what else an event says it must fit into a message of the broker.
const MAX_BYTES: usize = 512 << 10;

/// The largest text given beside the file.
const MAX_GIVEN_BYTES: usize = 64 << 10;

/// Keys of a batch spec that nobody would write into a legacy action file.
const BATCH_KEYS: &[&str] =
    &["changesetTemplate", "on", "version", "workspaces", "transformChanges", "importChangesets"];

/// Reads a definition.
pub(crate) fn read(source: &Source<'_>, beside: &Beside<'_>) -> Result<Parsed, Diagnostics> {
    let syntax = syntax(source);
    let mut walk = Walk::new(source, syntax, beside);
    if source.text.len() > MAX_BYTES {
        let message = format!("the file is larger than {} KiB", MAX_BYTES >> 10);
        walk.problem(
            Problem::new(Code::TooLarge, 0..0, message).hint("split it, or load what is long in a step"),
        );
        return parsed(walk, None);
    }
    refuse_long_given(&mut walk);
    let document = match document::read(source.text, syntax) {
        Ok(document) => document,
        Err(problem) => {
            walk.problem(problem);
            return parsed(walk, None);
        }
    };
    document.problems.into_iter().for_each(|problem| walk.problem(problem));
    let definition = match is_legacy(&document.root, syntax) {
        true => legacy::definition(&mut walk, &document.root, source),
        false => {
            refuse_given(&mut walk, source.given);
            batch::definition(&mut walk, &document.root)
        }
    };
    parsed(walk, definition)
}

fn parsed(walk: Walk<'_>, definition: Option<Definition>) -> Result<Parsed, Diagnostics> {
    walk.finish(definition).map(|(definition, warnings)| Parsed { definition, warnings })
}

/// Reads limits alone.
pub(crate) fn read_limits(name: &str, text: &str) -> Result<Limits, Diagnostics> {
    let source = Source { file_name: name, text, given: &Given::default(), command_image: "" };
    let beside = Beside::default();
    let mut walk = Walk::new(&source, Syntax::Yaml, &beside);
    let limits = match document::read(text, Syntax::Yaml) {
        Ok(document) => {
            document.problems.into_iter().for_each(|problem| walk.problem(problem));
            Some(settings::limits(&mut walk, &document.root))
        }
        Err(problem) => {
            walk.problem(problem);
            None
        }
    };
    walk.finish(limits).map(|(limits, _)| limits)
}

/// The file's ending decides; without a known one, JSON is what begins like an object or a comment of JSON.
fn syntax(source: &Source<'_>) -> Syntax {
    let name = source.file_name.to_ascii_lowercase();
    let ends = |endings: [&str; 2]| endings.iter().any(|ending| name.ends_with(ending));
    let start = source.text.trim_start_matches('\u{feff}').trim_start();
    if ends([".json", ".jsonc"]) || (!ends([".yaml", ".yml"]) && start.starts_with(['{', '/'])) {
        Syntax::Json
    } else {
        Syntax::Yaml
    }
}

/// Whether a document is a legacy action file: what is misspelt in it must not make it the other format.
fn is_legacy(root: &Node, syntax: Syntax) -> bool {
    let NodeKind::Map(_) = &root.kind else { return syntax == Syntax::Json };
    if BATCH_KEYS.iter().any(|key| value(root, key).is_some()) {
        return false;
    }
    let steps = match value(root, "steps").map(|node| &node.kind) {
        Some(NodeKind::List(steps)) => &steps[..],
        _ => &[],
    };
    value(root, "scopeQuery").is_some()
        || steps.iter().any(|step| value(step, "type").is_some())
        || (syntax == Syntax::Json && value(root, "name").is_none())
}

/// The value of a key, if the node is a map that has it.
fn value<'n>(node: &'n Node, wanted: &str) -> Option<&'n Node> {
    let NodeKind::Map(entries) = &node.kind else { return None };
    entries.iter().find(|(key, _)| key.text == wanted).map(|(_, value)| &**value)
}

fn refuse_long_given(walk: &mut Walk<'_>) {
    for text in walk::GIVEN {
        if walk.given_text(text).len() > MAX_GIVEN_BYTES {
            let message = format!("this is longer than {} KiB", MAX_GIVEN_BYTES >> 10);
            walk.given_problem(text, Problem::new(Code::TooLarge, 0..0, message).hint("shorten it"));
        }
    }
}

/// A batch spec says these things itself; two answers would leave open which one counts.
fn refuse_given(walk: &mut Walk<'_>, given: &Given) {
    let Given { name, branch, title, body, message } = given;
    let refused = [
        (walk::GIVEN_NAME, name, "`name`"),
        (walk::GIVEN_BRANCH, branch, "`changesetTemplate.branch`"),
        (walk::GIVEN_TITLE, title, "`changesetTemplate.title`"),
        (walk::GIVEN_BODY, body, "`changesetTemplate.body`"),
        (walk::GIVEN_MESSAGE, message, "`changesetTemplate.commit.message`"),
    ];
    for (text, _, key) in refused.into_iter().filter(|(_, given, _)| given.is_some()) {
        let message = format!("a batch spec says this itself, by {key}");
        let range = 0..walk.given_text(text).len();
        walk.given_problem(
            text,
            Problem::new(Code::UnexpectedGiven, range, message)
                .hint("change the file; only legacy action files need something beside them"),
        );
    }
}
