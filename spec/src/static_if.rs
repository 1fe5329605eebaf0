//! Which steps run, and in which images: what can be said before anything runs, and what is left to say when they do.
//!
//! Owns the meaning of `if`: a step runs if the text is exactly `true`. Invariant: what is decided early is what would
//! have been decided late.

use crate::context::Context;
use crate::definition::{Action, Container, Definition, Step};
use crate::template::{Known, RenderError, Template};

/// What is known of a step before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It will run, or it never will.
    Decided(bool),
    /// That depends on what earlier steps do.
    Later,
}

impl Step {
    /// Whether it runs, as far as that can be said before anything runs. `context` knows the repository, the batch change
    /// and the workspace's path; the rest of it is not looked at.
    pub fn runs_statically(&self, context: &Context) -> Decision {
        decided(self.condition.as_ref(), context, Known::Workspace)
    }

    /// The image that it names, if that can be said before anything runs and it is to be had, not built. `context` as above.
    pub fn image_statically(&self, context: &Context) -> Option<String> {
        match &self.container {
            Container::Image(template) => template.render_known(context, Known::Workspace).ok(),
            Container::Dockerfile(_) => None,
        }
    }

    /// The same where it decides what the step does: in which image a `command` step runs is its runner's to say.
    pub fn cacheable_image(&self, context: &Context) -> Option<String> {
        match &self.action {
            Action::Command(_) => None,
            Action::Script(_) | Action::Arguments(_) => self.image_statically(context),
        }
    }

    /// Whether it runs, now that all steps before it have ended.
    pub fn runs(&self, context: &Context) -> Result<bool, RenderError> {
        self.condition.as_ref().map_or(Ok(true), |condition| Ok(says_true(&condition.render(context)?)))
    }
}

impl Definition {
    /// The steps of a workspace by their positions in `steps`, without those that can never run there. None: the workspace
    /// gets no job, because [`NO_STEPS`].
    pub fn steps_in(&self, context: &Context) -> Vec<usize> {
        let runs = |step: &Step| step.runs_statically(context) != Decision::Decided(false);
        self.steps.iter().enumerate().filter(|(_, step)| runs(step)).map(|(position, _)| position).collect()
    }
}

/// Why a workspace without steps gets no job, for people.
pub const NO_STEPS: &str = "the `if` of every step says that it does not run here";

/// What is known of a condition. A fault is left to be shown by the job that meets it.
pub(crate) fn decided(condition: Option<&Template>, context: &Context, known: Known) -> Decision {
    let Some(condition) = condition else { return Decision::Decided(true) };
    condition.decide(context, known).map_or(Decision::Later, Decision::Decided)
}

/// Whether a rendered condition says that a step runs.
pub(crate) fn says_true(text: &str) -> bool {
    text.trim() == "true"
}
