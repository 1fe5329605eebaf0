//! `steps`: what runs in a workspace.
//!
//! Owns a step's keys, the two forms of `env`, and what a path in a container may be. Never runs anything.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::mount;
use super::settings;
use super::walk::{Field, Fields, Shape, Walk};
use crate::definition::{Action, Container, Step};
use crate::diagnostic::{Code, Problem, shown};
use crate::document::{Key, Node, NodeKind};
use crate::template::{FieldPlace, Template};

const STEP: Shape = Shape {
    what: "a step",
    keys: &["run", "container", "env", "files", "mount", "patchwave"],
    later: &[
        ("if", "leave it out, and decide in the script of `run`"),
        ("outputs", "leave it out: the next step sees what this one prints as `previous_step.stdout`"),
    ],
    elsewhere: &[
        ("image", "a batch spec calls it `container`"),
        ("args", "a batch spec says in `run` what runs"),
        ("timeout", "it belongs below `patchwave` of the step: `patchwave: { timeout: … }`"),
    ],
};

/// Reads `steps`.
pub(super) fn steps(walk: &mut Walk<'_>, node: &Node) -> Vec<Step> {
    let steps = walk.list(node, "steps").unwrap_or_default();
    steps.iter().enumerate().filter_map(|(index, node)| step(walk, node, index)).collect()
}

fn step(walk: &mut Walk<'_>, node: &Node, index: usize) -> Option<Step> {
    let fields = walk.map(node, &STEP)?;
    let at = format!("steps[{index}]");
    let run = walk.required_template(&fields, "run", (format!("{at}.run"), FieldPlace::Step));
    let container = container(walk, &fields, &at);
    let env = fields.get("env").map(|node| env(walk, node, &at)).unwrap_or_default();
    let files = fields.get("files").map(|node| files(walk, node, &at)).unwrap_or_default();
    let mounts = fields.get("mount").map(|node| mount::mounts(walk, node, &files)).unwrap_or_default();
    let timeout = fields.get("patchwave").and_then(|node| settings::step_timeout(walk, node));
    Some(Step {
        container: Container::Image(container?),
        action: Action::Script(run?),
        env,
        files,
        mounts,
        cache_dirs: Vec::new(),
        timeout,
    })
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

/// Reads `env`: a map, or a list of maps of one entry each in which a later entry replaces an earlier one.
fn env(walk: &mut Walk<'_>, node: &Node, at: &str) -> Vec<(String, Template)> {
    match &node.kind {
        NodeKind::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| variable(walk, (key, value), at));
            entries.collect::<Vec<_>>().into_iter().flatten().collect()
        }
        NodeKind::List(items) => {
            let mut variables = Variables::default();
            for item in items {
                if let Some(entry) = env_entry(walk, item)
                    && let Some(variable) = variable(walk, entry, at)
                {
                    variables.add(walk, variable, entry.0.range.clone());
                }
            }
            variables.list
        }
        _ => {
            walk.wrong_type(node, "env", "a map");
            Vec::new()
        }
    }
}

/// The variables of a list while they are collected.
#[derive(Default)]
struct Variables {
    list: Vec<(String, Template)>,
    places: HashMap<String, (usize, Range<usize>)>,
}

impl Variables {
    fn add(&mut self, walk: &mut Walk<'_>, (name, value): (String, Template), range: Range<usize>) {
        match self.places.get_mut(&name) {
            None => {
                self.places.insert(name.clone(), (self.list.len(), range));
                self.list.push((name, value));
            }
            Some((index, place)) => {
                let replaced = std::mem::replace(place, range);
                let message = format!("a later entry replaces `{}`", shown(&name));
                walk.problem(
                    Problem::new(Code::ReplacedVariable, replaced, message)
                        .hint("remove one of the two")
                        .warning(),
                );
                self.list[*index].1 = value;
            }
        }
    }
}

fn env_entry<'n>(walk: &mut Walk<'_>, item: &'n Node) -> Option<(&'n Key, &'n Node)> {
    match &item.kind {
        NodeKind::Map(entries) => match &entries[..] {
            [(key, value)] => Some((key, value)),
            _ => {
                let message = "an item of `env` sets one variable";
                walk.problem(
                    Problem::new(Code::InvalidValue, item.anchor(), message)
                        .hint("write `- ` before each variable, or leave all of them away"),
                );
                None
            }
        },
        NodeKind::Text(text) => {
            let hint = match text.value.split_once('=') {
                Some((name, value)) => format!("to set it, write `{}: {}`", shown(name), shown(value)),
                None => format!("to set it here, write `{}: …`", shown(&text.value)),
            };
            let message = "variables from the secrets are not supported yet";
            walk.problem(Problem::new(Code::NotSupportedYet, item.anchor(), message).hint(hint));
            None
        }
        _ => {
            walk.wrong_type(item, "env", "a map");
            None
        }
    }
}

fn variable(walk: &mut Walk<'_>, (key, value): (&Key, &Node), at: &str) -> Option<(String, Template)> {
    let field =
        Field { key: &key.text, path: format!("{at}.env.{}", shown(&key.text)), place: FieldPlace::Step };
    let value = walk.template(value, field);
    if key.text.is_empty() || key.text.contains(['=', '\0']) {
        let message = format!("`{}` cannot name a variable", shown(&key.text));
        walk.problem(
            Problem::new(Code::InvalidValue, key.range.clone(), message)
                .hint("a name is not empty and holds no `=`"),
        );
        return None;
    }
    Some((key.text.clone(), value?))
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
