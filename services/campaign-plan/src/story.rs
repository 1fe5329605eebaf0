//! An execution's story: what was asked for, and how each of its jobs ended.
//!
//! Owns the fold over one execution, read from the log when it is needed. The state at the newest completion is what
//! counts: jobs that were taken up again after it belong to the next one.

use std::collections::{BTreeMap, BTreeSet};

use broker::{Broker, FollowError, Start};
use events::blob::BlobRef;
use events::envelope::Recorded;
use events::execution::{self, Requested};
use events::git::{BranchRef, Oid};
use events::id::{EventId, ExecutionId, JobId, PlanId};
use events::job::{self, DiffStat, Failure, Outputs, QueueTimedOut, Queued, TimedOut};
use events::{Aggregate, Event, Undecodable};

/// What of an execution matters to its plan.
const EXECUTION_EVENTS: [&str; 4] = ["requested", "resolved", "completed", "plan_requested"];
const JOB_EVENTS: [&str; 7] =
    ["queued", "retried", "succeeded", "failed", "timed_out", "queue_timed_out", "canceled"];

/// An execution up to its newest completion.
#[derive(Debug, Default)]
pub(crate) struct Story {
    pub(crate) requested: Option<Requested>,
    pub(crate) scope: Option<BlobRef>,
    /// The jobs as they stood at the newest completion.
    pub(crate) jobs: BTreeMap<JobId, Job>,
    /// The newest completion.
    pub(crate) completed: Option<Completion>,
    /// The plans of all earlier completions.
    pub(crate) earlier: BTreeSet<PlanId>,
    /// The jobs as they stand.
    current: BTreeMap<JobId, Job>,
}

/// That an execution completed, and what that amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    /// The newest event that made it so.
    pub(crate) event: EventId,
    /// Whether it gets a plan: one that was canceled does when somebody asks.
    pub(crate) is_wanted: bool,
    /// Derived from the execution and its jobs' attempts: other attempts make another plan.
    pub(crate) plan: PlanId,
}

/// A job, as far as its plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) repository: String,
    pub(crate) url: String,
    pub(crate) base_ref: BranchRef,
    pub(crate) base_oid: Oid,
    pub(crate) path: String,
    /// The attempt that ended it; 0 if none did.
    attempt: u32,
    /// Whether it ended before another attempt was given out: canceled, or for want of a runner.
    is_unattempted: bool,
    /// How it ended.
    pub(crate) end: Option<End>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Succeeded { patch: Option<BlobRef>, diff_stat: DiffStat, outputs: Outputs },
    Failed(Failure),
    TimedOut(TimedOut),
    QueueTimedOut(QueueTimedOut),
    Canceled,
}

/// Why a story cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoryError {
    /// The log.
    #[error("the log cannot be read")]
    Follow(#[from] FollowError),
    /// An event.
    #[error("event {sequence} of the execution cannot be read")]
    Undecodable {
        /// Where it stands.
        sequence: u64,
        /// Why.
        source: Undecodable,
    },
}

/// Whether an end is one that gets a plan without being asked.
pub(crate) fn wants_plan(completed: &execution::Completed) -> bool {
    completed.outcome != execution::Outcome::Canceled
}

impl Story {
    /// Reads an execution's story up to the log's end.
    pub(crate) async fn read(broker: &Broker, execution: ExecutionId) -> Result<Self, StoryError> {
        let token = execution.token();
        let own = EXECUTION_EVENTS.iter().map(|name| format!("ev.execution.{token}.{name}"));
        let jobs = JOB_EVENTS.iter().map(|name| format!("ev.execution.{token}.job.*.{name}"));
        let filters: Vec<String> = own.chain(jobs).collect();
        let mut events = broker.follow_events(&filters, Start::After(0));
        let mut story = Self::default();
        while !events.caught_up() {
            for message in events.next().await?.messages {
                let sequence = message.sequence;
                let recorded =
                    message.event().map_err(|source| StoryError::Undecodable { sequence, source })?;
                story.apply(&recorded);
            }
        }
        Ok(story)
    }

    /// Takes an event in.
    pub(crate) fn apply(&mut self, recorded: &Recorded) {
        match (&recorded.aggregate, &recorded.event) {
            (Aggregate::Execution(id), Event::Execution(event)) => match event {
                execution::Event::Requested(requested) => self.requested = Some(requested.clone()),
                execution::Event::Resolved(resolved) => self.scope = Some(resolved.scope.clone()),
                execution::Event::Completed(completed) => {
                    self.complete(*id, recorded.id, wants_plan(completed));
                }
                execution::Event::PlanRequested(_) => {
                    if let Some(completion) = &mut self.completed {
                        completion.event = recorded.id;
                        completion.is_wanted = true;
                    }
                }
                execution::Event::CancelRequested(_)
                | execution::Event::RetryRequested(_)
                | execution::Event::Starved(_)
                | execution::Event::StarvationEnded(_)
                | execution::Event::ImagesPinned(_) => {}
            },
            (Aggregate::Job(_, id), Event::Job(event)) => self.apply_job(*id, event),
            _ => {}
        }
    }

    fn complete(&mut self, execution: ExecutionId, event: EventId, is_wanted: bool) {
        let execution = execution.to_string();
        let attempts = self.current.iter().map(|(id, job)| match job.is_unattempted {
            true => format!("{id}.{}.unattempted", job.attempt),
            false => format!("{id}.{}", job.attempt),
        });
        let parts: Vec<String> = std::iter::once(execution).chain(attempts).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let plan = PlanId::derived(&parts);
        self.earlier.extend(self.completed.map(|earlier| earlier.plan));
        self.earlier.remove(&plan);
        self.completed = Some(Completion { event, is_wanted, plan });
        self.jobs = self.current.clone();
    }

    fn apply_job(&mut self, id: JobId, event: &job::Event) {
        if let job::Event::Queued(Queued { workspace }) = event {
            let workspace = workspace.clone();
            self.current.entry(id).or_insert(Job {
                repository: workspace.repository,
                url: workspace.url,
                base_ref: workspace.base_ref,
                base_oid: workspace.base_oid,
                path: workspace.path,
                attempt: 0,
                is_unattempted: false,
                end: None,
            });
        }
        let Some(job) = self.current.get_mut(&id) else { return };
        let (attempt, end) = match event {
            job::Event::Succeeded(end) => {
                let (patch, outputs) = (end.patch.clone(), end.outputs.clone());
                (end.attempt, End::Succeeded { patch, diff_stat: end.diff_stat, outputs })
            }
            job::Event::Failed(end) => (end.attempt, End::Failed(end.failure.clone())),
            job::Event::TimedOut(end) => (end.attempt, End::TimedOut(end.clone())),
            job::Event::QueueTimedOut(end) => {
                job.is_unattempted = true;
                (job.attempt, End::QueueTimedOut(end.clone()))
            }
            job::Event::Canceled(end) => {
                job.is_unattempted = end.attempt.is_none();
                (end.attempt.unwrap_or(job.attempt), End::Canceled)
            }
            job::Event::Retried(_) => {
                job.is_unattempted = false;
                job.end = None;
                return;
            }
            _ => return,
        };
        job.attempt = attempt;
        job.end = Some(end);
    }
}

impl Job {
    /// The place that it works in, as people would say it.
    pub(crate) fn place(&self) -> String {
        let branch = self.base_ref.short();
        match self.path.as_str() {
            "" => format!("the root on {branch}"),
            path => format!("`{path}` on {branch}"),
        }
    }
}
