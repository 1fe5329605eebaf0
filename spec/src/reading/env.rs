//! `env`: the variables of a step.
//!
//! Owns its two forms: a map, and a list in which a name alone stands for the secret of that name. Never sees a secret's
//! value. Invariant: each variable comes from one place.

use std::collections::HashMap;
use std::ops::Range;

use events::secret::SecretName;

use super::walk::{Field, Walk};
use crate::diagnostic::{Code, Problem, shown};
use crate::document::{Key, Node, NodeKind, Scalar};
use crate::template::{FieldPlace, Template};

/// What a step finds in its environment.
#[derive(Default)]
pub(super) struct Env {
    pub(super) variables: Vec<(String, Template)>,
    pub(super) secrets: Vec<SecretName>,
}

/// Where a variable comes from.
enum Source {
    Template(Template),
    Secret(SecretName),
}

/// Reads `env`: a map, or a list of maps of one entry each, and of names, in which a later entry replaces an earlier one.
pub(super) fn env(walk: &mut Walk<'_>, node: &Node, at: &str) -> Env {
    match &node.kind {
        NodeKind::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| variable(walk, (key, value), at));
            let variables = entries.collect::<Vec<_>>().into_iter().flatten().collect();
            Env { variables, secrets: Vec::new() }
        }
        NodeKind::List(items) => {
            let mut entries = Entries::default();
            for item in items {
                if let Some((name, source, range)) = entry(walk, item, at) {
                    entries.add(walk, (name, source), range);
                }
            }
            entries.into_env()
        }
        _ => {
            walk.wrong_type(node, "env", "a map");
            Env::default()
        }
    }
}

/// The entries of a list while they are collected.
#[derive(Default)]
struct Entries {
    list: Vec<(String, Source)>,
    places: HashMap<String, (usize, Range<usize>)>,
}

impl Entries {
    fn add(&mut self, walk: &mut Walk<'_>, (name, source): (String, Source), range: Range<usize>) {
        match self.places.get_mut(&name) {
            None => {
                self.places.insert(name.clone(), (self.list.len(), range));
                self.list.push((name, source));
            }
            Some((index, place)) => {
                let replaced = std::mem::replace(place, range);
                let message = format!("a later entry replaces `{}`", shown(&name));
                walk.problem(
                    Problem::new(Code::ReplacedVariable, replaced, message)
                        .hint("remove one of the two")
                        .warning(),
                );
                self.list[*index].1 = source;
            }
        }
    }

    fn into_env(self) -> Env {
        let mut env = Env::default();
        for (name, source) in self.list {
            match source {
                Source::Template(template) => env.variables.push((name, template)),
                Source::Secret(secret) => env.secrets.push(secret),
            }
        }
        env
    }
}

fn entry(walk: &mut Walk<'_>, item: &Node, at: &str) -> Option<(String, Source, Range<usize>)> {
    match &item.kind {
        NodeKind::Map(entries) => match &entries[..] {
            [(key, value)] => {
                let (name, template) = variable(walk, (key, value), at)?;
                Some((name, Source::Template(template), key.range.clone()))
            }
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
            let secret = secret(walk, item, text)?;
            Some((secret.to_string(), Source::Secret(secret), item.anchor()))
        }
        _ => {
            walk.wrong_type(item, "env", "a map");
            None
        }
    }
}

/// The name of a secret, which is also the name of its variable.
fn secret(walk: &mut Walk<'_>, item: &Node, text: &Scalar) -> Option<SecretName> {
    let problem = match (text.value.parse(), text.value.split_once('=')) {
        (Ok(name), _) => return Some(name),
        (Err(_), Some((name, value))) => {
            let message = "a name alone stands for a secret, and a secret's name holds no `=`";
            Problem::new(Code::InvalidValue, item.anchor(), message).hint(format!(
                "to set the variable here, write `{}: {}`",
                shown(name),
                shown(value)
            ))
        }
        (Err(_), None) => {
            let message = format!("`{}` cannot name a secret", shown(&text.value));
            Problem::new(Code::InvalidValue, item.anchor(), message)
                .hint("a secret's name has up to 128 ASCII letters, digits and `_`, and no digit first")
        }
    };
    walk.problem(problem);
    None
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
