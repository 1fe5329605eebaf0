//! Jobs: one workspace of one execution, tried until it ends.
//!
//! Owns the life of a job and the fence between its attempts: whatever an attempt that is not the current one says
//! changes nothing. A job ends exactly once, and only a retry, which is a person's wish, opens it again.

mod decide;
mod events;
mod limit;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

pub use decide::{Command, Loss, decide};
pub use events::*;
pub use limit::{Limit, LimitName, timed_out};

use crate::Timestamp;
use crate::id::RunnerId;
use crate::secret::SecretVersion;
use crate::ticket::Workspace;

/// How many attempts may be lost before the job fails: a job that takes its runner down with it must not take the whole
/// fleet down.
pub const MAX_LOSSES: u32 = 3;

/// How long the next attempt waits after the first loss; after each further one five times as long. A runner that went is
/// replaced at once, an engine or a registry that does not work needs a moment.
pub const fn back_off(cause: LossCause, losses: u32) -> TimeDelta {
    let first = match cause {
        LossCause::Runner => 1,
        LossCause::Infrastructure => 5,
        LossCause::Drained => return TimeDelta::zero(),
    };
    TimeDelta::seconds(match losses {
        0 => first,
        1 => 5 * first,
        _ => 25 * first,
    })
}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Where it works; absent before it is queued.
    pub workspace: Option<Workspace>,
    /// Where it stands.
    pub state: State,
    /// The last attempt that was given out; 0 before the first.
    pub attempt: u32,
    /// Which values the steps of this attempt get of the secrets that they ask for.
    #[serde(default)]
    pub secrets: Vec<SecretVersion>,
    /// How many attempts were lost since it was queued or retried; those that were handed back do not count.
    pub losses: u32,
    /// When the next attempt may begin after a loss; absent: at once.
    pub retry_at: Option<Timestamp>,
    /// The last step of this attempt that began, was skipped or reused; 0 before the first.
    pub step_started: u32,
    /// The last step of this attempt that ended, was skipped or reused; 0 before the first.
    pub step_finished: u32,
    /// Whether it is tried again although it had succeeded: then nothing is taken from the step cache.
    #[serde(default)]
    pub anew: bool,
    /// Whether somebody wants it to stop.
    pub cancel_requested: bool,
    /// The attempts whose log is sealed, and how many chunks each has.
    pub sealed: Vec<(u32, u64)>,
}

/// Where a job stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum State {
    /// It does not exist.
    #[default]
    Absent,
    /// It waits for a runner.
    Queued,
    /// A runner has its ticket.
    Assigned {
        /// The runner.
        runner: RunnerId,
    },
    /// The runner works on it.
    Running {
        /// The runner.
        runner: RunnerId,
    },
    /// It ended.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All steps ended with 0.
    Succeeded,
    /// A step or the definition failed, a limit was reached, or its runners were lost.
    Failed,
    /// Somebody stopped it.
    Canceled,
}

impl Job {
    /// The runner that holds the current attempt.
    pub const fn runner(&self) -> Option<&RunnerId> {
        match &self.state {
            State::Assigned { runner } | State::Running { runner } => Some(runner),
            State::Absent | State::Queued | State::Ended { .. } => None,
        }
    }

    /// Whether it has ended, and how.
    pub const fn outcome(&self) -> Option<Outcome> {
        match &self.state {
            State::Ended { outcome } => Some(*outcome),
            _ => None,
        }
    }
}

/// Takes an event in.
pub fn evolve(mut job: Job, event: &Event) -> Job {
    match event {
        Event::Queued(queued) => {
            job.workspace = Some(queued.workspace.clone());
            job.state = State::Queued;
        }
        Event::Assigned(assigned) => {
            job.attempt = assigned.attempt;
            job.secrets.clone_from(&assigned.secrets);
            job.retry_at = None;
            job.step_started = 0;
            job.step_finished = 0;
            job.state = State::Assigned { runner: assigned.runner.clone() };
        }
        Event::Started(_) => {
            if let State::Assigned { runner } = job.state {
                job.state = State::Running { runner };
            }
        }
        Event::StepStarted(started) => job.step_started = started.step,
        Event::StepFinished(finished) => job.step_finished = finished.step,
        Event::StepSkipped(skipped) => {
            job.step_started = skipped.step;
            job.step_finished = skipped.step;
        }
        Event::StepsReused(reused) => {
            job.step_started = reused.step;
            job.step_finished = reused.step;
        }
        Event::Succeeded(_) => job.state = State::Ended { outcome: Outcome::Succeeded },
        Event::Failed(_) | Event::TimedOut(_) | Event::QueueTimedOut(_) => {
            job.state = State::Ended { outcome: Outcome::Failed };
        }
        Event::Lost(lost) => {
            job.losses = job.losses.saturating_add(u32::from(lost.cause != LossCause::Drained));
            job.retry_at = lost.retry_at;
            job.state = State::Queued;
        }
        Event::Returned(_) => job.state = State::Queued,
        Event::CancelRequested(CancelRequested {}) => job.cancel_requested = true,
        Event::Canceled(_) => job.state = State::Ended { outcome: Outcome::Canceled },
        Event::Retried(Retried {}) => {
            job.anew = job.outcome() == Some(Outcome::Succeeded);
            job.losses = 0;
            job.retry_at = None;
            job.cancel_requested = false;
            job.state = State::Queued;
        }
        Event::LogSealed(sealed) => {
            job.sealed.retain(|(attempt, _)| *attempt != sealed.attempt);
            job.sealed.push((sealed.attempt, sealed.log.chunks));
        }
    }
    job
}
