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
    let mounts = first.files.is_empty()
        && step.files.is_empty()
        && first.mounts == step.mounts
        && first.cache_dirs == step.cache_dirs;
    // What an earlier step left running could be looked into by one that lists other secrets.
    let secrets = first.secrets == step.secrets;
    scripts && mounts && secrets && same_image(&first.container, &step.container) && !mentions(step, "_files")
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    /// How many steps each run has.
    fn runs(steps: &[&str]) -> Vec<usize> {
        let steps = steps.concat();
        let text = format!(
            "name: n\ndescription: d\nsteps:\n{steps}changesetTemplate:\n  title: t\n  body: b\n  branch: b\n  commit:\n    \
             message: m\n"
        );
        of(&crate::fixture::definition(&text).steps).iter().map(Range::len).collect()
    }

    const A: &str = "- run: a\n  container: one\n";
    const B: &str = "- run: b\n  container: two\n";

    #[test]
    fn neighbours_with_one_image_share_a_container() {
        assert_eq!(runs(&[A, A, B, A]), [2, 1, 1]);
        assert_eq!(runs(&[A]), [1]);
    }

    #[test]
    fn an_image_that_depends_on_what_happened_is_asked_for_each_time() {
        let same = "- run: a\n  container: ${{ repository.name }}\n";
        let other = "- run: a\n  container: ${{ previous_step.stdout }}\n";
        assert_eq!(runs(&[same, same]), [2]);
        assert_eq!(runs(&[other, other]), [1, 1]);
    }

    #[test]
    fn a_step_with_files_or_that_looks_at_changes_has_a_container_of_its_own() {
        let files = "- run: a\n  container: one\n  files:\n    /x: y\n";
        let looks = "- run: echo ${{ join previous_step.added_files \" \" }}\n  container: one\n";
        assert_eq!(runs(&[A, files, A]), [1, 1, 1]);
        let mounts = "- run: a\n  container: one\n  mount: [{ path: x, mountpoint: /x }]\n";
        assert_eq!(runs(&[A, mounts, mounts]), [1, 2]);
        assert_eq!(runs(&[A, looks, A]), [1, 2]);
    }

    #[test]
    fn steps_with_other_secrets_do_not_meet() {
        let secret = "- run: a\n  container: one\n  env: [TOKEN]\n";
        assert_eq!(runs(&[A, secret, secret, A]), [1, 2, 1]);
    }
}
