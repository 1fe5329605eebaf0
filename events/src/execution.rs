//! Executions: one run of one revision of an action.
//!
//! Owns what an execution was asked to do and how it ended. Its jobs are aggregates of their own; an execution never
//! counts them, it is told.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::Definition;
use crate::blob::BlobRef;
use crate::event::event_types;
use crate::id::{ActionId, JobId};
use crate::image::ImagePin;
use crate::job;
use crate::rejection::{Code, Rejection};

event_types! {
    /// Somebody or something wants the action to run; its definition is pinned.
    Requested = "requested" / 4,
    /// It is known where it will work, with branches and commits pinned.
    Resolved = "resolved" / 1,
    /// Names of images mean these for all of its jobs from now on.
    ImagesPinned = "images_pinned" / 1,
    /// Its waiting jobs have nobody to run them: no runner of their pool with their labels takes jobs.
    Starved = "starved" / 2,
    /// Its jobs wait in vain no more.
    StarvationEnded = "starvation_ended" / 1,
    /// It is to stop.
    CancelRequested = "cancel_requested" / 1,
    /// Its last job has ended.
    Completed = "completed" / 1,
    /// Jobs that have ended are to be tried again; an execution that had completed goes on.
    RetryRequested = "retry_requested" / 1,
    /// Its patches are to be made a plan, although it was canceled.
    PlanRequested = "plan_requested" / 1,
}

/// Why an execution was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// By hand.
    Manual,
}

/// The payload of `execution.requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Requested {
    /// The action.
    pub action: ActionId,
    /// Its name.
    pub action_name: String,
    /// The revision that runs.
    pub revision: u32,
    /// The revision's definition.
    pub definition: Definition,
    /// The repositories to run over, as clone URLs or absolute paths; empty: what the definition's `on` says.
    pub repositories: Vec<String>,
    /// Why it runs.
    pub reason: Reason,
    /// Whether every step runs, whatever the step cache has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// The pool whose runners its jobs go to; absent: the one that the definition says.
    #[serde(default)]
    pub pool: Option<String>,
}

/// The payload of `execution.resolved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolved {
    /// A [`crate::document::Scope`].
    pub scope: BlobRef,
    /// How many workspaces it has: one job each.
    pub workspaces: u32,
    /// How many repositories were left out for a reason that is nobody's fault.
    pub skipped: u32,
    /// How many could not be reached.
    pub unreachable: u32,
}

/// The payload of `execution.images_pinned`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImagesPinned {
    /// Each name once, and none that was pinned before.
    pub images: Vec<ImagePin>,
}

/// The payload of `execution.starved`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Starved {
    /// The pool that its jobs ask for.
    pub pool: String,
    /// What is missing.
    pub lack: Lack,
    /// The same in words.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// What is missing where jobs wait in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// The pool has no runner.
    NoRunner,
    /// It has runners, and none with all the labels that the jobs ask for.
    Labels,
    /// Its runners finish what they run and take nothing new.
    Draining,
    /// Its runners take nothing for want of an engine, memory or disk.
    Trouble,
}

impl Lack {
    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRunner => "no_runner",
            Self::Labels => "labels",
            Self::Draining => "draining",
            Self::Trouble => "trouble",
        }
    }
}

/// The payload of `execution.starvation_ended`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StarvationEnded {}

/// The payload of `execution.cancel_requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CancelRequested {}

/// The payload of `execution.completed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Completed {
    /// How it went as a whole.
    pub outcome: Outcome,
    /// How its jobs ended.
    pub counts: Counts,
}

/// The payload of `execution.retry_requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryRequested {
    /// From 1 in each execution.
    pub number: u32,
    /// Which of the jobs that have ended by now.
    pub jobs: Selection,
}

/// Which jobs are to be tried again. Those that have not ended are left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Selection {
    /// Every one.
    All,
    /// Those that did not succeed: failed, timed out or canceled.
    Failed,
    /// This one.
    One {
        /// The job.
        job: JobId,
    },
}

impl Selection {
    /// Whether a job that ended like this is meant.
    pub fn includes(self, job: JobId, outcome: job::Outcome) -> bool {
        match self {
            Self::All => true,
            Self::Failed => outcome != job::Outcome::Succeeded,
            Self::One { job: one } => one == job,
        }
    }
}

/// The payload of `execution.plan_requested`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanRequested {}

