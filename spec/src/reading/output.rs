//! `outputs`: what a step hands on.
//!
//! Owns the keys of an output and the names that outputs may have. Never evaluates one.

use super::walk::{Field, Shape, Walk};
use crate::diagnostic::{Code, Problem, did_you_mean, shown};
use crate::document::{Key, Node};
use crate::output::{Output, OutputFormat};
use crate::template::FieldPlace;

pub(super) const OUTPUT: Shape = Shape { what: "an output", keys: &["value", "format"], elsewhere: &[] };

const FORMATS: [OutputFormat; 3] = [OutputFormat::Text, OutputFormat::Json, OutputFormat::Yaml];

/// The longest name, and the most outputs of a step.
const MAX_NAME: usize = 200;
const MAX_OUTPUTS: usize = 100;

/// Reads `outputs`. Later steps know their names.
pub(super) fn outputs(walk: &mut Walk<'_>, node: &Node, at: &str) -> Vec<Output> {
    let entries = walk.entries(node, "outputs").unwrap_or_default();
    if entries.len() > MAX_OUTPUTS {
        let message = format!("the step has {} outputs, {MAX_OUTPUTS} are the most", entries.len());
        walk.problem(
            Problem::new(Code::TooLarge, node.anchor(), message)
                .hint("hand several values on as one, with `format: json`"),
        );
    }
    let outputs: Vec<Output> =
        entries.iter().filter_map(|(key, node)| output(walk, (key, node), at)).collect();
    // One that is wrong is known all the same, so that it is not reported wherever it is used.
    walk.outputs.extend(entries.iter().map(|(key, _)| key.text.clone()));
    outputs
}

fn output(walk: &mut Walk<'_>, (key, node): (&Key, &Node), at: &str) -> Option<Output> {
    let is_name = (1..=MAX_NAME).contains(&key.text.len()) && !key.text.contains(|c: char| c.is_control());
    if !is_name {
        let message = format!("`{}` cannot name an output", shown(&key.text));
        walk.problem(
            Problem::new(Code::InvalidValue, key.range.clone(), message).hint(
                "choose a short name of letters, digits and `_`, as templates write it behind `outputs.`",
            ),
        );
    }
    let fields = walk.map(node, &OUTPUT)?;
    let format = fields.get("format").map_or(Some(OutputFormat::Text), |node| format(walk, node));
    let path = format!("{at}.outputs.{}", shown(&key.text));
    let node = walk.required(&fields, "value")?;
    let value = walk.template(node, Field { key: "value", path, place: FieldPlace::Output });
    Some(Output { name: key.text.clone(), value: value?, format: format? }).filter(|_| is_name)
}

fn format(walk: &mut Walk<'_>, node: &Node) -> Option<OutputFormat> {
    let name = walk.filled(node, "format")?;
    let found = FORMATS.into_iter().find(|format| format.as_str() == name);
    if found.is_none() {
        let known = FORMATS.map(OutputFormat::as_str);
        let hint = did_you_mean(name, &known).unwrap_or_else(|| "formats: `text`, `json`, `yaml`".to_owned());
        let message = format!("there is no format `{}`", shown(name));
        walk.problem(Problem::new(Code::InvalidValue, node.anchor(), message).hint(hint));
    }
    found
}
