//! `patchwave`: what a batch spec says beyond the format that it comes from, at the top level and in a step.
//!
//! Owns its keys and the fixed bounds of their values. The bounds keep out what is a slip of the pen and what no machine
//! could do; what a site allows is checked where the job runs, because it changes without the definition.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use events::runner::{MAX_LABEL, MAX_POOL, is_pool, read_label};

use super::walk::{Fields, Shape, Walk};
use super::{duration, registry, size};
use crate::diagnostic::{Code, Problem, nearest, shown};
use crate::document::{Node, NodeKind};
use crate::settings::{Limits, Network, OnLogLimit, Settings};

pub(super) const PATCHWAVE: Shape = Shape {
    what: "`patchwave`",
    keys: &[
        "pool",
        "labels",
        "maxJobs",
        "timeout",
        "stepTimeout",
        "queueTimeout",
        "network",
        "registries",
        "limits",
    ],
    elsewhere: &[
        ("memory", IN_LIMITS),
        ("cpu", IN_LIMITS),
        ("pids", IN_LIMITS),
        ("workspaceBytes", IN_LIMITS),
        ("workspaceFiles", IN_LIMITS),
        ("imageBytes", IN_LIMITS),
        ("logBytes", IN_LIMITS),
        ("onLogLimit", IN_LIMITS),
        ("logLineBytes", IN_LIMITS),
    ],
};

const IN_LIMITS: &str = "it belongs below `patchwave.limits`";

pub(super) const LIMITS: Shape = Shape {
    what: "`limits`",
    keys: &[
        "memory",
        "cpu",
        "pids",
        "workspaceBytes",
        "workspaceFiles",
        "imageBytes",
        "logBytes",
        "onLogLimit",
        "logLineBytes",
    ],
    elsewhere: &[("timeout", ABOVE), ("stepTimeout", ABOVE), ("network", ABOVE), ("maxJobs", ABOVE)],
};

const ABOVE: &str = "it belongs directly below `patchwave`";

pub(super) const STEP: Shape = Shape {
    what: "`patchwave` of a step",
    keys: &["timeout"],
    elsewhere: &[
        ("network", AT_THE_TOP),
        ("limits", AT_THE_TOP),
        ("pool", AT_THE_TOP),
        ("labels", AT_THE_TOP),
        ("maxJobs", AT_THE_TOP),
        ("stepTimeout", AT_THE_TOP),
        ("queueTimeout", AT_THE_TOP),
        ("registries", AT_THE_TOP),
    ],
};

const AT_THE_TOP: &str = "it holds for the whole job: write it below `patchwave` at the top level";

/// The most labels that a job can ask for.
const MAX_LABELS: usize = 16;

/// Less memory than this holds no shell beside what keeps a container.
const MEMORY: RangeInclusive<u64> = 16 << 20..=16 << 40;
/// Thousandths of a processor.
const CPU: RangeInclusive<u32> = 10..=1_024_000;
/// A step is a few processes by itself.
const PIDS: RangeInclusive<u64> = 16..=4_194_304;
/// Space on a disk.
const DISK: RangeInclusive<u64> = 1 << 20..=16 << 40;
const FILES: RangeInclusive<u64> = 1..=1_000_000_000;
/// Less than this holds no error message.
const LOG: RangeInclusive<u64> = 64 << 10..=16 << 30;
const LINE: RangeInclusive<u64> = 1 << 10..=1 << 30;
const JOBS: RangeInclusive<u64> = 1..=100_000;

/// Reads `patchwave` of the top level.
pub(super) fn settings(walk: &mut Walk<'_>, node: &Node) -> Settings {
    let Some(fields) = walk.map(node, &PATCHWAVE) else { return Settings::default() };
    Settings {
        pool: fields.get("pool").and_then(|node| pool(walk, node)),
        labels: fields.get("labels").map(|node| labels(walk, node)).unwrap_or_default(),
        max_jobs: number(walk, &fields, "maxJobs", JOBS),
        timeout: duration(walk, &fields, "timeout"),
        step_timeout: duration(walk, &fields, "stepTimeout"),
        queue_timeout: duration(walk, &fields, "queueTimeout"),
        network: choice(walk, &fields, "network", &[("egress", Network::Egress), ("none", Network::None)]),
        registries: fields.get("registries").map(|node| registry::registries(walk, node)).unwrap_or_default(),
        limits: fields.get("limits").map(|node| limits(walk, node)).unwrap_or_default(),
    }
}

/// Reads `patchwave` of a step: its time limit.
pub(super) fn step_timeout(walk: &mut Walk<'_>, node: &Node) -> Option<Duration> {
    let fields = walk.map(node, &STEP)?;
    duration(walk, &fields, "timeout")
}

/// Reads `patchwave.limits`.
pub(super) fn limits(walk: &mut Walk<'_>, node: &Node) -> Limits {
    let Some(fields) = walk.map(node, &LIMITS) else { return Limits::default() };
    let choices = [("continue", OnLogLimit::Continue), ("fail", OnLogLimit::Fail)];
    Limits {
        memory_bytes: bytes(walk, &fields, "memory", MEMORY),
        cpu_millis: fields.get("cpu").and_then(|node| cpu(walk, node)),
        pids: number(walk, &fields, "pids", PIDS),
        workspace_bytes: bytes(walk, &fields, "workspaceBytes", DISK),
        workspace_files: number(walk, &fields, "workspaceFiles", FILES).map(u64::from),
        image_bytes: bytes(walk, &fields, "imageBytes", DISK),
        log_bytes: bytes(walk, &fields, "logBytes", LOG),
        on_log_limit: choice(walk, &fields, "onLogLimit", &choices),
        log_line_bytes: bytes(walk, &fields, "logLineBytes", LINE),
    }
}

