//! Subjects: the one place where they are built and read.
//!
//! Owns the address of every message. A subscriber filters by subject alone, so what a subject says never changes.

use crate::beat::Running;
use crate::blob::{BlobKind, BlobRef, Sha256};
use crate::id::{
    ActionId, ExecutionId, JobId, PlanId, PreviewId, RepositoryId, RunnerId, SealingKeyId, SecretId, TokenId,
    UserId,
};
use crate::{Aggregate, AggregateKind, Event};

/// Every event.
pub const ALL_EVENTS: &str = "ev.>";

/// Everything of every execution and its jobs.
pub const ALL_EXECUTIONS: &str = "ev.execution.>";

/// Everything of every runner.
pub const ALL_RUNNERS: &str = "ev.runner.>";

/// Everything of every secret.
pub const ALL_SECRETS: &str = "ev.secret.>";

/// Who may connect as a runner.
pub const ALL_ENROLLMENTS: &str = "ev.enrollment.>";

/// Where a machine asks to become a runner.
pub const ENROLL: &str = "enroll";

/// Every report.
pub const ALL_REPORTS: &str = "report.>";

/// Every runner's heartbeat.
pub const ALL_RUNNER_BEATS: &str = "beat.runner.*";

/// The projector's heartbeat.
pub const PROJECTOR_BEAT: &str = "beat.projector";

/// Every live log.
pub const ALL_LOGS: &str = "log.>";

/// The aggregate's subjects up to the type.
fn prefix(aggregate: &Aggregate) -> String {
    match aggregate {
        Aggregate::Action(id) => format!("ev.action.{}", id.token()),
        Aggregate::Execution(id) => format!("ev.execution.{}", id.token()),
        Aggregate::Job(execution, id) => format!("ev.execution.{}.job.{}", execution.token(), id.token()),
        Aggregate::Plan(id) => format!("ev.plan.{}", id.token()),
        Aggregate::Preview(id) => format!("ev.preview.{}", id.token()),
        Aggregate::Repository(id) => format!("ev.repository.{}", id.token()),
        Aggregate::Runner(id) => format!("ev.runner.{id}"),
        Aggregate::SealingKey(id) => format!("ev.sealing_key.{}", id.token()),
        Aggregate::Secret(id) => format!("ev.secret.{}", id.token()),
        Aggregate::Enrollment(id) => format!("ev.enrollment.{id}"),
        Aggregate::User(id) => format!("ev.user.{}", id.token()),
        Aggregate::Token(id) => format!("ev.token.{}", id.token()),
    }
}

/// Where an event is stored.
pub fn event(aggregate: &Aggregate, event: &Event) -> String {
    format!("{}.{}", prefix(aggregate), event.name())
}

/// The filter that covers one aggregate's events and nothing else. An expectation is sent with this very string.
pub fn aggregate_filter(aggregate: &Aggregate) -> String {
    format!("{}.*", prefix(aggregate))
}

/// The filter that covers an execution and all its jobs.
pub fn execution_story(execution: ExecutionId) -> String {
    format!("ev.execution.{}.>", execution.token())
}

/// The filter that covers a job whose execution is not known.
pub fn job_story(job: JobId) -> String {
    format!("ev.execution.*.job.{}.*", job.token())
}

/// The filter for one type of event of every aggregate of a kind.
pub fn every(kind: AggregateKind, name: &str) -> String {
    match kind {
        AggregateKind::Job => format!("ev.execution.*.job.*.{name}"),
        _ => format!("ev.{}.*.{name}", kind.name()),
    }
}

/// Reads an event's subject: whose it is, and its type.
pub fn parse_event(subject: &str) -> Option<(Aggregate, &str)> {
    let tokens: Vec<&str> = subject.split('.').collect();
    let (aggregate, name) = match tokens.as_slice() {
        ["ev", "action", id, name] => (Aggregate::Action(ActionId::from_token(id)?), name),
        ["ev", "execution", id, name] => (Aggregate::Execution(ExecutionId::from_token(id)?), name),
        ["ev", "execution", execution, "job", id, name] => {
            (Aggregate::Job(ExecutionId::from_token(execution)?, JobId::from_token(id)?), name)
        }
        ["ev", "plan", id, name] => (Aggregate::Plan(PlanId::from_token(id)?), name),
        ["ev", "preview", id, name] => (Aggregate::Preview(PreviewId::from_token(id)?), name),
        ["ev", "repository", id, name] => (Aggregate::Repository(RepositoryId::from_token(id)?), name),
        ["ev", "runner", id, name] => (Aggregate::Runner(id.parse().ok()?), name),
        ["ev", "sealing_key", id, name] => (Aggregate::SealingKey(SealingKeyId::from_token(id)?), name),
        ["ev", "secret", id, name] => (Aggregate::Secret(SecretId::from_token(id)?), name),
        ["ev", "enrollment", id, name] => (Aggregate::Enrollment(id.parse().ok()?), name),
        ["ev", "user", id, name] => (Aggregate::User(UserId::from_token(id)?), name),
        ["ev", "token", id, name] => (Aggregate::Token(TokenId::from_token(id)?), name),
        _ => return None,
    };
    Some((aggregate, name))
}

