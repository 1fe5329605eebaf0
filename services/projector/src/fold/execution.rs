//! What an execution's events do to its row, and to the counts of all.
//!
//! Owns the one place where an execution changes its state. Invariant: the totals are the states of the executions.

use events::envelope::Recorded;
use events::execution::{self, Reason};
use events::id::ExecutionId;

use super::Fold;
use crate::columns::Word;
use crate::rows::{Execution, Total};

impl Fold {
    /// Takes an execution's event in.
    pub(super) fn execution(&mut self, recorded: &Recorded, id: ExecutionId, event: &execution::Event) {
        if let execution::Event::Requested(requested) = event {
            self.executions.put(requested_execution(recorded, id, requested));
            self.tally(Total::EXECUTIONS, 1);
            self.tally(&Total::executions_in("requested"), 1);
            if let Some(action) = self.actions.change(&(requested.action,)) {
                action.executions += 1;
            }
            return;
        }
        let Some(row) = self.executions.change(&(id,)) else { return };
        let before = row.state.clone();
        match event {
            execution::Event::Requested(_) => {}
            execution::Event::Resolved(resolved) => {
                row.resolved_at = Some(recorded.time);
                row.workspaces = resolved.workspaces;
                row.skipped = resolved.skipped;
                row.unreachable = resolved.unreachable;
                row.state = Word::Borrowed("running");
            }
            execution::Event::Starved(starved) => {
                row.starved_since = Some(recorded.time);
                row.starved_pool = Some(starved.pool.clone());
                row.starved_lack = Some(Word::Borrowed(starved.lack.as_str()));
                row.starved_message = Some(starved.message.clone());
                row.starved_hint = Some(starved.hint.clone());
            }
            execution::Event::StarvationEnded(execution::StarvationEnded {}) => end_starvation(row),
            execution::Event::CancelRequested(execution::CancelRequested {}) => row.cancel_requested = true,
            execution::Event::Completed(completed) => {
                end_starvation(row);
                row.completed_at = Some(recorded.time);
                row.state = Word::Borrowed(completed.outcome.as_str());
                row.plan_is_current = false;
            }
            execution::Event::RetryRequested(request) => {
                row.retries = request.number;
                row.cancel_requested = false;
                row.completed_at = None;
                row.plan_is_current = false;
                row.state = Word::Borrowed("running");
            }
            // The plan speaks for itself once it is there.
            execution::Event::ImagesPinned(_)
            | execution::Event::PlanRequested(execution::PlanRequested {}) => {}
        }
        let after = row.state.clone();
        if before != after {
            self.tally(&Total::executions_in(&before), -1);
            self.tally(&Total::executions_in(&after), 1);
        }
    }
}

fn requested_execution(recorded: &Recorded, id: ExecutionId, requested: &execution::Requested) -> Execution {
    Execution {
        id,
        action_id: requested.action,
        action_name: requested.action_name.clone(),
        revision: requested.revision,
        reason: Word::Borrowed(match requested.reason {
            Reason::Manual => "manual",
        }),
        actor: recorded.actor.to_string(),
        state: Word::Borrowed("requested"),
        cancel_requested: false,
        requested_at: recorded.time,
        resolved_at: None,
        completed_at: None,
        requested_sequence: recorded.sequence,
        workspaces: 0,
        skipped: 0,
        unreachable: 0,
        queued: 0,
        running: 0,
        succeeded: 0,
        failed: 0,
        canceled: 0,
        starved_since: None,
        starved_pool: None,
        starved_lack: None,
        starved_message: None,
        starved_hint: None,
        retries: 0,
        plan_id: None,
        plan_is_current: false,
    }
}

fn end_starvation(row: &mut Execution) {
    row.starved_since = None;
    row.starved_pool = None;
    row.starved_lack = None;
    row.starved_message = None;
    row.starved_hint = None;
}
