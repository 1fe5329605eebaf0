//! Facts: from a decision to an event in the log and in the fold.
//!
//! Owns the appends. Those of different aggregates are under way at once; one that meets news is said to have done so
//! and nothing is lost.

use std::collections::HashSet;

use anyhow::Context as _;
use broker::AppendError;
use events::envelope::{Actor, NewEvent, Origin, Recorded};
use events::id::{CommandId, ExecutionId, JobId, RunnerId};
use events::{Aggregate, Event, execution, job, runner};
use futures::{StreamExt, stream};

use crate::outside::time;
use crate::service::Service;

/// How many requests to the broker may be under way at once; each is one fsync away from its answer.
pub(crate) const IN_FLIGHT: usize = 64;

/// A fact to append, and the newest event of its aggregate that the decision knew.
pub(crate) struct Fact {
    event: NewEvent,
    expected: u64,
}

impl Service {
    /// Appends what was decided. What met news is decided again in the next round, from what is known then.
    pub(crate) async fn append(&mut self, facts: Vec<Fact>) -> anyhow::Result<()> {
        self.try_append(facts).await.map(drop)
    }

    /// Appends at once and takes the facts in; returns the places of those that met news.
    pub(crate) async fn try_append(&mut self, facts: Vec<Fact>) -> anyhow::Result<HashSet<usize>> {
        let broker = &self.broker;
        let mut results = stream::iter(facts.into_iter().enumerate())
            .map(|(place, fact)| async move {
                let result = broker.append(&fact.event, fact.expected).await;
                (place, fact.event, result)
            })
            .buffer_unordered(IN_FLIGHT);
        let mut news = HashSet::new();
        while let Some((place, event, result)) = results.next().await {
            match result {
                Ok(appended) => self.fold.apply(&recorded(event, appended.sequence)),
                Err(AppendError::Conflict) => {
                    news.insert(place);
                }
                Err(error) => return Err(error).context("appending a fact"),
            }
        }
        Ok(news)
    }

    pub(crate) fn execution_fact(&self, id: ExecutionId, event: execution::Event) -> Fact {
        let expected = self.fold.executions.get(&id).map_or(0, |execution| execution.own.sequence);
        let command = CommandId::derived(&[event.name(), &id.to_string(), &expected.to_string()]);
        self.commanded_fact(id, command, event)
    }

    /// The same for a command from elsewhere.
    pub(crate) fn commanded_fact(
        &self,
        id: ExecutionId,
        command: CommandId,
        event: execution::Event,
    ) -> Fact {
        let expected = self.fold.executions.get(&id).map_or(0, |execution| execution.own.sequence);
        fact(Aggregate::Execution(id), Event::Execution(event), origin(command, id.to_string()), expected)
    }

    pub(crate) fn job_fact(&self, id: (ExecutionId, JobId), command: CommandId, event: job::Event) -> Fact {
        let (execution, job) = id;
        let expected = self.fold.job(execution, job).map_or(0, |tracked| tracked.sequence);
        let origin = origin(command, execution.to_string());
        fact(Aggregate::Job(execution, job), Event::Job(event), origin, expected)
    }

    pub(crate) fn runner_fact(&self, id: &RunnerId, event: runner::Event) -> Fact {
        let expected = self.fold.runners.get(id).map_or(0, |tracked| tracked.sequence);
        let command = CommandId::derived(&[event.name(), id.as_str(), &expected.to_string()]);
        fact(Aggregate::Runner(id.clone()), Event::Runner(event), origin(command, id.to_string()), expected)
    }
}

fn fact(aggregate: Aggregate, event: Event, origin: Origin, expected: u64) -> Fact {
    Fact { event: NewEvent { aggregate, event, time: time(), origin }, expected }
}

/// Where the scheduler's commands come from.
pub(crate) fn origin(command: CommandId, correlation: String) -> Origin {
    Origin { command, actor: Actor::service("scheduler"), correlation, causation: None, trace_parent: None }
}

/// What the follower will deliver later, known already.
fn recorded(event: NewEvent, sequence: u64) -> Recorded {
    Recorded {
        sequence,
        id: event.id(),
        time: event.time,
        actor: event.origin.actor,
        correlation: event.origin.correlation,
        causation: event.origin.causation,
        aggregate: event.aggregate,
        event: event.event,
    }
}
