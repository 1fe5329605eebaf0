//! Reports: what a runner says, checked and turned into a fact.
//!
//! Owns the check: this runner holds this very attempt, and the job can make the step. A word from an attempt that was
//! given away is dropped; one that makes no sense is buried, never acknowledged away.

use events::id::{CommandId, RunnerId};
use events::image::ImagePin;
use events::job::{
    self, Canceled, Command, Job, Loss, StepFinished, StepSkipped, StepStarted, StepsReused, Succeeded,
    TimedOut,
};
use events::rejection::Code;
use events::report::{Report, What};
use events::{Rejection, Timestamp};

/// What a report means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is a fact.
    Fact(job::Event),
    /// The names of images mean these, unless it is known already what they mean.
    Images(Vec<ImagePin>),
    /// It changes nothing.
    Done,
    /// It makes no sense.
    Dead(String),
}

/// Judges a report on a job; absent: the scheduler does not know the job, whose execution has ended.
pub(crate) fn judge(job: Option<&Job>, runner: &RunnerId, report: &Report, now: Timestamp) -> Verdict {
    let Some(job) = job else { return Verdict::Done };
    if report.attempt == job.attempt && job.runner().is_some_and(|holder| holder != runner) {
        return Verdict::Dead(format!(
            "{runner} reports on attempt {} which it was never given",
            report.attempt
        ));
    }
    if let What::Images { images } = &report.what {
        return judge_images(job, report.attempt, images);
    }
    let Some(command) = command(report, now) else { return Verdict::Done };
    match job::decide(job, command) {
        Ok(Some(event)) => Verdict::Fact(event),
        Ok(None) => Verdict::Done,
        Err(Rejection { code: Code::StaleAttempt, .. }) if report.attempt < job.attempt || is_over(job) => {
            Verdict::Done
        }
        Err(rejection) => Verdict::Dead(rejection.message),
    }
}