/// How an execution went as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Every job succeeded.
    Succeeded,
    /// Some succeeded, some did not.
    PartiallyFailed,
    /// None succeeded.
    Failed,
    /// It was canceled.
    Canceled,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::PartiallyFailed, Self::Failed, Self::Canceled];

    /// The name in the API and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::PartiallyFailed => "partially_failed",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

/// How the jobs ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Jobs that succeeded, with or without a patch.
    pub succeeded: u32,
    /// Jobs that failed or timed out.
    pub failed: u32,
    /// Jobs that were canceled.
    pub canceled: u32,
    /// Repositories that could not be reached and got no job.
    pub unreachable: u32,
}

impl Counts {
    /// What the counts amount to. Nothing at all to do is a success, unless it was to stop: then nobody knows what there
    /// would have been.
    pub const fn outcome(&self, cancel_requested: bool) -> Outcome {
        match self {
            Self { succeeded: 0, failed: 0, .. } if cancel_requested => Outcome::Canceled,
            Self { canceled: 1.., .. } if cancel_requested => Outcome::Canceled,
            Self { failed: 0, unreachable: 0, canceled: 0, .. } => Outcome::Succeeded,
            Self { succeeded: 0, .. } => Outcome::Failed,
            _ => Outcome::PartiallyFailed,
        }
    }
}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// What was asked for; absent before.
    pub requested: Option<Requested>,
    /// Where it works; absent while that is unknown.
    pub resolved: Option<Resolved>,
    /// The digests that the names of its images mean, as far as one of its jobs has asked for them.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Why its jobs wait in vain; absent while they do not.
    pub starved: Option<Starved>,
    /// Whether it is to stop.
    pub cancel_requested: bool,
    /// How it ended; absent while it runs.
    pub completed: Option<Completed>,
    /// How often jobs were to be tried again.
    #[serde(default)]
    pub retries: u32,
    /// Whether somebody asked for a plan since it ended.
    #[serde(default)]
    pub plan_requested: bool,
}

/// What can be asked of an execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start it.
    Request(Requested),
    /// Note where it works.
    Resolve(Resolved),
    /// Note what names of images mean.
    PinImages(Vec<ImagePin>),
    /// Note that its jobs wait in vain.
    Starve(Starved),
    /// Note that they no longer do.
    EndStarvation,
    /// Stop it.
    RequestCancel,
    /// Try jobs again. The number is one more than the last request's: a repeated one is no second request.
    RequestRetry(RetryRequested),
    /// Make a plan of what there is.
    RequestPlan,
    /// Note that its last job has ended.
    Complete(Counts),
}

/// Decides what a command means for an execution in this state.
pub fn decide(execution: &Execution, command: Command) -> Result<Option<Event>, Rejection> {
    match command {
        Command::Request(requested) if execution.requested.is_none() => Ok(Some(requested.into())),
        // The id is the requester's own: a second request with it is the same request.
        Command::Request(_) => Ok(None),
        _ if execution.requested.is_none() => Err(Rejection::new(
            Code::NotFound,
            "there is no such execution",
            "`patchwave execution list` shows the executions there are.",
        )),
        Command::Resolve(resolved) if execution.resolved.is_none() && execution.completed.is_none() => {
            Ok(Some(resolved.into()))
        }
        // What was resolved first stands: jobs may run on it already. One that was canceled before needs no scope.
        Command::Resolve(_) => Ok(None),
        Command::PinImages(images) => Ok(pin_images(execution, images)),
        Command::Starve(starved) => Ok(starve(execution, starved)),
        Command::EndStarvation => Ok(execution.starved.as_ref().map(|_| StarvationEnded {}.into())),
        Command::RequestCancel => request_cancel(execution),
        Command::RequestRetry(request) => request_retry(execution, request),
        Command::RequestPlan => request_plan(execution),
        Command::Complete(counts) => complete(execution, counts),
    }
}

/// What was pinned first stands: jobs have run on it.
fn pin_images(execution: &Execution, images: Vec<ImagePin>) -> Option<Event> {
    let mut known = execution.images.clone();
    let is_news = |pin: &ImagePin| known.insert(pin.reference.clone(), pin.digest.clone()).is_none();
    let images: Vec<ImagePin> = images.into_iter().filter(is_news).collect();
    (!images.is_empty() && execution.completed.is_none()).then(|| ImagesPinned { images }.into())
}

fn request_cancel(execution: &Execution) -> Result<Option<Event>, Rejection> {
    if execution.completed.is_some() {
        return Err(Rejection::new(
            Code::AlreadyEnded,
            "the execution has ended already",
            "Nothing is running any more; `patchwave execution show` says how it ended.",
        ));
    }
    Ok((!execution.cancel_requested).then(|| CancelRequested {}.into()))
}

