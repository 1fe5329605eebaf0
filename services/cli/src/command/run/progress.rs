//! What a person is told while an execution runs.
//!
//! Owns the state of each job as far as it is shown, and the words for what happened. Never draws anything.

use std::collections::BTreeMap;

use events::execution::{self, Outcome};
use events::id::JobId;
use events::job::{self, DiffStat, Failure};
use events::{Event, log::LogEnd};

use super::follow::Told;
use crate::terminal::inert;

/// How an execution stands.
#[derive(Debug, Default)]
pub(super) struct Progress {
    jobs: BTreeMap<JobId, Job>,
    /// How many jobs there will be; absent while that is unknown.
    pub(super) expected: Option<u64>,
    /// Why its jobs wait in vain; absent while they do not.
    pub(super) starved: Option<String>,
}

#[derive(Debug)]
struct Job {
    name: String,
    state: State,
    step: u32,
    /// Whether all that it has so far was taken from an earlier job.
    is_reused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Succeeded,
    Failed,
}

/// Something that a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remark {
    /// A line.
    Plain(String),
    /// A job ended well.
    Good(String),
    /// A job did not.
    Bad {
        /// The line.
        line: String,
        /// What to do about it.
        hint: String,
        /// Where its log is.
        log: Option<FailedLog>,
    },
}

/// The log of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FailedLog {
    pub(super) job: JobId,
    pub(super) attempt: u32,
    /// How many lines it has, if that is known.
    pub(super) lines: Option<u64>,
}

impl Progress {
    /// Takes an event in; returns what is to be said about it.
    pub(super) fn take(&mut self, told: &Told) -> Option<Remark> {
        match (&told.event, told.job()) {
            (Some(Event::Execution(event)), _) => self.take_execution(event),
            (Some(Event::Job(event)), Some(job)) => self.take_job(job, event),
            _ => None,
        }
    }

    fn take_execution(&mut self, event: &execution::Event) -> Option<Remark> {
        match event {
            execution::Event::Resolved(resolved) => {
                self.expected = Some(u64::from(resolved.workspaces));
                let mut text = format!("{} to do", counted(u64::from(resolved.workspaces), "job"));
                for (count, what) in [(resolved.skipped, "skipped"), (resolved.unreachable, "unreachable")] {
                    if count > 0 {
                        text.push_str(&format!(", {count} {what}"));
                    }
                }
                Some(Remark::Plain(text))
            }
            execution::Event::Starved(starved) => {
                let line = format!("jobs wait in vain: {}", inert(&starved.message));
                self.starved = Some(inert(&starved.message));
                Some(Remark::Bad { line, hint: inert(&starved.hint), log: None })
            }
            execution::Event::StarvationEnded(_) => {
                self.starved = None;
                Some(Remark::Plain("jobs wait in vain no more".to_owned()))
            }
            execution::Event::CancelRequested(_) => Some(Remark::Plain("somebody canceled it".to_owned())),
            execution::Event::RetryRequested(_) => {
                Some(Remark::Plain("somebody wants jobs to be tried again".to_owned()))
            }
            execution::Event::Requested(_)
            | execution::Event::ImagesPinned(_)
            | execution::Event::Completed(_)
            | execution::Event::PlanRequested(_) => None,
        }
    }

    fn take_job(&mut self, id: JobId, event: &job::Event) -> Option<Remark> {
        if let job::Event::Queued(queued) = event {
            let workspace = &queued.workspace;
            let path = if workspace.path.is_empty() { String::new() } else { format!("/{}", workspace.path) };
            let name = inert(&format!("{}{path}", workspace.repository));
            self.jobs.insert(id, Job { name, state: State::Waiting, step: 0, is_reused: false });
            return None;
        }
        let job = self.jobs.get_mut(&id)?;
        let state = match event {
            job::Event::Started(_) => State::Running,
            job::Event::StepStarted(step) => {
                job.step = step.step;
                job.is_reused = false;
                State::Running
            }
            job::Event::StepsReused(_) => {
                job.is_reused = true;
                State::Running
            }
            job::Event::Succeeded(_) => State::Succeeded,
            job::Event::Failed(_)
            | job::Event::TimedOut(_)
            | job::Event::QueueTimedOut(_)
            | job::Event::Canceled(_) => State::Failed,
            job::Event::Lost(_)
            | job::Event::Returned(_)
            | job::Event::Retried(_)
            | job::Event::Assigned(_) => {
                job.step = 0;
                job.is_reused = false;
                State::Waiting
            }
            _ => return None,
        };
        job.state = state;
        let remark = remark(id, &job.name, event);
        match remark {
            Some(Remark::Good(line)) if job.is_reused => Some(Remark::Good(format!("{line} (reused)"))),
            other => other,
        }
    }

