//! The end of an attempt, whichever event says it.
//!
//! Owns what the end says of the log. An attempt that was lost, or canceled while its runner was, leaves no word about its
//! log: what there is then counts, and more may come.

use anyhow::Context as _;
use broker::Broker;
use events::beat::Running;
use events::envelope::Recorded;
use events::id::{EventId, ExecutionId};
use events::log::LogEnd;
use events::{Aggregate, Event, Timestamp, job};
use serde::{Deserialize, Serialize};

/// An attempt that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    pub(crate) execution: ExecutionId,
    pub(crate) attempt: Running,
    /// What the log must amount to; absent where nobody could say.
    pub(crate) log: Option<LogEnd>,
    /// The event that says so.
    pub(crate) event: EventId,
    pub(crate) sequence: u64,
    pub(crate) time: Timestamp,
}

impl Ended {
    /// Reads an event; absent when it ends no attempt.
    pub(crate) fn of(recorded: &Recorded) -> Option<Self> {
        let (Aggregate::Job(execution, job), Event::Job(event)) = (&recorded.aggregate, &recorded.event)
        else {
            return None;
        };
        let (attempt, log) = match event {
            job::Event::Succeeded(end) => (end.attempt, Some(end.log.clone())),
            job::Event::Failed(end) => (end.attempt, end.log.clone()),
            job::Event::TimedOut(end) => (end.attempt, Some(end.log.clone())),
            job::Event::Lost(end) => (end.attempt, None),
            job::Event::Canceled(end) => (end.attempt?, end.log.clone()),
            _ => return None,
        };
        Some(Self {
            execution: *execution,
            attempt: Running { job: *job, attempt },
            log,
            event: recorded.id,
            sequence: recorded.sequence,
            time: recorded.time,
        })
    }

    /// Looks an attempt's end up; absent while it runs, or when nobody knows its job.
    pub(crate) async fn find(broker: &Broker, attempt: &Running) -> anyhow::Result<Option<Self>> {
        let execution = broker.execution_of(attempt.job).await.context("whose job it is")?;
        let Some(execution) = execution else { return Ok(None) };
        let history = broker.history(&Aggregate::Job(execution, attempt.job)).await.context("its history")?;
        Ok(history.iter().filter_map(Self::of).find(|ended| ended.attempt == *attempt))
    }
}
