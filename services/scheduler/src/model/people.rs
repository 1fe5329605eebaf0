//! People and the other services: whoever else appends.
//!
//! Owns what they ask for. Each looks at the log as it is at that moment, decides, and appends: the scheduler then has news.

use events::blob::{BlobKind, BlobRef};
use events::document::Scope;
use events::envelope::Actor;
use events::execution::{RetryRequested, Selection};
use events::id::{ActionId, CommandId, ExecutionId};
use events::job::{self, Command};
use events::{Aggregate, Event, execution, runner};

use super::servers::Servers;
use super::values::{blob, definition, event, log_end, workspace};

/// The most executions that a history has.
const EXECUTIONS: usize = 4;

/// Somebody does something.
pub(super) fn act(servers: &mut Servers) {
    match servers.rng.u32(0..17) {
        0..3 if servers.referee.executions.len() < EXECUTIONS => request(servers),
        3 | 4 => stop(servers),
        5 | 6 => stop_job(servers),
        7 | 8 => retry(servers),
        9 => drain(servers),
        10 => decide(servers, |_, _| execution::Command::RequestPlan),
        _ => seal(servers),
    }
}

/// Asks for an execution over a few workspaces, or none.
pub(super) fn request(servers: &mut Servers) {
    let number = servers.referee.executions.len() as u128;
    let id = ExecutionId::from_uuid(uuid::Uuid::from_u128(number + 1));
    let jobs = servers.rng.usize(0..6);
    let workspaces = (0..jobs).map(workspace).collect();
    servers.referee.expect(id, jobs as u32);
    let scope = BlobRef { size: servers.scopes.len() as u64, ..blob(BlobKind::Scope) };
    servers.scopes.push(Scope { workspaces, skipped: Vec::new() });
    let requested = execution::Requested {
        action: ActionId::from_uuid(uuid::Uuid::from_u128(1)),
        action_name: String::new(),
        revision: 1,
        definition: definition(),
        repositories: Vec::new(),
        reason: execution::Reason::Manual,
        no_cache: false,
        pool: None,
    };
    let resolved = execution::Resolved { scope, workspaces: jobs as u32, skipped: 0, unreachable: 0 };
    append(servers, Aggregate::Execution(id), Event::Execution(requested.into()));
    append(servers, Aggregate::Execution(id), Event::Execution(resolved.into()));
}

/// Somebody wants an execution to stop.
fn stop(servers: &mut Servers) {
    decide(servers, |_, _| execution::Command::RequestCancel);
}

/// Somebody wants jobs to be tried again.
fn retry(servers: &mut Servers) {
    decide(servers, |servers, execution| {
        let ids = servers.referee.jobs.keys().map(|(_, job)| *job);
        let jobs = match (servers.rng.u32(0..3), servers.rng.choice(ids)) {
            (0, Some(job)) => Selection::One { job },
            (1, _) => Selection::Failed,
            _ => Selection::All,
        };
        execution::Command::RequestRetry(RetryRequested { number: execution.retries + 1, jobs })
    });
}

fn decide(
    servers: &mut Servers,
    command: impl FnOnce(&mut Servers, &execution::Execution) -> execution::Command,
) {
    let known = servers.referee.executions.iter().map(|(id, execution)| (*id, execution.state.clone()));
    let Some((id, execution)) = servers.rng.choice(known.collect::<Vec<_>>()) else { return };
    let command = command(servers, &execution);
    if let Ok(Some(event)) = execution::decide(&execution, command) {
        append(servers, Aggregate::Execution(id), Event::Execution(event));
    }
}

/// Somebody wants a runner to leave.
fn drain(servers: &mut Servers) {
    let Some((id, known)) = servers.rng.choice(servers.referee.runners.iter()) else { return };
    let id = id.clone();
    if let Ok(Some(event)) = runner::decide(known, runner::Command::Drain) {
        append(servers, Aggregate::Runner(id), Event::Runner(event));
    }
}

/// Somebody wants a job to stop.
fn stop_job(servers: &mut Servers) {
    let Some((id, watched)) = servers.rng.choice(servers.referee.jobs.iter()) else { return };
    let id = *id;
    if let Ok(Some(event)) = job::decide(&watched.state, Command::RequestCancel) {
        append(servers, Aggregate::Job(id.0, id.1), Event::Job(event));
    }
}

/// The log-collector stores the log of some attempt.
fn seal(servers: &mut Servers) {
    let tried = servers.referee.jobs.iter().filter(|(_, watched)| watched.attempt() > 0);
    let Some((id, watched)) = servers.rng.choose_multiple(tried, 1).pop() else { return };
    let (id, attempt) = (*id, servers.rng.u32(1..=watched.attempt()));
    let command = Command::SealLog { attempt, blob: blob(BlobKind::Log), log: log_end() };
    if let Ok(Some(event)) = job::decide(&watched.state, command) {
        append(servers, Aggregate::Job(id.0, id.1), Event::Job(event));
    }
}

fn append(servers: &mut Servers, aggregate: Aggregate, of: Event) {
    let expected = servers.last(&aggregate);
    let command = CommandId::derived(&[of.name(), &aggregate.to_string(), &expected.to_string()]);
    let event = event(aggregate, of, command, Actor::user(["ann", "bob"][servers.rng.usize(0..2)]));
    servers.append(&event, expected).expect("whoever looks at the log itself meets no news");
}
