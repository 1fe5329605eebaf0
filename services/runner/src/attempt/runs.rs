//! Runs: which steps share a container.
//!
//! Owns the grouping. Pure. Invariant: the runs in order are the steps in order.

use std::ops::Range;

use spec::{Action, Container, Step, Template};

/// Groups steps into runs, each of which has one container.
pub(super) fn of(steps: &[Step]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match runs.last_mut() {
            Some(run) if joins(&steps[run.start], step) => run.end = index + 1,
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

/// Whether a step can run in the container of an earlier one. Mounts are fixed when a container is created; and a list
/// of changed files is only right while nothing runs that an earlier step left behind.
fn joins(first: &Step, step: &Step) -> bool {
    let scripts = matches!((&first.action, &step.action), (Action::Script(_), Action::Script(_)));
    let mounts = first.files.is_empty() && step.files.is_empty() && first.cache_dirs == step.cache_dirs;
    scripts && mounts && same_image(&first.container, &step.container) && !mentions(step, "_files")
}

fn same_image(one: &Container, other: &Container) -> bool {
    match (one, other) {
        (Container::Dockerfile(one), Container::Dockerfile(other)) => one == other,
        (Container::Image(one), Container::Image(other)) => {
            let changes = ["previous_step", "steps"].iter().any(|name| one.source().contains(name));
            one.source() == other.source() && !changes
        }
        _ => false,
    }
}

/// Whether a template of the step speaks of something by this name. Too often costs work, never a wrong result.
pub(super) fn mentions(step: &Step, name: &str) -> bool {
    templates(step).any(|template| template.source().contains(name))
}

fn templates(step: &Step) -> impl Iterator<Item = &Template> {
    let container = match &step.container {
        Container::Image(template) => Some(template),
        Container::Dockerfile(_) => None,
    };
    let action = match &step.action {
        Action::Script(template) => Some(template),
        Action::Arguments(_) | Action::Command(_) => None,
    };
    let named = step.env.iter().chain(&step.files).map(|(_, template)| template);
    container.into_iter().chain(action).chain(named)
}