fn judge_images(job: &Job, attempt: u32, images: &[ImagePin]) -> Verdict {
    match images.iter().find(|pin| !pin.is_sound()) {
        _ if attempt < job.attempt || is_over(job) => Verdict::Done,
        _ if attempt > job.attempt => Verdict::Dead(format!("attempt {attempt} was never given out")),
        Some(pin) => Verdict::Dead(format!("`{}` is no digest of the image `{}`", pin.digest, pin.reference)),
        None => Verdict::Images(images.to_vec()),
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

/// What a report asks of its job; none if it says nothing of it.
fn command(report: &Report, now: Timestamp) -> Option<Command> {
    let attempt = report.attempt;
    Some(match report.what.clone() {
        What::Images { .. } => return None,
        What::Started => Command::Start { attempt },
        What::StepStarted { step } => Command::StartStep(StepStarted { attempt, step }),
        What::StepFinished { step, exit_code, duration_ms } => {
            Command::FinishStep(StepFinished { attempt, step, exit_code, duration_ms })
        }
        What::StepSkipped { step } => Command::SkipStep(StepSkipped { attempt, step }),
        What::Reused { step, execution, job } => {
            Command::ReuseSteps(StepsReused { attempt, step, execution, job })
        }
        What::Succeeded { patch, diff_stat, outputs, log, .. } => {
            Command::Succeed(Succeeded { attempt, patch, diff_stat, outputs, log })
        }
        What::Failed { failure, log, .. } => Command::Fail { attempt, failure, log },
        What::TimedOut { limit_ms, step, log, .. } => {
            Command::TimeOut(TimedOut { attempt, limit_ms, step, log })
        }
        What::Returned { reason } => Command::Return { attempt, reason },
        What::Canceled { log } => Command::Cancel(Canceled { attempt: Some(attempt), log: Some(log) }),
        What::Abandoned { cause, reason, .. } => Command::Lose(Loss { attempt, cause, reason, now }),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use events::blob::Sha256;
    use events::id::{ExecutionId, JobId};
    use events::job::{Assigned, LossCause, State};
    use events::log::LogEnd;

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

    fn now() -> Timestamp {
        "2026-01-02T03:05:06Z".parse().unwrap()
    }

    #[test]
    fn the_holder_of_the_attempt_is_believed() {
        let verdict =
            judge(Some(&running(2, "a")), &runner("a"), &report(2, What::StepStarted { step: 1 }), now());
        assert_eq!(verdict, Verdict::Fact(job::Event::StepStarted(StepStarted { attempt: 2, step: 1 })));
    }

    #[test]
    fn a_straggler_changes_nothing() {
        let late = report(1, What::StepStarted { step: 1 });
        assert_eq!(judge(Some(&running(2, "a")), &runner("b"), &late, now()), Verdict::Done);
        assert_eq!(judge(None, &runner("b"), &late, now()), Verdict::Done);
        let lost = Job { state: State::Queued, attempt: 1, ..Job::default() };
        assert_eq!(judge(Some(&lost), &runner("b"), &late, now()), Verdict::Done);
    }

    #[test]
    fn a_runner_cannot_speak_for_another() {
        let verdict =
            judge(Some(&running(2, "a")), &runner("b"), &report(2, What::StepStarted { step: 1 }), now());
        assert!(matches!(verdict, Verdict::Dead(_)), "{verdict:?}");
    }

    #[test]
    fn an_attempt_that_was_never_given_out_is_buried() {
        let verdict = judge(Some(&running(2, "a")), &runner("a"), &report(3, What::Started), now());
        assert!(matches!(verdict, Verdict::Dead(_)), "{verdict:?}");
    }

    #[test]
    fn a_runner_that_stopped_what_was_to_stop_is_believed() {
        let log = LogEnd { chunks: 3, bytes: 900, lines: 12, sha256: Sha256::from_bytes(&[7; 32]) };
        let word = report(2, What::Canceled { log: log.clone() });
        let job = job::evolve(running(2, "a"), &job::Event::CancelRequested(job::CancelRequested {}));
        let canceled = Canceled { attempt: Some(2), log: Some(log) };
        assert_eq!(judge(Some(&job), &runner("a"), &word, now()), Verdict::Fact(canceled.into()));
        let verdict = judge(Some(&running(2, "a")), &runner("a"), &word, now());
        assert!(matches!(verdict, Verdict::Dead(_)), "nobody asked for it: {verdict:?}");
    }

    #[test]
    fn what_images_mean_is_said_by_the_holder_and_is_a_digest() {
        let images = |digest: &str| What::Images {
            images: vec![ImagePin { reference: "alpine:3".to_owned(), digest: digest.to_owned() }],
        };
        let digest = format!("alpine@sha256:{}", "a7".repeat(32));
        let job = running(2, "a");
        let judge = |runner: &str, attempt, what| {
            judge(Some(&job), &self::runner(runner), &report(attempt, what), now())
        };
        assert!(matches!(judge("a", 2, images(&digest)), Verdict::Images(pins) if pins[0].digest == digest));
        assert_eq!(judge("b", 1, images(&digest)), Verdict::Done);
        assert!(matches!(judge("b", 2, images(&digest)), Verdict::Dead(_)));
        assert!(matches!(judge("a", 3, images(&digest)), Verdict::Dead(_)));
        assert!(matches!(judge("a", 2, images("alpine:3")), Verdict::Dead(_)));
    }

    #[test]
    fn the_next_attempt_waits_from_when_the_loss_is_known() {
        let log = LogEnd { chunks: 0, bytes: 0, lines: 0, sha256: Sha256::from_bytes(&[7; 32]) };
        let cause = LossCause::Infrastructure;
        let word = report(2, What::Abandoned { cause, reason: "no engine".to_owned(), log });
        let Verdict::Fact(job::Event::Lost(lost)) = judge(Some(&running(2, "a")), &runner("a"), &word, now())
        else {
            panic!("it is lost")
        };
        assert_eq!(lost.retry_at, now().checked_add_signed(job::back_off(cause, 0)));
    }
}
