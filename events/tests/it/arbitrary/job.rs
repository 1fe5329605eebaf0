//! Random events of and commands to a job.

use events::Timestamp;
use events::id::{ExecutionId, JobId};
use events::job::{self, DiffStat, LossCause};
use proptest::prelude::*;
use proptest::{collection, option, sample};

use super::{blob, failure, log_end, number, runner_id, secret_version, text, uuid, workspace};

fn step_started() -> impl Strategy<Value = job::StepStarted> {
    (number(), number()).prop_map(|(attempt, step)| job::StepStarted { attempt, step })
}

fn step_finished() -> impl Strategy<Value = job::StepFinished> {
    (number(), number(), any::<i64>(), any::<u64>()).prop_map(|(attempt, step, exit_code, duration_ms)| {
        job::StepFinished { attempt, step, exit_code, duration_ms }
    })
}

fn step_skipped() -> impl Strategy<Value = job::StepSkipped> {
    (number(), number()).prop_map(|(attempt, step)| job::StepSkipped { attempt, step })
}

fn steps_reused() -> impl Strategy<Value = job::StepsReused> {
    (number(), number(), uuid(), uuid()).prop_map(|(attempt, step, execution, job)| job::StepsReused {
        attempt,
        step,
        execution: ExecutionId::from_uuid(execution),
        job: JobId::from_uuid(job),
    })
}

fn outputs() -> impl Strategy<Value = job::Outputs> {
    let value = prop_oneof![
        text().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        collection::vec(text(), 0..3).prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    collection::btree_map(text(), value, 0..3)
}

fn succeeded() -> impl Strategy<Value = job::Succeeded> {
    let diff_stat = (any::<u32>(), any::<u64>(), any::<u64>())
        .prop_map(|(files, insertions, deletions)| DiffStat { files, insertions, deletions });
    (number(), option::of(blob()), diff_stat, outputs(), log_end()).prop_map(
        |(attempt, patch, diff_stat, outputs, log)| job::Succeeded {
            attempt,
            patch,
            diff_stat,
            outputs,
            log,
        },
    )
}

fn timed_out() -> impl Strategy<Value = job::TimedOut> {
    (number(), any::<u64>(), option::of(number()), log_end())
        .prop_map(|(attempt, limit_ms, step, log)| job::TimedOut { attempt, limit_ms, step, log })
}

fn queue_timed_out() -> impl Strategy<Value = job::QueueTimedOut> {
    (any::<u64>(), text()).prop_map(|(limit_ms, reason)| job::QueueTimedOut { limit_ms, reason })
}

fn assigned() -> impl Strategy<Value = job::Assigned> {
    (number(), runner_id(), collection::vec(secret_version(), 0..3))
        .prop_map(|(attempt, runner, secrets)| job::Assigned { attempt, runner, secrets })
}

fn canceled() -> impl Strategy<Value = job::Canceled> {
    (option::of(number()), option::of(log_end())).prop_map(|(attempt, log)| job::Canceled { attempt, log })
}

fn loss_cause() -> impl Strategy<Value = LossCause> {
    sample::select(vec![LossCause::Runner, LossCause::Infrastructure, LossCause::Drained])
}

/// A time, and now and then one from which nothing can be counted on.
fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        9 => (0..4_000_000_000_000_000i64).prop_map(|us| Timestamp::from_timestamp_micros(us).unwrap()),
        1 => Just(Timestamp::MAX_UTC),
    ]
}

/// Any event of a job.
pub(crate) fn job_event() -> impl Strategy<Value = job::Event> {
    prop_oneof![
        workspace().prop_map(|workspace| job::Queued { workspace }.into()),
        assigned().prop_map(Into::into),
        number().prop_map(|attempt| job::Started { attempt }.into()),
        step_started().prop_map(Into::into),
        step_finished().prop_map(Into::into),
        step_skipped().prop_map(Into::into),
        steps_reused().prop_map(Into::into),
        succeeded().prop_map(Into::into),
        (number(), failure(), option::of(log_end())).prop_map(|(attempt, failure, log)| {
            let origin = failure.kind.origin();
            job::Failed { attempt, failure, origin, log }.into()
        }),
        (number(), runner_id(), loss_cause(), text(), option::of(time())).prop_map(
            |(attempt, runner, cause, reason, retry_at)| {
                job::Lost { attempt, runner, cause, reason, retry_at }.into()
            }
        ),
        (number(), runner_id(), text()).prop_map(|(attempt, runner, reason)| job::Returned {
            attempt,
            runner,
            reason
        }
        .into()),
        timed_out().prop_map(Into::into),
        queue_timed_out().prop_map(Into::into),
        Just(job::CancelRequested {}.into()),
        canceled().prop_map(Into::into),
        Just(job::Retried {}.into()),
        (number(), blob(), log_end())
            .prop_map(|(attempt, blob, log)| job::LogSealed { attempt, blob, log }.into()),
    ]
    // Boxed: so many kinds by value are more than a test thread has stack for.
    .boxed()
}

/// Any command to a job.
pub(crate) fn job_command() -> impl Strategy<Value = job::Command> {
    use job::{Command, Loss};
    prop_oneof![
        1 => workspace().prop_map(Command::Queue),
        4 => assigned().prop_map(|job::Assigned { attempt, runner, secrets }| {
            Command::Assign { attempt, runner, secrets }
        }),
        4 => number().prop_map(|attempt| Command::Start { attempt }),
        2 => step_started().prop_map(Command::StartStep),
        2 => step_finished().prop_map(Command::FinishStep),
        2 => step_skipped().prop_map(Command::SkipStep),
        1 => steps_reused().prop_map(Command::ReuseSteps),
        1 => succeeded().prop_map(Command::Succeed),
        1 => (number(), failure(), log_end())
            .prop_map(|(attempt, failure, log)| Command::Fail { attempt, failure, log }),
        1 => timed_out().prop_map(Command::TimeOut),
        6 => (number(), loss_cause(), text(), time())
            .prop_map(|(attempt, cause, reason, now)| Command::Lose(Loss { attempt, cause, reason, now })),
        1 => (number(), text()).prop_map(|(attempt, reason)| Command::Return { attempt, reason }),
        1 => queue_timed_out().prop_map(Command::TimeOutQueued),
        1 => Just(Command::RequestCancel),
        2 => canceled().prop_map(Command::Cancel),
        1 => Just(Command::Retry),
        1 => (number(), blob(), log_end())
            .prop_map(|(attempt, blob, log)| Command::SealLog { attempt, blob, log }),
    ]
}
