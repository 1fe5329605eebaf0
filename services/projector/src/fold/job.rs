//! What a job's events do to its rows, and to its execution's counts.
//!
//! Owns the one place where a job changes its state. Invariant: an execution's counts are the states of its jobs.

use events::Timestamp;
use events::envelope::Recorded;
use events::id::{ExecutionId, JobId};
use events::job::{self, TimedOut};
use events::log::LogEnd;

use super::Fold;
use crate::columns::Word;
use crate::rows::{Attempt, Execution, Job, Step};

type Ids = (ExecutionId, JobId);

impl Fold {
    /// Takes a job's event in.
    pub(super) fn job(&mut self, recorded: &Recorded, ids: Ids, event: &job::Event) {
        let time = recorded.time;
        match event {
            job::Event::Queued(queued) => {
                self.jobs.put(queued_job(recorded, ids, queued));
                self.count(ids.0, "queued", 1);
            }
            job::Event::Assigned(assigned) => self.assign(recorded, ids, assigned),
            job::Event::Started(started) => {
                self.change(recorded, ids, "running", |job| job.started_at = Some(time));
                if let Some(attempt) = self.attempts.change(&(ids.1, started.attempt)) {
                    attempt.state = Word::Borrowed("running");
                    attempt.started_at = Some(time);
                }
            }
            job::Event::StepStarted(_) | job::Event::StepFinished(_) | job::Event::StepSkipped(_) => {
                self.step(recorded, ids.1, event);
            }
            job::Event::StepsReused(reused) => {
                if let Some(attempt) = self.attempts.change(&(ids.1, reused.attempt)) {
                    attempt.reused_step = Some(reused.step);
                    attempt.reused_execution_id = Some(reused.execution);
                    attempt.reused_job_id = Some(reused.job);
                }
            }
            job::Event::Succeeded(succeeded) => {
                self.change(recorded, ids, "succeeded", |job| succeed(job, time, succeeded));
                self.end_attempt(ids.1, succeeded.attempt, ("succeeded", time), Why::default());
                if let Some(attempt) = self.attempts.change(&(ids.1, succeeded.attempt)) {
                    patched(attempt, succeeded);
                }
                self.log(ids.1, succeeded.attempt, &succeeded.log);
            }
            job::Event::Failed(_) | job::Event::TimedOut(_) => self.fail(recorded, ids, event),
            job::Event::Lost(lost) => {
                self.change(recorded, ids, "queued", |job| {
                    reopen(job);
                    job.retry_at = lost.retry_at;
                });
                let why = Why {
                    reason: Some(&lost.reason),
                    origin: Some(job::FailureOrigin::Infrastructure),
                    cause: Some(lost.cause),
                };
                self.end_attempt(ids.1, lost.attempt, ("lost", time), why);
            }
            job::Event::Returned(returned) => {
                self.change(recorded, ids, "queued", reopen);
                let why = Why { reason: Some(&returned.reason), ..Why::default() };
                self.end_attempt(ids.1, returned.attempt, ("returned", time), why);
            }
            job::Event::QueueTimedOut(end) => {
                self.change(recorded, ids, "failed", |job| put_failure(job, time, waited_too_long(end)));
            }
            job::Event::CancelRequested(job::CancelRequested {}) => {
                if let Some(job) = self.jobs.change(&(ids.1,)) {
                    job.cancel_requested = true;
                    job.updated_sequence = recorded.sequence;
                }
            }
            job::Event::Canceled(canceled) => {
                self.change(recorded, ids, "canceled", |job| {
                    job.retry_at = None;
                    job.ended_at = Some(time);
                });
                if let Some(attempt) = canceled.attempt {
                    self.end_attempt(ids.1, attempt, ("canceled", time), Why::default());
                    if let Some(log) = &canceled.log {
                        self.log(ids.1, attempt, log);
                    }
                }
            }
            job::Event::Retried(job::Retried {}) => self.change(recorded, ids, "queued", |job| {
                reopen(job);
                job.cancel_requested = false;
            }),
            job::Event::LogSealed(sealed) => {
                if let Some(attempt) = self.attempts.change(&(ids.1, sealed.attempt)) {
                    attempt.sealed_sha256 = Some(sealed.blob.sha256.to_string());
                    attempt.sealed_size = Some(sealed.blob.size);
                }
                self.log(ids.1, sealed.attempt, &sealed.log);
            }
        }
    }

