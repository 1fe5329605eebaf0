//! Jobs: attempts as fences, steps in order, losses, one end, logs.
//!
//! Owns the words in which the tests below are written. A word for an event is the past of the word for its command.

mod attempts;
mod ends;
mod logs;
mod steps;

use chrono::TimeDelta;
use events::Timestamp;
use events::blob::{BlobKind, BlobRef, Sha256};
use events::id::{ExecutionId, JobId, RunnerId};
use events::job::*;
use events::log::LogEnd;
use events::ticket::Workspace;

use crate::given::{Given, fold};

fn given<const N: usize>(history: [Event; N]) -> Given<Job, Command, Event> {
    Given::new(fold(history, evolve), decide)
}

/// A job whose first attempt runs, and then this.
fn running<const N: usize>(then: [Event; N]) -> Given<Job, Command, Event> {
    let history = [queued(), assigned(1), started(1)].into_iter().chain(then);
    Given::new(fold(history, evolve), decide)
}

fn blob(kind: BlobKind, seed: u8, size: u64) -> BlobRef {
    BlobRef { kind, sha256: Sha256::from_bytes(&[seed; 32]), size }
}

fn workspace(path: &str) -> Workspace {
    Workspace {
        repository: "github.com/acme/ledger".to_owned(),
        url: "https://github.com/acme/ledger.git".to_owned(),
        base_ref: "refs/heads/main".parse().unwrap(),
        base_oid: "7".repeat(40).parse().unwrap(),
        path: path.to_owned(),
        source: blob(BlobKind::Source, 0x51, 734_003),
    }
}

fn log_of(chunks: u64) -> LogEnd {
    LogEnd { chunks, bytes: chunks * 60_001, lines: chunks * 701, sha256: Sha256::from_bytes(&[0xa0; 32]) }
}

/// The runner of an attempt: each has another.
fn runner(attempt: u32) -> RunnerId {
    format!("builder-{}", attempt * 100).parse().unwrap()
}

fn failure() -> Failure {
    Failure {
        kind: FailureKind::StepExit,
        step: Some(5),
        exit_code: Some(101),
        limit: None,
        message: "step 5 ended with 101".to_owned(),
        hint: "Look at its log.".to_owned(),
    }
}

fn success(attempt: u32) -> Succeeded {
    let diff_stat = DiffStat { files: 12, insertions: 340, deletions: 57 };
    let patch = Some(blob(BlobKind::Patch, 0x9a, 19_204));
    Succeeded { attempt, patch, diff_stat, outputs: Outputs::default(), log: log_of(31) }
}

fn time_out(attempt: u32) -> TimedOut {
    TimedOut { attempt, limit_ms: 3_600_000, step: None, log: log_of(31) }
}

fn step_end(attempt: u32, step: u32) -> StepFinished {
    StepFinished { attempt, step, exit_code: 137, duration_ms: 90_412 }
}

fn assign(attempt: u32) -> Command {
    Command::Assign { attempt, runner: runner(attempt), secrets: Vec::new() }
}

fn start(attempt: u32) -> Command {
    Command::Start { attempt }
}

fn skip_step(attempt: u32, step: u32) -> Command {
    Command::SkipStep(StepSkipped { attempt, step })
}

fn step_skipped(attempt: u32, step: u32) -> Event {
    StepSkipped { attempt, step }.into()
}

fn reused(attempt: u32, step: u32) -> StepsReused {
    StepsReused {
        attempt,
        step,
        execution: ExecutionId::derived(&["earlier"]),
        job: JobId::derived(&["earlier"]),
    }
}

fn reuse_steps(attempt: u32, step: u32) -> Command {
    Command::ReuseSteps(reused(attempt, step))
}

fn steps_reused(attempt: u32, step: u32) -> Event {
    reused(attempt, step).into()
}

fn start_step(attempt: u32, step: u32) -> Command {
    Command::StartStep(StepStarted { attempt, step })
}

fn finish_step(attempt: u32, step: u32) -> Command {
    Command::FinishStep(step_end(attempt, step))
}