fn request_retry(execution: &Execution, request: RetryRequested) -> Result<Option<Event>, Rejection> {
    if request.number <= execution.retries {
        return Ok(None);
    }
    match &execution.completed {
        _ if Some(request.number) != execution.retries.checked_add(1) => Err(Rejection::new(
            Code::IllegalTransition,
            format!("retry {} cannot come after {}", request.number, execution.retries),
            "This is a fault of the product: please report it.",
        )),
        None if execution.cancel_requested => Err(Rejection::new(
            Code::NotEnded,
            "the execution is being canceled and has not ended yet",
            "Wait until it has (`patchwave execution show`), then retry it.",
        )),
        Some(completed) if !execution.leaves(completed, request.jobs) => Err(nothing_to_retry()),
        _ => Ok(Some(request.into())),
    }
}

fn nothing_to_retry() -> Rejection {
    Rejection::new(
        Code::NothingToRetry,
        "the execution has no job that could be tried again",
        "`patchwave execution show` lists its jobs; `retry --all` tries those that succeeded too. One that was canceled \
         before its repositories were known has none: run the action again.",
    )
}

fn request_plan(execution: &Execution) -> Result<Option<Event>, Rejection> {
    match &execution.completed {
        None => Err(Rejection::new(
            Code::NotEnded,
            "the execution has not ended yet",
            "Wait until it has, or cancel it: a plan is made of the patches that there are then.",
        )),
        // Each other end has a plan without being asked.
        Some(Completed { outcome: Outcome::Canceled, .. }) if !execution.plan_requested => {
            Ok(Some(PlanRequested {}.into()))
        }
        Some(_) => Ok(None),
    }
}

fn complete(execution: &Execution, counts: Counts) -> Result<Option<Event>, Rejection> {
    if execution.completed.is_some() {
        return Ok(None);
    }
    if execution.resolved.is_none() && !execution.cancel_requested {
        return Err(Rejection::new(
            Code::IllegalTransition,
            "the execution cannot complete before its scope is resolved",
            "This is a fault of the product: please report it.",
        ));
    }
    let outcome = counts.outcome(execution.cancel_requested);
    Ok(Some(Completed { outcome, counts }.into()))
}

impl Execution {
    /// What the names of its images mean.
    pub fn pins(&self) -> impl Iterator<Item = ImagePin> {
        let pin = |(reference, digest): (&String, &String)| ImagePin {
            reference: reference.clone(),
            digest: digest.clone(),
        };
        self.images.iter().map(pin)
    }

    /// Whether an end like this leaves jobs to try again. Jobs that a cancel came before still wait to be made.
    fn leaves(&self, completed: &Completed, jobs: Selection) -> bool {
        let workspaces = self.resolved.as_ref().map_or(0, |resolved| resolved.workspaces);
        match jobs {
            Selection::All | Selection::One { .. } => workspaces > 0,
            Selection::Failed => completed.counts.succeeded < workspaces,
        }
    }
}

/// The same lack in other words is no news: the words of a trouble may change every second.
fn starve(execution: &Execution, starved: Starved) -> Option<Event> {
    let known = execution.starved.as_ref().is_some_and(|known| known.lack == starved.lack);
    (!known && execution.completed.is_none()).then(|| starved.into())
}

/// Takes an event in.
pub fn evolve(mut execution: Execution, event: &Event) -> Execution {
    match event {
        Event::Requested(requested) => execution.requested = Some(requested.clone()),
        Event::Resolved(resolved) => execution.resolved = Some(resolved.clone()),
        Event::ImagesPinned(pinned) => {
            for pin in &pinned.images {
                execution.images.entry(pin.reference.clone()).or_insert_with(|| pin.digest.clone());
            }
        }
        Event::Starved(starved) => execution.starved = Some(starved.clone()),
        Event::StarvationEnded(StarvationEnded {}) => execution.starved = None,
        Event::CancelRequested(CancelRequested {}) => execution.cancel_requested = true,
        Event::Completed(completed) => {
            execution.completed = Some(completed.clone());
            execution.starved = None;
        }
        Event::RetryRequested(request) => {
            execution.retries = request.number;
            execution.completed = None;
            execution.starved = None;
            execution.cancel_requested = false;
            execution.plan_requested = false;
        }
        Event::PlanRequested(PlanRequested {}) => execution.plan_requested = true,
    }
    execution
}
