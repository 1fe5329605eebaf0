//! Canceling and retrying executions and jobs, and asking for a plan.
//!
//! Owns the rule that what people ask for is an event named `…_requested`, appended here; what becomes of a job is decided
//! by the scheduler alone. A request that is repeated is found in the history by its event's id, whatever came after it.

use events::envelope::Recorded;
use events::execution::{self, Execution, RetryRequested, Selection};
use events::id::{ExecutionId, JobId};
use events::job::{self, Job};
use events::rejection::Code;
use events::{Aggregate, Event, Rejection};

use super::{Commands, Done, Request, find};
use crate::fault::Fault;

impl Commands {
    /// Lets an execution stop.
    pub(crate) async fn cancel_execution(
        &self,
        id: ExecutionId,
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request("cancelExecution", mutation_id)?;
        let command = |_: &Execution| execution::Command::RequestCancel;
        self.bounded(&request, self.ask_execution(&request, id, command)).await
    }

    /// Lets jobs of an execution that have ended be tried again.
    pub(crate) async fn retry_execution(
        &self,
        id: ExecutionId,
        jobs: Selection,
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request("retryExecution", mutation_id)?;
        self.bounded(&request, self.ask_execution(&request, id, |state| retry(state, jobs))).await
    }

    /// Lets a plan be made of what a canceled execution has.
    pub(crate) async fn create_campaign_plan(
        &self,
        id: ExecutionId,
        mutation_id: Option<&str>,
    ) -> Result<Done, Fault> {
        let request = self.request("createCampaignPlan", mutation_id)?;
        let command = |_: &Execution| execution::Command::RequestPlan;
        self.bounded(&request, self.ask_execution(&request, id, command)).await
    }

    /// Lets a job stop.
    pub(crate) async fn cancel_job(&self, id: JobId, mutation_id: Option<&str>) -> Result<Done, Fault> {
        let request = self.request("cancelJob", mutation_id)?;
        self.bounded(&request, async {
            let execution = self.execution_of(id).await?;
            let decide = |history: &[Recorded]| {
                let decided = job::decide(&fold_job(history), job::Command::RequestCancel)?;
                Ok(decided.map(Event::Job))
            };
            let origin = request.origin(execution.to_string());
            self.once(&origin, &Aggregate::Job(execution, id), decide).await
        })
        .await
        .map(|decided| Done { id: id.to_string(), sequence: decided.sequence })
    }

    /// Lets a job that has ended be tried again.
    pub(crate) async fn retry_job(&self, id: JobId, mutation_id: Option<&str>) -> Result<Done, Fault> {
        let request = self.request("retryJob", mutation_id)?;
        let work = async {
            let execution = self.execution_of(id).await?;
            let history = self.broker.history(&Aggregate::Job(execution, id)).await?;
            let job = fold_job(&history);
            if job.outcome().is_none() && self.answered(&request, execution).await?.is_none() {
                if job.cancel_requested {
                    return Err(still_canceling().into());
                }
                // It waits or runs, which is what was asked for.
                return Ok(history.last().map_or(0, |last| last.sequence));
            }
            let command = |state: &Execution| retry(state, Selection::One { job: id });
            Ok(self.ask_execution(&request, execution, command).await?.sequence)
        };
        let sequence = self.bounded(&request, work).await?;
        Ok(Done { id: id.to_string(), sequence })
    }

    async fn ask_execution(
        &self,
        request: &Request<'_>,
        id: ExecutionId,
        command: impl Fn(&Execution) -> execution::Command,
    ) -> Result<Done, Fault> {
        let decide = |history: &[Recorded]| {
            let state = fold_execution(history);
            Ok(execution::decide(&state, command(&state))?.map(Event::Execution))
        };
        let origin = request.origin(id.to_string());
        let decided = self.once(&origin, &Aggregate::Execution(id), decide).await?;
        Ok(Done { id: id.to_string(), sequence: decided.sequence })
    }

    /// Where a request of this execution stands that was carried out before.
    async fn answered(&self, request: &Request<'_>, id: ExecutionId) -> Result<Option<u64>, Fault> {
        if request.mutation_id.is_none() {
            return Ok(None);
        }
        let aggregate = Aggregate::Execution(id);
        let history = self.broker.history(&aggregate).await?;
        let done = find(&history, &request.origin(id.to_string()), &aggregate);
        Ok(done.map(|recorded| recorded.sequence))
    }

    async fn execution_of(&self, id: JobId) -> Result<ExecutionId, Fault> {
        let execution = self.broker.execution_of(id).await?;
        execution.ok_or_else(|| {
            let hint = "`patchwave execution show` lists an execution's jobs.";
            Fault::new(Code::NotFound, format!("there is no job {id}"), hint)
        })
    }
}

fn retry(state: &Execution, jobs: Selection) -> execution::Command {
    execution::Command::RequestRetry(RetryRequested { number: state.retries.saturating_add(1), jobs })
}

fn still_canceling() -> Rejection {
    Rejection::new(
        Code::NotEnded,
        "the job is being canceled and has not ended yet",
        "Wait until it has (`patchwave job show`), then retry it.",
    )
}

/// An execution as its history has it.
pub(super) fn fold_execution(history: &[Recorded]) -> Execution {
    history.iter().fold(Execution::default(), |state, recorded| match &recorded.event {
        Event::Execution(event) => execution::evolve(state, event),
        _ => state,
    })
}

fn fold_job(history: &[Recorded]) -> Job {
    history.iter().fold(Job::default(), |state, recorded| match &recorded.event {
        Event::Job(event) => job::evolve(state, event),
        _ => state,
    })
}