fn succeed(attempt: u32) -> Command {
    Command::Succeed(success(attempt))
}

fn fail(attempt: u32) -> Command {
    Command::Fail { attempt, failure: failure(), log: log_of(31) }
}

fn lose(attempt: u32) -> Command {
    lose_to(LossCause::Runner, attempt)
}

fn lose_to(cause: LossCause, attempt: u32) -> Command {
    Command::Lose(Loss { attempt, cause, reason: "its heart stopped".to_owned(), now: now() })
}

fn now() -> Timestamp {
    "2026-02-03T04:05:06Z".parse().unwrap()
}

/// The wish of whoever decides over jobs that wait.
fn cancel() -> Command {
    Command::Cancel(Canceled { attempt: None, log: None })
}

/// The word of a runner that it stopped an attempt.
fn stop(attempt: u32) -> Command {
    Command::Cancel(Canceled { attempt: Some(attempt), log: Some(log_of(31)) })
}

fn give_back(attempt: u32) -> Command {
    Command::Return { attempt, reason: "it drains".to_owned() }
}

fn wait_in_vain() -> QueueTimedOut {
    QueueTimedOut { limit_ms: 90_000, reason: "no runner in pool gpu takes jobs".to_owned() }
}

fn seal(attempt: u32, chunks: u64) -> Command {
    Command::SealLog { attempt, blob: blob(BlobKind::Log, 0x10, 213_908), log: log_of(chunks) }
}

fn queued() -> Event {
    Queued { workspace: workspace("") }.into()
}

fn assigned(attempt: u32) -> Event {
    Assigned { attempt, runner: runner(attempt), secrets: Vec::new() }.into()
}

fn started(attempt: u32) -> Event {
    Started { attempt }.into()
}

fn step_started(attempt: u32, step: u32) -> Event {
    StepStarted { attempt, step }.into()
}

fn step_finished(attempt: u32, step: u32) -> Event {
    step_end(attempt, step).into()
}

fn succeeded(attempt: u32) -> Event {
    success(attempt).into()
}

fn failed(attempt: u32) -> Event {
    let origin = FailureOrigin::Job;
    Failed { attempt, failure: failure(), origin, log: Some(log_of(31)) }.into()
}

/// The first loss of a job, to its runner.
fn lost(attempt: u32) -> Event {
    lost_to(LossCause::Runner, attempt, Some(1))
}

/// A loss after which the next attempt waits for so many seconds.
fn lost_to(cause: LossCause, attempt: u32, wait: Option<i64>) -> Event {
    let reason = "its heart stopped".to_owned();
    let retry_at = wait.map(|seconds| now() + TimeDelta::seconds(seconds));
    Lost { attempt, runner: runner(attempt), cause, reason, retry_at }.into()
}

fn returned(attempt: u32) -> Event {
    Returned { attempt, runner: runner(attempt), reason: "it drains".to_owned() }.into()
}

fn worn_out(attempt: u32) -> Event {
    let failure = Failure {
        kind: FailureKind::Lost,
        step: None,
        exit_code: None,
        limit: None,
        message: "3 attempts were lost; the last one: its heart stopped".to_owned(),
        hint:
            "Look at the runners: does the job take too much memory or disk? Then `patchwave job retry` it."
                .to_owned(),
    };
    Failed { attempt, failure, origin: FailureOrigin::Infrastructure, log: None }.into()
}

fn timed_out(attempt: u32) -> Event {
    time_out(attempt).into()
}

fn cancel_requested() -> Event {
    CancelRequested {}.into()
}

fn canceled(attempt: Option<u32>) -> Event {
    Canceled { attempt, log: None }.into()
}

fn stopped(attempt: u32) -> Event {
    Canceled { attempt: Some(attempt), log: Some(log_of(31)) }.into()
}

fn retried() -> Event {
    Retried {}.into()
}

fn sealed(attempt: u32, chunks: u64) -> Event {
    LogSealed { attempt, blob: blob(BlobKind::Log, 0x10, 213_908), log: log_of(chunks) }.into()
}
