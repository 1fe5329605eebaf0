//! What a command means for a job.

use super::*;
use crate::Timestamp;
use crate::blob::BlobRef;
use crate::log::LogEnd;
use crate::rejection::{Code, Rejection};
use crate::secret::SecretVersion;

/// What can be asked of a job. A command that speaks for an attempt carries its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let it wait for a runner.
    Queue(Workspace),
    /// Give the next attempt to a runner.
    Assign {
        /// One more than the last attempt.
        attempt: u32,
        /// The runner.
        runner: RunnerId,
        /// Which values the steps get of the secrets that they ask for.
        secrets: Vec<SecretVersion>,
    },
    /// Note that the runner began.
    Start {
        /// The attempt.
        attempt: u32,
    },
    /// Note that a step began.
    StartStep(StepStarted),
    /// Note that a step ended.
    FinishStep(StepFinished),
    /// Note that a step does not run.
    SkipStep(StepSkipped),
    /// Note that steps do not run again.
    ReuseSteps(StepsReused),
    /// Note that the attempt ended well.
    Succeed(Succeeded),
    /// Note that the attempt failed.
    Fail {
        /// The attempt.
        attempt: u32,
        /// Why.
        failure: Failure,
        /// Its log.
        log: LogEnd,
    },
    /// Note that the attempt reached its limit.
    TimeOut(TimedOut),
    /// Note that the attempt is lost.
    Lose(Loss),
    /// Note that the attempt came back before it began.
    Return {
        /// The attempt.
        attempt: u32,
        /// Why, in words for an operator.
        reason: String,
    },
    /// Note that it waited for a runner as long as it may.
    TimeOutQueued(QueueTimedOut),
    /// Let it stop.
    RequestCancel,
    /// Note that it was stopped: by its runner, or while none had it.
    Cancel(Canceled),
    /// Try again after the end.
    Retry,
    /// Note that an attempt's log is stored.
    SealLog {
        /// The attempt, of which there may have been later ones.
        attempt: u32,
        /// The stored log.
        blob: BlobRef,
        /// What is in it.
        log: LogEnd,
    },
}

/// That an attempt is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The attempt.
    pub attempt: u32,
    /// What took it.
    pub cause: LossCause,
    /// Why, in words for an operator.
    pub reason: String,
    /// When this is decided: the next attempt waits from here.
    pub now: Timestamp,
}

/// Decides what a command means for a job in this state.
pub fn decide(job: &Job, command: Command) -> Result<Option<Event>, Rejection> {
    match command {
        Command::Queue(workspace) => Ok(match job.state {
            State::Absent => Some(Queued { workspace }.into()),
            _ => None,
        }),
        _ if job.state == State::Absent => Err(absent()),
        Command::Assign { attempt, runner, secrets } => assign(job, Assigned { attempt, runner, secrets }),
        Command::Start { attempt } => start(job, attempt),
        Command::StartStep(step) => start_step(job, step),
        Command::FinishStep(step) => finish_step(job, step),
        Command::SkipStep(step) => skip_step(job, step),
        Command::ReuseSteps(steps) => reuse_steps(job, steps),
        Command::Succeed(end) => running(job, end.attempt, end),
        Command::Fail { attempt, failure, log } => {
            let origin = failure.kind.origin();
            running(job, attempt, Failed { attempt, failure, origin, log: Some(log) })
        }
        Command::TimeOut(end) => running(job, end.attempt, end),
        Command::Lose(loss) => lose(job, loss),
        Command::Return { attempt, reason } => give_back(job, attempt, reason),
        Command::TimeOutQueued(limit) => Ok((job.state == State::Queued).then(|| limit.into())),
        Command::RequestCancel => request_cancel(job),
        Command::Cancel(canceled) => cancel(job, canceled),
        Command::Retry => retry(job),
        Command::SealLog { attempt, blob, log } => seal(job, LogSealed { attempt, blob, log }),
    }
}

fn assign(job: &Job, assigned: Assigned) -> Result<Option<Event>, Rejection> {
    let attempt = assigned.attempt;
    match &job.state {
        State::Queued if job.cancel_requested => Err(illegal(job, "be assigned: it is to be canceled")),
        State::Queued if Some(attempt) == job.attempt.checked_add(1) => Ok(Some(assigned.into())),
        // The values are those of the first time: a runner may have them already.
        State::Assigned { runner } if attempt == job.attempt && *runner == assigned.runner => Ok(None),
        State::Queued => Err(stale(job, attempt)),
        _ => Err(illegal(job, "be assigned")),
    }
}

