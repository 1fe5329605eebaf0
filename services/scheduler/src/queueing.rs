//! Queueing: a job for each workspace of a resolved execution.
//!
//! Owns the jobs' ids, which are derived: a crash half-way repeats harmlessly.

use anyhow::Context as _;
use events::document::Scope;
use events::envelope::NewEvent;
use events::id::{CommandId, ExecutionId, JobId};
use events::job::Queued;
use events::ticket::Workspace;
use events::{Aggregate, Event};

use crate::facts::origin;
use crate::fold::Execution;
use crate::outside::{Broker, time};

/// The id of the job that works there.
fn job_id(execution: ExecutionId, workspace: &Workspace) -> JobId {
    JobId::derived(&[
        &execution.to_string(),
        &workspace.repository,
        workspace.base_ref.as_str(),
        &workspace.path,
    ])
}

/// Appends the jobs that a resolved execution should have and has not.
pub(crate) async fn queue(broker: &Broker, id: ExecutionId, execution: &Execution) -> anyhow::Result<()> {
    let Some(resolved) = &execution.own.state.resolved else { return Ok(()) };
    let scope: Scope = broker.get_document(&resolved.scope).await.context("the scope of an execution")?;
    let now = time();
    let births: Vec<NewEvent> = scope
        .workspaces
        .into_iter()
        .map(|workspace| (job_id(id, &workspace), workspace))
        .filter(|(job, _)| !execution.jobs.contains_key(job))
        .map(|(job, workspace)| NewEvent {
            aggregate: Aggregate::Job(id, job),
            event: Event::Job(Queued { workspace }.into()),
            time: now,
            origin: origin(CommandId::derived(&["queue", &job.to_string()]), id.to_string()),
        })
        .collect();
    broker.append_births(&births).await.context("queueing jobs")
}
