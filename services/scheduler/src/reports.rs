//! Reports: what a runner says, checked and turned into a fact.
//!
//! Owns the check: this runner holds this very attempt, and the job can make the step. A word from an attempt that was
//! given away is dropped; one that makes no sense is buried, never acknowledged away.

use events::Rejection;
use events::id::{CommandId, RunnerId};
use events::job::{self, Command, Job, StepFinished, StepStarted, Succeeded, TimedOut};
use events::rejection::Code;
use events::report::{Report, What};

/// What a report means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a fact.
    Fact(job::Event),
    /// It changes nothing.
    Done,
    /// It makes no sense.
    Dead(String),
}

/// Judges a report on a job; absent: the scheduler does not know the job, whose execution has ended.
pub(crate) fn judge(job: Option<&Job>, runner: &RunnerId, report: &Report) -> Verdict {
    let Some(job) = job else { return Verdict::Done };
    if report.attempt == job.attempt && job.runner().is_some_and(|holder| holder != runner) {
        return Verdict::Dead(format!(
            "{runner} reports on attempt {} which it was never given",
            report.attempt
        ));
    }
    match job::decide(job, command(report)) {
        Ok(Some(event)) => Verdict::Fact(event),
        Ok(None) => Verdict::Done,
        Err(Rejection { code: Code::StaleAttempt, .. }) if report.attempt < job.attempt || is_over(job) => {
            Verdict::Done
        }
        Err(rejection) => Verdict::Dead(rejection.message),
    }
}

/// Whether the current attempt is already over: a straggler's verdict no longer counts.
fn is_over(job: &Job) -> bool {
    job.runner().is_none()
}

/// The command that a report stands for. A repeated report makes the same command.
pub(crate) fn command_id(report: &Report) -> CommandId {
    let (job, attempt, number) =
        (report.job.to_string(), report.attempt.to_string(), report.number.to_string());
    CommandId::derived(&["report", &job, &attempt, &number])
}

fn command(report: &Report) -> Command {
    let attempt = report.attempt;
    match report.what.clone() {
        What::Started => Command::Start { attempt },
        What::StepStarted { step } => Command::StartStep(StepStarted { attempt, step }),
        What::StepFinished { step, exit_code, duration_ms } => {
            Command::FinishStep(StepFinished { attempt, step, exit_code, duration_ms })
        }
        What::Succeeded { patch, diff_stat, log } => {
            Command::Succeed(Succeeded { attempt, patch, diff_stat, log })
        }
        What::Failed { failure, log } => Command::Fail { attempt, failure, log },
        What::TimedOut { limit_ms, step, log } => Command::TimeOut(TimedOut { attempt, limit_ms, step, log }),
        What::Returned { reason } => Command::Return { attempt, reason },
        What::Abandoned { reason, .. } => Command::Lose { attempt, reason },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use events::id::{ExecutionId, JobId};
    use events::job::{Assigned, State};

    use super::*;

    fn runner(name: &str) -> RunnerId {
        name.parse().unwrap()
    }

    fn running(attempt: u32, on: &str) -> Job {
        let assigned = job::Event::Assigned(Assigned { attempt, runner: runner(on), secrets: Vec::new() });
        let started = job::Event::Started(job::Started { attempt });
        let queued = Job { state: State::Queued, attempt: attempt - 1, ..Job::default() };
        [assigned, started].iter().fold(queued, job::evolve)
    }

    fn report(attempt: u32, what: What) -> Report {
        Report {
            execution: ExecutionId::derived(&["e"]),
            job: JobId::derived(&["j"]),
            attempt,
            number: 1,
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            what,
        }
    }

    #[test]
    fn the_holder_of_the_attempt_is_believed() {
        let verdict = judge(Some(&running(2, "a")), &runner("a"), &report(2, What::StepStarted { step: 1 }));
        assert_eq!(verdict, Verdict::Fact(job::Event::StepStarted(StepStarted { attempt: 2, step: 1 })));
    }

    #[test]
    fn a_straggler_changes_nothing() {
        let late = report(1, What::StepStarted { step: 1 });
        assert_eq!(judge(Some(&running(2, "a")), &runner("b"), &late), Verdict::Done);
        assert_eq!(judge(None, &runner("b"), &late), Verdict::Done);
        let lost = Job { state: State::Queued, attempt: 1, ..Job::default() };
        assert_eq!(judge(Some(&lost), &runner("b"), &late), Verdict::Done);
    }

    #[test]
    fn a_runner_cannot_speak_for_another() {
        let verdict = judge(Some(&running(2, "a")), &runner("b"), &report(2, What::StepStarted { step: 1 }));
        assert!(matches!(verdict, Verdict::Dead(_)), "{verdict:?}");
    }

    #[test]
    fn an_attempt_that_was_never_given_out_is_buried() {
        let verdict = judge(Some(&running(2, "a")), &runner("a"), &report(3, What::Started));
        assert!(matches!(verdict, Verdict::Dead(_)), "{verdict:?}");
    }
}