fn start(job: &Job, attempt: u32) -> Result<Option<Event>, Rejection> {
    match &job.state {
        State::Assigned { .. } if attempt == job.attempt => Ok(Some(Started { attempt }.into())),
        State::Running { .. } if attempt == job.attempt => Ok(None),
        _ => Err(stale(job, attempt)),
    }
}

/// Steps begin one after the other; one that began already is no news.
fn start_step(job: &Job, step: StepStarted) -> Result<Option<Event>, Rejection> {
    if step.attempt == job.attempt && step.step <= job.step_started {
        return Ok(None);
    }
    if runs(job, step.attempt) && step.step > job.step_finished.saturating_add(1) {
        return Err(illegal(job, "leave out a step"));
    }
    running(job, step.attempt, step)
}

/// A step ends after it began; one that ended already is no news.
fn finish_step(job: &Job, step: StepFinished) -> Result<Option<Event>, Rejection> {
    if step.attempt == job.attempt && step.step <= job.step_finished {
        return Ok(None);
    }
    if runs(job, step.attempt) && step.step != job.step_started {
        return Err(illegal(job, "finish a step that did not begin"));
    }
    running(job, step.attempt, step)
}

/// A step is skipped in its turn; one that was skipped already is no news.
fn skip_step(job: &Job, step: StepSkipped) -> Result<Option<Event>, Rejection> {
    if step.attempt == job.attempt && step.step <= job.step_finished {
        return Ok(None);
    }
    let next = job.step_finished.saturating_add(1);
    if runs(job, step.attempt) && (step.step != next || job.step_started == next) {
        return Err(illegal(job, "skip a step that began or whose turn it is not"));
    }
    running(job, step.attempt, step)
}

/// Steps are reused before any other begins; told again it is no news.
fn reuse_steps(job: &Job, steps: StepsReused) -> Result<Option<Event>, Rejection> {
    if steps.attempt == job.attempt && steps.step <= job.step_finished {
        return Ok(None);
    }
    if runs(job, steps.attempt) && job.step_started > 0 {
        return Err(illegal(job, "reuse steps after one began"));
    }
    running(job, steps.attempt, steps)
}

/// Whether the order of steps matters: a straggler's earlier words were dropped, so its later ones need not fit.
fn runs(job: &Job, attempt: u32) -> bool {
    matches!(job.state, State::Running { .. }) && attempt == job.attempt
}

/// What only the attempt that runs right now may say.
fn running(job: &Job, attempt: u32, event: impl Into<Event>) -> Result<Option<Event>, Rejection> {
    match &job.state {
        State::Running { .. } if attempt == job.attempt => Ok(Some(event.into())),
        // An end that is said again is no news; it may be the same report delivered twice.
        State::Ended { .. } if attempt == job.attempt => Ok(None),
        State::Assigned { .. } if attempt == job.attempt => Err(illegal(job, "go on before it started")),
        _ => Err(stale(job, attempt)),
    }
}

/// A job that is to stop anyway is not given out again.
fn lose(job: &Job, loss: Loss) -> Result<Option<Event>, Rejection> {
    let attempt = loss.attempt;
    match &job.state {
        State::Assigned { runner } | State::Running { runner } if attempt == job.attempt => {
            Ok(Some(if job.cancel_requested {
                Canceled { attempt: Some(attempt), log: None }.into()
            } else if loss.cause != LossCause::Drained && job.losses.saturating_add(1) >= MAX_LOSSES {
                worn_out(&loss)
            } else {
                lost(job, runner, loss)
            }))
        }
        State::Ended { .. } if attempt == job.attempt => Ok(None),
        _ => Err(stale(job, attempt)),
    }
}

/// What has begun cannot be given back: it may have had effects.
fn give_back(job: &Job, attempt: u32, reason: String) -> Result<Option<Event>, Rejection> {
    match &job.state {
        State::Assigned { runner } if attempt == job.attempt => {
            Ok(Some(Returned { attempt, runner: runner.clone(), reason }.into()))
        }
        State::Running { .. } if attempt == job.attempt => Err(illegal(job, "be given back")),
        State::Ended { .. } if attempt == job.attempt => Ok(None),
        _ => Err(stale(job, attempt)),
    }
}