    fn assign(&mut self, recorded: &Recorded, ids: Ids, assigned: &job::Assigned) {
        self.change(recorded, ids, "assigned", |job| {
            job.attempt = assigned.attempt;
            job.runner_id = Some(assigned.runner.clone());
            job.retry_at = None;
        });
        self.attempts.put(Attempt {
            job_id: ids.1,
            number: assigned.attempt,
            execution_id: ids.0,
            runner_id: assigned.runner.clone(),
            state: Word::Borrowed("assigned"),
            reason: None,
            failure_origin: None,
            loss_cause: None,
            assigned_at: recorded.time,
            started_at: None,
            ended_at: None,
            patch_sha256: None,
            patch_size: None,
            files: None,
            insertions: None,
            deletions: None,
            log_chunks: None,
            log_bytes: None,
            log_lines: None,
            log_sha256: None,
            sealed_sha256: None,
            sealed_size: None,
            outputs: None,
            secrets: super::json(&assigned.secrets),
            reused_step: None,
            reused_execution_id: None,
            reused_job_id: None,
        });
    }

    fn fail(&mut self, recorded: &Recorded, ids: Ids, event: &job::Event) {
        let (attempt, failure, log, state) = match event {
            job::Event::Failed(failed) => {
                let state = match failed.origin {
                    job::FailureOrigin::Infrastructure => "lost",
                    job::FailureOrigin::Job => "failed",
                };
                (failed.attempt, described(failed), failed.log.as_ref(), state)
            }
            job::Event::TimedOut(timed_out) => {
                (timed_out.attempt, limit_reached(timed_out), Some(&timed_out.log), "timed_out")
            }
            _ => return,
        };
        let why = Why { reason: failure.message.as_deref(), origin: Some(failure.origin), cause: None };
        self.end_attempt(ids.1, attempt, (state, recorded.time), why);
        if let Some(log) = log {
            self.log(ids.1, attempt, log);
        }
        self.change(recorded, ids, "failed", |job| put_failure(job, recorded.time, failure));
    }

    fn step(&mut self, recorded: &Recorded, job_id: JobId, event: &job::Event) {
        let begun = |attempt, number, skipped| Step {
            job_id,
            attempt,
            number,
            started_at: recorded.time,
            skipped,
            exit_code: None,
            duration_ms: None,
        };
        match event {
            job::Event::StepStarted(started) => {
                self.steps.put(begun(started.attempt, started.step, false));
            }
            job::Event::StepSkipped(skipped) => {
                self.steps.put(begun(skipped.attempt, skipped.step, true));
            }
            job::Event::StepFinished(finished) => {
                if let Some(step) = self.steps.change(&(job_id, finished.attempt, finished.step)) {
                    step.exit_code = Some(finished.exit_code);
                    step.duration_ms = Some(finished.duration_ms);
                }
            }
            _ => {}
        }
    }

    /// Moves a job to another state, and its execution's counts with it.
    fn change(&mut self, recorded: &Recorded, ids: Ids, state: &'static str, change: impl FnOnce(&mut Job)) {
        let Some(job) = self.jobs.change(&(ids.1,)) else { return };
        let before = std::mem::replace(&mut job.state, Word::Borrowed(state));
        job.updated_sequence = recorded.sequence;
        change(job);
        self.count(ids.0, &before, -1);
        self.count(ids.0, state, 1);
    }

    fn count(&mut self, execution: ExecutionId, state: &str, by: i64) {
        if let Some(count) = self.executions.change(&(execution,)).and_then(|row| counter(row, state)) {
            *count += by;
        }
    }

    fn end_attempt(&mut self, job: JobId, number: u32, end: (&'static str, Timestamp), why: Why<'_>) {
        if let Some(attempt) = self.attempts.change(&(job, number)) {
            attempt.state = Word::Borrowed(end.0);
            attempt.ended_at = Some(end.1);
            attempt.reason = why.reason.map(str::to_owned);
            attempt.failure_origin = why.origin.map(|origin| Word::Borrowed(origin.as_str()));
            attempt.loss_cause = why.cause.map(|cause| Word::Borrowed(cause.as_str()));
        }
    }

    fn log(&mut self, job: JobId, number: u32, log: &LogEnd) {
        if let Some(attempt) = self.attempts.change(&(job, number)) {
            attempt.log_chunks = Some(log.chunks);
            attempt.log_bytes = Some(log.bytes);
            attempt.log_lines = Some(log.lines);
            attempt.log_sha256 = Some(log.sha256.to_string());
        }
    }
}

fn counter<'a>(row: &'a mut Execution, state: &str) -> Option<&'a mut i64> {
    match state {
        "queued" => Some(&mut row.queued),
        "assigned" | "running" => Some(&mut row.running),
        "succeeded" => Some(&mut row.succeeded),
        "failed" => Some(&mut row.failed),
        "canceled" => Some(&mut row.canceled),
        _ => None,
    }
}