    /// The jobs that run: each with its repository and its step.
    pub(super) fn running(&self) -> impl Iterator<Item = (JobId, String)> {
        let running = self.jobs.iter().filter(|(_, job)| job.state == State::Running);
        running.map(|(id, job)| {
            let step = if job.step > 0 { format!(", step {}", job.step) } else { String::new() };
            (*id, format!("{}{step}", job.name))
        })
    }

    /// How many jobs have ended.
    pub(super) fn ended(&self) -> u64 {
        self.count(State::Succeeded) + self.count(State::Failed)
    }

    /// The counts in words.
    pub(super) fn counts(&self) -> String {
        let counts =
            [(State::Running, "running"), (State::Succeeded, "succeeded"), (State::Failed, "failed")];
        let counts = counts.map(|(state, name)| (self.count(state), name));
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts = counts.map(|(count, name)| format!("{count} {name}"));
        let starved = self.starved.iter().map(|message| format!("the rest waits in vain: {message}"));
        counts.chain(starved).collect::<Vec<_>>().join(", ")
    }

    fn count(&self, state: State) -> u64 {
        self.jobs.values().filter(|job| job.state == state).count() as u64
    }
}

fn remark(id: JobId, name: &str, event: &job::Event) -> Option<Remark> {
    Some(match event {
        job::Event::Succeeded(end) if end.patch.is_none() => {
            Remark::Good(format!("{name}: nothing to change"))
        }
        job::Event::Succeeded(end) => Remark::Good(format!("{name}: changed {}", changes(end.diff_stat))),
        job::Event::Failed(end) => {
            let Failure { message, hint, .. } = &end.failure;
            let log = Some(failed_log(id, end.attempt, end.log.as_ref()));
            Remark::Bad { line: format!("{name}: {}", inert(message)), hint: inert(hint), log }
        }
        job::Event::TimedOut(end) => Remark::Bad {
            line: format!("{name}: {}", end.message()),
            hint: end.hint().to_owned(),
            log: Some(failed_log(id, end.attempt, Some(&end.log))),
        },
        job::Event::QueueTimedOut(end) => Remark::Bad {
            line: format!("{name}: {}", inert(&end.message())),
            hint: end.hint().to_owned(),
            log: None,
        },
        job::Event::Canceled(_) => {
            Remark::Bad { line: format!("{name}: canceled"), hint: String::new(), log: None }
        }
        job::Event::Lost(lost) => {
            let reason = inert(&lost.reason);
            Remark::Plain(format!("{name}: attempt {} was lost, tries again: {reason}", lost.attempt))
        }
        job::Event::Retried(_) => Remark::Plain(format!("{name}: tries again")),
        _ => return None,
    })
}

fn failed_log(job: JobId, attempt: u32, log: Option<&LogEnd>) -> FailedLog {
    FailedLog { job, attempt, lines: log.map(|log| log.lines) }
}

fn changes(stat: DiffStat) -> String {
    let DiffStat { files, insertions, deletions } = stat;
    format!("{} +{insertions} −{deletions}", counted(u64::from(files), "file"))
}

/// A number of things, in words.
pub(super) fn counted(count: u64, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// An outcome in words.
pub(super) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::PartiallyFailed => "partially failed",
        Outcome::Failed => "failed",
        Outcome::Canceled => "was canceled",
    }
}

#[cfg(test)]
mod tests {
    use events::id::ExecutionId;
    use serde_json::json;

    use super::*;

