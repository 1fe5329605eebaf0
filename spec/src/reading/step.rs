//! `steps`: what runs in a workspace.
//!
//! Owns a step's keys, and what a path in a container may be. Never runs anything.

use std::collections::HashSet;
use std::ops::Range;

use super::env::{Env, env};
use super::mount;
use super::output;
use super::settings;
use super::walk::{Field, Fields, Shape, Walk};
use crate::context::{BatchChange, Context};
use crate::definition::{Action, Container, Step};
use crate::diagnostic::{Code, Problem, shown};
use crate::document::{Node, NodeKind};
use crate::static_if::{self, Decision};
use crate::template::{FieldPlace, Known, Template};

pub(super) const STEP: Shape = Shape {
    what: "a step",
    keys: &["run", "container", "env", "files", "outputs", "if", "mount", "patchwave"],
    elsewhere: &[
        ("image", "a batch spec calls it `container`"),
        ("args", "a batch spec says in `run` what runs"),
        ("timeout", "it belongs below `patchwave` of the step: `patchwave: { timeout: … }`"),
    ],
};

/// The most secrets of a definition: a ticket holds all of them, and a message of the broker's holds a ticket.
const MAX_SECRETS: usize = 20;

/// Reads `steps` of this batch change.
pub(super) fn steps(walk: &mut Walk<'_>, node: &Node, batch_change: &BatchChange) -> Vec<Step> {
    let list = walk.list(node, "steps").unwrap_or_default();
    let context = Context { batch_change: batch_change.clone(), ..Context::default() };
    let numbered = list.iter().enumerate();
    let steps: Vec<Step> = numbered.filter_map(|(index, node)| step(walk, (node, index), &context)).collect();
    let secrets: HashSet<_> = steps.iter().flat_map(|step| &step.secrets).collect();
    if secrets.len() > MAX_SECRETS {
        let message = format!("the steps ask for {} secrets, {MAX_SECRETS} are the most", secrets.len());
        let hint = "keep what belongs together in one secret, or make several actions";
        walk.problem(Problem::new(Code::InvalidValue, node.anchor(), message).hint(hint));
    }
    steps
}

fn step(walk: &mut Walk<'_>, (node, index): (&Node, usize), context: &Context) -> Option<Step> {
    let fields = walk.map(node, &STEP)?;
    let at = format!("steps[{index}]");
    let run = walk.required_template(&fields, "run", (format!("{at}.run"), FieldPlace::Step));
    let container = container(walk, &fields, &at);
    let Env { variables, secrets } = fields.get("env").map(|node| env(walk, node, &at)).unwrap_or_default();
    let files = fields.get("files").map(|node| files(walk, node, &at)).unwrap_or_default();
    let mounts = fields.get("mount").map(|node| mount::mounts(walk, node, &files)).unwrap_or_default();
    let timeout = fields.get("patchwave").and_then(|node| settings::step_timeout(walk, node));
    let condition = fields.get("if").map(|node| condition(walk, node, &at, context));
    // Last, because a step's own fields do not know what it hands on.
    let outputs = fields.get("outputs").map(|node| output::outputs(walk, node, &at)).unwrap_or_default();
    Some(Step {
        container: Container::Image(container?),
        action: Action::Script(run?),
        condition: condition.map_or(Some(None), |condition| condition.map(Some))?,
        outputs,
        env: variables,
        secrets,
        files,
        mounts,
        cache_dirs: Vec::new(),
        timeout,
    })
}

/// Whether the step runs: true, false, or a template that says `true` if it does.
fn condition(walk: &mut Walk<'_>, node: &Node, at: &str, context: &Context) -> Option<Template> {
    let path = format!("{at}.if");
    let condition = match &node.kind {
        NodeKind::Bool(value) => Some(walk.literal(&value.to_string(), &path, node)),
        NodeKind::Text(_) => walk.template(node, Field { key: "if", path, place: FieldPlace::Step }),
        _ => {
            walk.wrong_type(node, "if", "`true`, `false` or text");
            None
        }
    }?;
    if static_if::decided(Some(&condition), context, Known::Definition) == Decision::Decided(false) {
        walk.problem(
            Problem::new(Code::NeverRuns, node.anchor(), "this step can never run")
                .hint("a step runs if its `if` says exactly `true`: correct it, or remove the step")
                .warning(),
        );
    }
    Some(condition)
}

fn container(walk: &mut Walk<'_>, fields: &Fields<'_>, at: &str) -> Option<Template> {
    let template =
        walk.required_template(fields, "container", (format!("{at}.container"), FieldPlace::Step))?;
    let node = fields.get("container")?;
    match template.constant().and_then(|image| image_problem(node, image)) {
        None => Some(template),
        Some(problem) => {
            walk.problem(problem);
            None
        }
    }
}

/// What is plainly not an image reference; the rest is the engine's to say.
pub(super) fn image_problem(node: &Node, image: &str) -> Option<Problem> {
    image.trim().contains(|c: char| c.is_whitespace() || c.is_control()).then(|| {
        Problem::new(Code::InvalidValue, node.anchor(), format!("`{}` is not an image", shown(image)))
            .hint("an image is named as in `docker pull`, for example `alpine:3`")
    })
}

fn files(walk: &mut Walk<'_>, node: &Node, at: &str) -> Vec<(String, Template)> {
    let mut files = Vec::new();
    let mut seen = HashSet::new();
    for (key, content) in walk.entries(node, "files").unwrap_or_default() {
        let field = Field {
            key: &key.text,
            path: format!("{at}.files.{}", shown(&key.text)),
            place: FieldPlace::Step,
        };
        let content = walk.template(content, field);
        let Some(path) = absolute(walk, &key.text, key.range.clone()) else { continue };
        if !seen.insert(path.clone()) {
            let message = format!("the file `{}` is there already", shown(&path));
            walk.problem(
                Problem::new(Code::DuplicateKey, key.range.clone(), message).hint("remove one of the two"),
            );
        } else if let Some(content) = content {
            files.push((path, content));
        }
    }
    files
}

/// A path in a container, without what changes nothing in it; one that is not absolute is reported.
pub(super) fn absolute(walk: &mut Walk<'_>, path: &str, range: Range<usize>) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let message = match () {
        () if !path.starts_with('/') => format!("`{}` is not an absolute path", shown(path)),
        () if parts.is_empty() => format!("`{}` is the whole container", shown(path)),
        () if parts.contains(&"..") => format!("`{}` climbs up with `..`", shown(path)),
        () if path.contains(|c: char| c.is_control()) => {
            format!("`{}` holds control characters", shown(path))
        }
        () => return Some(format!("/{}", parts.join("/"))),
    };
    walk.problem(
        Problem::new(Code::InvalidValue, range, message)
            .hint("write the full path in the container, for example `/tmp/settings.json`"),
    );
    None
}
