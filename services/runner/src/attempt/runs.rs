//! Runs: which steps run, and which of them share a container.
//!
//! Owns the grouping, and what is passed over. Pure. Invariant: the runs in order are the steps in order, without those that
//! do not run.

use std::collections::VecDeque;

use events::job::Failure;
use spec::{Action, Container, Decision, Definition, Step, Template};

use super::story::Story;

/// Steps by their positions that share one container; never none.
pub(super) type Run = Vec<usize>;

/// The runs that are still to come.
pub(super) struct Course<'a> {
    steps: &'a [Step],
    runs: VecDeque<Run>,
}

impl<'a> Course<'a> {
    /// The runs of a job of which nothing ran yet but the first steps, so many of them.
    pub(super) fn of(definition: &'a Definition, story: &Story, done: usize) -> Self {
        let steps = &definition.steps;
        let mut runs: VecDeque<Run> = VecDeque::new();
        for position in definition.steps_in(story.context()).into_iter().filter(|position| *position >= done)
        {
            match runs.back_mut() {
                Some(run) if joins(steps, run, position, story) => run.push(position),
                _ => runs.push_back(vec![position]),
            }
        }
        Self { steps, runs }
    }

    /// The next run whose first step runs, as far as the story has come.
    ///
    /// # Errors
    /// When the `if` of a step cannot be rendered.
    pub(super) fn next(&mut self, story: &Story) -> Result<Option<Run>, Failure> {
        while let Some(run) = self.runs.pop_front() {
            if story.runs(&self.steps[run[0]], number(run[0]))? {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// Whether a step that may come before the next one that certainly runs speaks of something by this name.
    pub(super) fn will_mention(&self, name: &str, story: &Story) -> bool {
        for run in &self.runs {
            let first = &self.steps[run[0]];
            if mentions(first, name) {
                return true;
            }
            if is_certain(first, story) {
                break;
            }
        }
        false
    }
}

/// The number of the step at a position, from 1.
pub(super) fn number(position: usize) -> u32 {
    position as u32 + 1
}

fn is_certain(step: &Step, story: &Story) -> bool {
    step.runs_statically(story.context()) == Decision::Decided(true)
}

/// Whether a step can run in the container of those before it. Whether one runs at all that waits for what they do is
/// known too late for that.
fn joins(steps: &[Step], run: &[usize], position: usize, story: &Story) -> bool {
    let (first, last, step) = (&steps[run[0]], &steps[run[run.len() - 1]], &steps[position]);
    let looks_back = last.outputs.iter().any(|output| output.value.source().contains("_files"));
    is_certain(first, story) && is_certain(step, story) && !looks_back && shares(first, step)
}

/// Whether a step fits into the container of an earlier one. Mounts are fixed when a container is created; and a list
/// of changed files is only right while nothing runs that an earlier step left behind.
fn shares(first: &Step, step: &Step) -> bool {
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
            let changes = HAPPENED.iter().any(|name| one.source().contains(name));
            one.source() == other.source() && !changes
        }
        _ => false,
    }
}

/// The variables that depend on what earlier steps did.
pub(super) const HAPPENED: [&str; 3] = ["previous_step", "steps", "outputs"];

/// Whether what makes the step ready speaks of something by this name. Too often costs work, never a wrong result.
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
    container.into_iter().chain(action).chain(named).chain(&step.condition)
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
        let definition = crate::fixture::definition(&text);
        let story = Story::default();
        Course::of(&definition, &story, 0).runs.iter().map(Vec::len).collect()
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
    fn a_step_that_may_not_run_is_alone_and_one_that_never_runs_is_not_there() {
        let later = "- run: a\n  container: one\n  if: ${{ eq outputs.x \"y\" }}\n";
        let never = "- run: a\n  container: one\n  if: ${{ eq repository.name \"other\" }}\n";
        let gives = "- run: a\n  container: one\n  outputs: { x: { value: y } }\n";
        assert_eq!(runs(&[gives, A, later, A, A]), [2, 1, 2]);
        assert_eq!(runs(&[A, never, A]), [2]);
        assert_eq!(runs(&[never]), [0; 0]);
        let looks = "- run: a\n  container: one\n  outputs: { x: { value: \"${{ join step.added_files \\\" \\\" }}\" } }\n";
        assert_eq!(runs(&[looks, A, A]), [1, 2]);
    }

    #[test]
    fn steps_with_other_secrets_do_not_meet() {
        let secret = "- run: a\n  container: one\n  env: [TOKEN]\n";
        assert_eq!(runs(&[A, secret, secret, A]), [1, 2, 1]);
    }
}