    fn told(job: u128, name: &str, data: serde_json::Value) -> Told {
        let id = JobId::from_uuid(uuid::Uuid::from_u128(job));
        let event = Event::Job(job::Event::from_json(name, data.to_string().as_bytes()).unwrap());
        Told { text: String::new(), sequence: 1, aggregate: id.to_string(), event: Some(event) }
    }

    fn queued(job: u128, repository: &str) -> Told {
        let blob = json!({ "kind": "source", "sha256": "0".repeat(64), "size": 1 });
        let workspace = json!({ "repository": repository, "url": "/r", "base_ref": "refs/heads/main",
            "base_oid": "0".repeat(40), "path": "lib", "source": blob });
        told(job, "queued", json!({ "workspace": workspace }))
    }

    fn log() -> serde_json::Value {
        json!({ "chunks": 1, "bytes": 9, "lines": 30, "sha256": "0".repeat(64) })
    }

    #[test]
    fn a_job_is_told_from_its_queue_to_its_end() {
        let mut progress = Progress::default();
        assert_eq!(progress.take(&queued(7, "al\u{1b}[2Jpha")), None);
        progress.take(&told(7, "started", json!({ "attempt": 1 })));
        progress.take(&told(7, "step_started", json!({ "attempt": 1, "step": 2 })));
        assert_eq!(progress.running().next().unwrap().1, "alpha/lib, step 2");
        assert_eq!(progress.counts(), "1 running");
        let lost = json!({ "attempt": 1, "runner": "local", "cause": "runner", "reason": "silent" });
        let remark = progress.take(&told(7, "lost", lost)).unwrap();
        assert_eq!(remark, Remark::Plain("alpha/lib: attempt 1 was lost, tries again: silent".to_owned()));
        let blob = json!({ "kind": "patch", "sha256": "0".repeat(64), "size": 1 });
        let stat = json!({ "files": 1, "insertions": 2, "deletions": 3 });
        let end = json!({ "attempt": 2, "patch": blob, "diff_stat": stat, "log": log() });
        assert_eq!(
            progress.take(&told(7, "succeeded", end)),
            Some(Remark::Good("alpha/lib: changed 1 file +2 −3".to_owned()))
        );
        assert_eq!((progress.ended(), progress.running().count()), (1, 0));
    }

    #[test]
    fn a_job_of_which_no_step_ran_says_so() {
        let mut progress = Progress::default();
        progress.take(&queued(7, "alpha"));
        progress.take(&told(7, "started", json!({ "attempt": 1 })));
        let ids = [ExecutionId::derived(&["e"]).to_string(), JobId::derived(&["j"]).to_string()];
        let reused = json!({ "attempt": 1, "step": 2, "execution": ids[0], "job": ids[1] });
        assert_eq!(progress.take(&told(7, "steps_reused", reused)), None);
        let stat = json!({ "files": 0, "insertions": 0, "deletions": 0 });
        let end = json!({ "attempt": 1, "patch": null, "diff_stat": stat, "log": log() });
        let line = "alpha/lib: nothing to change (reused)".to_owned();
        assert_eq!(progress.take(&told(7, "succeeded", end)), Some(Remark::Good(line)));
    }

    #[test]
    fn a_failure_says_why_and_where_its_log_is() {
        let mut progress = Progress::default();
        progress.take(&queued(9, "beta"));
        let failure = json!({ "kind": "step_exit", "step": 1, "exit_code": 3, "message": "step 1 ended with 3", "hint": "look" });
        let end = json!({ "attempt": 1, "failure": failure, "origin": "job", "log": log() });
        let remark = progress.take(&told(9, "failed", end)).unwrap();
        let job = JobId::from_uuid(uuid::Uuid::from_u128(9));
        let log = Some(FailedLog { job, attempt: 1, lines: Some(30) });
        let line = "beta/lib: step 1 ended with 3".to_owned();
        assert_eq!(remark, Remark::Bad { line, hint: "look".to_owned(), log });
        // Whoever retries it opens it again.
        progress.take(&told(9, "retried", json!({})));
        assert_eq!(progress.ended(), 0);
    }
}
