//! Tickets: what a runner gets for an assigned attempt.
//!
//! Owns their content, which follows from the fold alone: a ticket that may not have been sent is sent again, and the
//! runner drops the second.

use std::time::Duration;

use events::execution::Execution;
use events::id::{ExecutionId, JobId};
use events::job::Job;
use events::ticket::Ticket;

/// The ticket for a job's current attempt; none before the job is queued.
pub(crate) fn ticket(
    execution: (ExecutionId, &Execution),
    job: (JobId, &Job),
    timeout: Duration,
) -> Option<Ticket> {
    let (id, execution) = execution;
    let (job, state) = job;
    Some(Ticket {
        execution: id,
        job,
        attempt: state.attempt,
        definition: execution.requested.as_ref()?.definition.clone(),
        workspace: state.workspace.clone()?,
        timeout_ms: timeout.as_millis() as u64,
        secrets: Vec::new(),
        images: execution.pins().collect(),
        reuse: None,
    })
}