fn queued_job(recorded: &Recorded, ids: Ids, queued: &job::Queued) -> Job {
    let workspace = &queued.workspace;
    Job {
        id: ids.1,
        execution_id: ids.0,
        repository: workspace.repository.clone(),
        url: workspace.url.clone(),
        base_ref: workspace.base_ref.to_string(),
        base_oid: workspace.base_oid.to_string(),
        path: workspace.path.clone(),
        state: Word::Borrowed("queued"),
        attempt: 0,
        runner_id: None,
        cancel_requested: false,
        retry_at: None,
        failure_origin: None,
        failure_kind: None,
        failure_step: None,
        failure_exit_code: None,
        failure_message: None,
        failure_hint: None,
        failure_limit: None,
        failure_limit_value: None,
        patch_sha256: None,
        patch_size: None,
        files: None,
        insertions: None,
        deletions: None,
        queued_at: recorded.time,
        started_at: None,
        ended_at: None,
        updated_sequence: recorded.sequence,
    }
}

fn succeed(job: &mut Job, time: Timestamp, succeeded: &job::Succeeded) {
    job.ended_at = Some(time);
    job.patch_sha256 = succeeded.patch.as_ref().map(|patch| patch.sha256.to_string());
    job.patch_size = succeeded.patch.as_ref().map(|patch| patch.size);
    job.files = Some(succeeded.diff_stat.files);
    job.insertions = Some(succeeded.diff_stat.insertions);
    job.deletions = Some(succeeded.diff_stat.deletions);
}

fn patched(attempt: &mut Attempt, succeeded: &job::Succeeded) {
    attempt.patch_sha256 = succeeded.patch.as_ref().map(|patch| patch.sha256.to_string());
    attempt.patch_size = succeeded.patch.as_ref().map(|patch| patch.size);
    attempt.files = Some(succeeded.diff_stat.files);
    attempt.insertions = Some(succeeded.diff_stat.insertions);
    attempt.deletions = Some(succeeded.diff_stat.deletions);
    attempt.outputs = (!succeeded.outputs.is_empty()).then(|| super::json(&succeeded.outputs));
}

/// A job that waits again has no outcome; what earlier attempts came to stands in their rows.
fn reopen(job: &mut Job) {
    job.runner_id = None;
    job.retry_at = None;
    job.failure_origin = None;
    job.failure_kind = None;
    job.failure_step = None;
    job.failure_exit_code = None;
    job.failure_message = None;
    job.failure_hint = None;
    job.failure_limit = None;
    job.failure_limit_value = None;
    job.patch_sha256 = None;
    job.patch_size = None;
    job.files = None;
    job.insertions = None;
    job.deletions = None;
    job.started_at = None;
    job.ended_at = None;
}

/// Why an attempt did not succeed.
#[derive(Clone, Copy, Default)]
struct Why<'a> {
    reason: Option<&'a str>,
    origin: Option<job::FailureOrigin>,
    cause: Option<job::LossCause>,
}

/// A failure as the columns hold it.
struct FailureColumns {
    origin: job::FailureOrigin,
    kind: Option<Word>,
    step: Option<u32>,
    exit_code: Option<i64>,
    message: Option<String>,
    hint: Option<String>,
    limit: Option<Word>,
    limit_value: Option<u64>,
}

fn put_failure(job: &mut Job, time: Timestamp, failure: FailureColumns) {
    job.ended_at = Some(time);
    job.retry_at = None;
    job.failure_origin = Some(Word::Borrowed(failure.origin.as_str()));
    job.failure_kind = failure.kind;
    job.failure_step = failure.step;
    job.failure_exit_code = failure.exit_code;
    job.failure_message = failure.message;
    job.failure_hint = failure.hint;
    job.failure_limit = failure.limit;
    job.failure_limit_value = failure.limit_value;
}

fn described(failed: &job::Failed) -> FailureColumns {
    let failure = &failed.failure;
    FailureColumns {
        origin: failed.origin,
        kind: Some(Word::Borrowed(failure.kind.as_str())),
        step: failure.step,
        exit_code: failure.exit_code,
        message: Some(failure.message.clone()),
        hint: Some(failure.hint.clone()),
        limit: failure.limit.map(|limit| Word::Borrowed(limit.name.as_str())),
        limit_value: failure.limit.map(|limit| limit.value),
    }
}

/// A limit that was reached is a failure like any other to whoever reads the job.
fn limit_reached(end: &TimedOut) -> FailureColumns {
    FailureColumns {
        origin: job::FailureOrigin::Job,
        kind: Some(Word::Borrowed("timed_out")),
        step: end.step,
        exit_code: None,
        message: Some(end.message()),
        hint: Some(end.hint().to_owned()),
        limit: Some(Word::Borrowed(end.limit().name.as_str())),
        limit_value: Some(end.limit().value),
    }
}

fn waited_too_long(end: &job::QueueTimedOut) -> FailureColumns {
    FailureColumns {
        origin: job::FailureOrigin::Infrastructure,
        kind: Some(Word::Borrowed("queue_timed_out")),
        step: None,
        exit_code: None,
        message: Some(end.message()),
        hint: Some(end.hint().to_owned()),
        limit: Some(Word::Borrowed("queue_timeout")),
        limit_value: Some(end.limit_ms),
    }
}