fn pool(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let name = walk.filled(node, "pool")?;
    if is_pool(name) {
        return Some(name.to_owned());
    }
    let message = format!("`{}` cannot be the name of a pool", shown(name));
    let hint = format!("a pool is named by ASCII letters, digits, `_` and `-`, at most {MAX_POOL}");
    invalid(walk, node, message, hint);
    None
}

fn labels(walk: &mut Walk<'_>, node: &Node) -> BTreeSet<String> {
    let Some(nodes) = walk.list(node, "labels") else { return BTreeSet::new() };
    if nodes.len() > MAX_LABELS {
        let message = format!("`labels` has {} entries", nodes.len());
        invalid(walk, node, message, format!("a job asks for at most {MAX_LABELS}"));
    }
    nodes.iter().filter_map(|node| label(walk, node)).collect()
}

fn label(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let text = walk.filled(node, "labels")?;
    if read_label(text).is_some() {
        return Some(text.to_owned());
    }
    let message = format!("`{}` cannot be a label", shown(text));
    let hint = format!(
        "write NAME or NAME=VALUE, in ASCII without blanks and commas, at most {MAX_LABEL} characters"
    );
    invalid(walk, node, message, hint);
    None
}

/// A value that is one of a few words.
fn choice<T: Copy>(
    walk: &mut Walk<'_>,
    fields: &Fields<'_>,
    key: &'static str,
    choices: &[(&str, T)],
) -> Option<T> {
    let node = fields.get(key)?;
    let word = walk.filled(node, key)?.trim();
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
        return Some(*value);
    }
    let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
    let hint = match nearest(word, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("it is one of {}", super::walk::listed(&names)),
    };
    invalid(walk, node, format!("`{key}` cannot be `{}`", shown(word)), hint);
    None
}

fn duration(walk: &mut Walk<'_>, fields: &Fields<'_>, key: &'static str) -> Option<Duration> {
    let node = fields.get(key)?;
    let written = scalar(walk, node, (key, "a duration", duration::USAGE))?;
    duration::parse(written).map_err(|message| invalid(walk, node, message, duration::USAGE)).ok()
}

fn bytes(
    walk: &mut Walk<'_>,
    fields: &Fields<'_>,
    key: &'static str,
    bounds: RangeInclusive<u64>,
) -> Option<u64> {
    let node = fields.get(key)?;
    let written = scalar(walk, node, (key, "a size", size::USAGE))?;
    let Some(bytes) = size::parse(written) else {
        invalid(walk, node, format!("`{}` is no size", shown(written)), size::USAGE);
        return None;
    };
    let (least, most) = (size::written(*bounds.start()), size::written(*bounds.end()));
    within(walk, (node, key), bounds.contains(&bytes), (least, most)).then_some(bytes)
}

fn number(
    walk: &mut Walk<'_>,
    fields: &Fields<'_>,
    key: &'static str,
    bounds: RangeInclusive<u64>,
) -> Option<u32> {
    let node = fields.get(key)?;
    let written = scalar(walk, node, (key, "a number", "write a whole number"))?;
    let number = match written.parse::<u64>() {
        Ok(number) => number,
        // A number that does not fit is a number all the same.
        Err(_) if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) => u64::MAX,
        Err(_) => {
            invalid(walk, node, format!("`{}` is no whole number", shown(written)), "write it in digits");
            return None;
        }
    };
    let inside = bounds.contains(&number);
    let within = within(walk, (node, key), inside, (bounds.start(), bounds.end()));
    u32::try_from(number).ok().filter(|_| within)
}

/// Processors, as `2`, `1.5` or `0.25`.
fn cpu(walk: &mut Walk<'_>, node: &Node) -> Option<u32> {
    const USAGE: &str = "write how many processors, for example `2` or `0.5`";
    let written = scalar(walk, node, ("cpu", "a number", USAGE))?;
    let (whole, decimals) = written.split_once('.').unwrap_or((written, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
        let message = format!("`{}` is no number of processors", shown(written));
        invalid(walk, node, message, format!("{USAGE}, with at most three digits after the point"));
        return None;
    }
    let whole: u32 = whole.parse().unwrap_or(u32::MAX);
    let thousandths: u32 = format!("{decimals:0<3}").parse().ok()?;
    let millis = whole.saturating_mul(1000).saturating_add(thousandths);
    within(walk, (node, "cpu"), CPU.contains(&millis), ("0.01", "1024")).then_some(millis)
}

/// The text of a number or a text.
fn scalar<'n>(
    walk: &mut Walk<'_>,
    node: &'n Node,
    (key, what, usage): (&str, &str, &str),
) -> Option<&'n str> {
    match &node.kind {
        NodeKind::Number(number) => Some(number),
        NodeKind::Text(text) => Some(text.value.trim()),
        _ => {
            let message = format!("`{key}` takes {what}, not {}", node.describe());
            walk.problem(Problem::new(Code::WrongType, node.anchor(), message).hint(usage));
            None
        }
    }
}

/// Whether a value is within its bounds; one that is not is reported.
fn within(
    walk: &mut Walk<'_>,
    (node, key): (&Node, &str),
    inside: bool,
    (least, most): (impl Display, impl Display),
) -> bool {
    if !inside {
        let message = format!("this is out of the bounds of `{key}`");
        invalid(walk, node, message, format!("it is at least {least} and at most {most}"));
    }
    inside
}

fn invalid(walk: &mut Walk<'_>, node: &Node, message: impl Into<String>, hint: impl Into<String>) {
    walk.problem(Problem::new(Code::InvalidValue, node.anchor(), message).hint(hint));
}