fn lost(job: &Job, runner: &RunnerId, loss: Loss) -> Event {
    let Loss { attempt, cause, reason, now } = loss;
    let wait = back_off(cause, job.losses);
    let retry_at = if wait.is_zero() { None } else { now.checked_add_signed(wait) };
    Lost { attempt, runner: runner.clone(), cause, reason, retry_at }.into()
}

fn worn_out(loss: &Loss) -> Event {
    let (kind, what, hint) = match loss.cause {
        LossCause::Infrastructure => (
            FailureKind::Infrastructure,
            "ended early through no fault of the job",
            "Look at the runners: container engine, registry and disk. Then `patchwave job retry` it.",
        ),
        LossCause::Runner | LossCause::Drained => (
            FailureKind::Lost,
            "were lost",
            "Look at the runners: does the job take too much memory or disk? Then `patchwave job retry` it.",
        ),
    };
    let message = format!("{MAX_LOSSES} attempts {what}; the last one: {}", loss.reason);
    let (step, exit_code, limit) = (None, None, None);
    let failure = Failure { kind, step, exit_code, limit, message, hint: hint.to_owned() };
    Failed { attempt: loss.attempt, failure, origin: FailureOrigin::Infrastructure, log: None }.into()
}

fn request_cancel(job: &Job) -> Result<Option<Event>, Rejection> {
    match job.state {
        State::Ended { .. } => Err(ended()),
        _ if job.cancel_requested => Ok(None),
        _ => Ok(Some(CancelRequested {}.into())),
    }
}

/// A job that waits is stopped by whoever decides, an attempt by its runner, which says so only when it was asked.
fn cancel(job: &Job, canceled: Canceled) -> Result<Option<Event>, Rejection> {
    match (&job.state, canceled.attempt) {
        (State::Queued, None) => Ok(Some(canceled.into())),
        (State::Ended { outcome: Outcome::Canceled }, None) => Ok(None),
        (State::Ended { .. }, None) => Err(ended()),
        (_, None) => Err(illegal(job, "be canceled without its runner")),
        (State::Assigned { .. } | State::Running { .. }, Some(attempt)) if attempt == job.attempt => {
            if !job.cancel_requested {
                return Err(illegal(job, "have been canceled by its runner: nobody asked for it"));
            }
            Ok(Some(canceled.into()))
        }
        (State::Ended { .. }, Some(attempt)) if attempt == job.attempt => Ok(None),
        (_, Some(attempt)) => Err(stale(job, attempt)),
    }
}

fn retry(job: &Job) -> Result<Option<Event>, Rejection> {
    match job.state {
        State::Ended { .. } => Ok(Some(Retried {}.into())),
        // It waits or runs already, which is what was asked for.
        _ => Ok(None),
    }
}

/// A log may be sealed again when more of it turned up: a runner that was cut off came back and sent the rest.
fn seal(job: &Job, sealed: LogSealed) -> Result<Option<Event>, Rejection> {
    if sealed.attempt == 0 || sealed.attempt > job.attempt {
        return Err(stale(job, sealed.attempt));
    }
    let known = job.sealed.iter().find(|(attempt, _)| *attempt == sealed.attempt);
    match known {
        Some((_, chunks)) if *chunks >= sealed.log.chunks => Ok(None),
        _ => Ok(Some(sealed.into())),
    }
}

fn absent() -> Rejection {
    let hint = "`patchwave execution show` lists an execution's jobs.";
    Rejection::new(Code::NotFound, "there is no such job", hint)
}

fn ended() -> Rejection {
    let hint = "Its outcome stands; `patchwave execution show` says what it is.";
    Rejection::new(Code::AlreadyEnded, "the job has ended already", hint)
}

fn stale(job: &Job, attempt: u32) -> Rejection {
    Rejection::new(
        Code::StaleAttempt,
        format!("attempt {attempt} is not the one that counts, which is {}", job.attempt),
        "Nothing to do: the later attempt goes on.",
    )
}

fn illegal(job: &Job, what: &str) -> Rejection {
    Rejection::new(
        Code::IllegalTransition,
        format!("a job that is {} cannot {what}", job.state.name()),
        "This is a fault of the product: please report it.",
    )
}

impl State {
    /// The name in messages, in the API and in SQL.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Queued => "queued",
            Self::Assigned { .. } => "assigned",
            Self::Running { .. } => "running",
            Self::Ended { outcome: Outcome::Succeeded } => "succeeded",
            Self::Ended { outcome: Outcome::Failed } => "failed",
            Self::Ended { outcome: Outcome::Canceled } => "canceled",
        }
    }
}
