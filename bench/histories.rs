//! Histories: events as a busy system has them, made up.

use events::blob::{BlobKind, BlobRef, Sha256};
use events::envelope::{Actor, NewEvent, Origin};
use events::id::{CommandId, ExecutionId, JobId};
use events::job::{Assigned, DiffStat, Queued, Started, StepFinished, StepStarted, Succeeded};
use events::log::LogEnd;
use events::ticket::Workspace;
use events::{Aggregate, Event, Timestamp};

/// The events of one job that succeeds, in order.
pub(crate) fn job(number: u64) -> Vec<NewEvent> {
    let execution = ExecutionId::derived(&["bench", &(number / 100).to_string()]);
    let job = JobId::derived(&["bench", &number.to_string()]);
    let attempt = 1;
    let events: [Event; 6] = [
        Event::Job(Queued { workspace: workspace(number) }.into()),
        Event::Job(
            Assigned { attempt, runner: "local".parse().expect("a runner's name"), secrets: Vec::new() }
                .into(),
        ),
        Event::Job(Started { attempt }.into()),
        Event::Job(StepStarted { attempt, step: 1 }.into()),
        Event::Job(StepFinished { attempt, step: 1, exit_code: 0, duration_ms: 90_210 }.into()),
        Event::Job(
            Succeeded {
                attempt,
                patch: None,
                diff_stat: DiffStat::default(),
                outputs: Default::default(),
                log: log(),
            }
            .into(),
        ),
    ];
    let place = |(step, event): (usize, Event)| NewEvent {
        aggregate: Aggregate::Job(execution, job),
        event,
        time: Timestamp::from_timestamp_micros(1_700_000_000_000_000 + number as i64).expect("a time"),
        origin: Origin {
            command: CommandId::derived(&["bench", &number.to_string(), &step.to_string()]),
            actor: Actor::service("bench"),
            correlation: execution.to_string(),
            causation: None,
            trace_parent: None,
        },
    };
    events.into_iter().enumerate().map(place).collect()
}

fn workspace(number: u64) -> Workspace {
    let source = BlobRef { kind: BlobKind::Source, sha256: Sha256::from_bytes(&[7; 32]), size: 90_210 };
    Workspace {
        repository: format!("example.org/team/repository-{number}"),
        url: format!("https://example.org/team/repository-{number}.git"),
        base_ref: "refs/heads/main".parse().expect("a branch"),
        base_oid: "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".parse().expect("an object id"),
        path: String::new(),
        source,
    }
}

fn log() -> LogEnd {
    LogEnd { chunks: 1, bytes: 12, lines: 1, sha256: Sha256::from_bytes(&[9; 32]) }
}