/// A runner's tickets.
pub fn tickets(runner: &RunnerId) -> String {
    format!("work.{runner}.ticket")
}

/// What overtakes a runner's tickets.
pub fn control(runner: &RunnerId) -> String {
    format!("work.{runner}.control")
}

/// Where a runner reports on an attempt.
pub fn report(runner: &RunnerId, attempt: &Running) -> String {
    format!("report.{runner}.{}.{}", attempt.job.token(), attempt.attempt)
}

/// The runner whose report this is: the broker lets no other write there.
pub fn reporter(subject: &str) -> Option<RunnerId> {
    match subject.split('.').collect::<Vec<_>>().as_slice() {
        ["report", runner, _job, _attempt] => runner.parse().ok(),
        _ => None,
    }
}

/// The live log of an attempt.
pub fn log(runner: &RunnerId, attempt: &Running) -> String {
    format!("log.{runner}.{}.{}", attempt.job.token(), attempt.attempt)
}

/// Reads a live log's subject.
pub fn parse_log(subject: &str) -> Option<(RunnerId, Running)> {
    match subject.split('.').collect::<Vec<_>>().as_slice() {
        ["log", runner, job, attempt] => {
            let running = Running { job: JobId::from_token(job)?, attempt: attempt.parse().ok()? };
            Some((runner.parse().ok()?, running))
        }
        _ => None,
    }
}

/// A runner's heartbeat.
pub fn runner_beat(runner: &RunnerId) -> String {
    format!("beat.runner.{runner}")
}

/// The runner whose heartbeat this is.
pub fn beating_runner(subject: &str) -> Option<RunnerId> {
    subject.strip_prefix("beat.runner.")?.parse().ok()
}

/// A chunk of a blob, numbered from 0.
///
/// What runners read stands on a shelf that follows from its name. A runner asks by the name alone and the broker works out
/// the shelf: for a wildcard it works out one where nothing stands, so that nobody finds what he was not given the name of.
pub fn blob_chunk(blob: &BlobRef, number: u64) -> String {
    let kind = blob.kind.token();
    match blob.kind {
        BlobKind::Source | BlobKind::Files | BlobKind::Result => {
            let stream = stream_prefix(blob.kind);
            format!("{stream}.{kind}.{}.{}.{number}", shelf(blob.sha256.as_str()), blob.sha256)
        }
        _ => format!("blob.{kind}.{}.{number}", blob.sha256),
    }
}

/// What a runner asks for to get a chunk of a blob: its name without the shelf.
pub fn blob_chunk_by_name(blob: &BlobRef, number: u64) -> String {
    format!("{}.{}.{}.{number}", stream_prefix(blob.kind), blob.kind.token(), blob.sha256)
}

/// Where a kind of blob is kept: for ever, or as long as there is room.
const fn stream_prefix(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Result => "cache",
        _ => "blob",
    }
}

/// What the step cache knows of a key.
pub fn cached_step(key: &Sha256) -> String {
    format!("cache.step.{key}")
}

/// The digest that an image's name had last, for the runners of a pool.
pub fn cached_image(name: &Sha256) -> String {
    format!("cache.image.{name}")
}

/// The shelf of a name: nats-server's `partition(2147483647, …)`, which is FNV-1a of 32 bits.
fn shelf(name: &str) -> u32 {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % 2_147_483_647
}

/// Where a consumer leaves what it could not handle.
pub fn dead(consumer: &str) -> String {
    format!("dead.{consumer}")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_event_subject_reads_back() {
        let execution = ExecutionId::from_uuid(Uuid::from_u128(7_000));
        let job = JobId::from_uuid(Uuid::from_u128(9_000_000));
        let aggregate = Aggregate::Job(execution, job);
        let event = Event::Job(crate::job::Event::Started(crate::job::Started { attempt: 1 }));
        let subject = super::event(&aggregate, &event);
        assert_eq!(parse_event(&subject), Some((aggregate, "started")));
        for other in
            ["", "ev", "ev.action.x.created", "ev.execution.x.job.y.started", "log.a.b.c", "ev.runner.A.gone"]
        {
            assert_eq!(parse_event(other), None, "{other}");
        }
    }
}
