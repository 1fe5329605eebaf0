//! Jobs on their way: queued, assigned, sent out, and counted when all have ended.
//!
//! Owns the steps that move jobs forward. Each looks at the fold alone and does what is missing.

use std::collections::BTreeMap;
use std::time::Duration;

use events::execution::{self, decide};
use events::id::{CommandId, ExecutionId, JobId, RunnerId};
use events::job::{self, Command, State};
use events::runner::label_words;
use events::ticket::Ticket;
use futures::{StreamExt, stream};
use tokio::time::Instant;

use crate::facts::{Fact, IN_FLIGHT};
use crate::fold::Execution;
use crate::rooms::Rooms;
use crate::service::Service;
use crate::{queueing, tickets};

/// How long to leave an execution alone whose jobs could not be queued.
const PATIENCE: Duration = Duration::from_secs(5);

impl Service {
    /// Queues the jobs of executions that were resolved.
    pub(crate) async fn queue(&mut self, now: Instant) -> anyhow::Result<()> {
        self.stuck.retain(|_, until| now < *until);
        let lacking = self.fold.index.lacking.iter().filter(|id| !self.stuck.contains_key(id));
        let lacking: Vec<ExecutionId> = lacking.copied().collect();
        for id in lacking {
            let Some(execution) = self.fold.executions.get(&id) else { continue };
            if let Err(error) = queueing::queue(&self.broker, id, execution).await {
                tracing::warn!(execution.id = %id, error = format!("{error:#}"), "jobs cannot be queued yet");
                self.stuck.insert(id, now + PATIENCE);
                continue;
            }
            // What was queued is in the log; the fold learns of it there.
            while self.fold.executions.get(&id).is_some_and(Execution::lacks_jobs) {
                self.take_next_events().await?;
            }
            let jobs = self.fold.executions.get(&id).map_or(0, |execution| execution.jobs.len());
            tracing::info!(execution.id = %id, jobs, "queued");
        }
        Ok(())
    }

    /// Gives waiting jobs to runners of their pool with their labels and a free slot.
    pub(crate) async fn assign(&mut self, now: Instant) -> anyhow::Result<()> {
        let (mut facts, mut admitted) = (Vec::new(), Vec::new());
        for (pool, mut rooms) in self.rooms(now) {
            while !rooms.is_full() {
                let admission = &mut self.fold.index.admission;
                let Some(id) = admission.admit(&pool, |labels| rooms.has(labels)) else { break };
                let labels = self.fold.executions.get(&id.0).map(|one| &one.settings.labels);
                let Some(runner) = labels.and_then(|labels| rooms.take(labels)) else { break };
                match self.assignment(id, runner) {
                    Some(fact) => {
                        facts.push(fact);
                        admitted.push(id);
                    }
                    None => self.fold.put_back(id),
                }
            }
        }
        // Those that met news wait again until the fold has it.
        for place in self.try_append(facts).await? {
            if let Some(id) = admitted.get(place) {
                self.fold.put_back(*id);
            }
        }
        Ok(())
    }

    fn assignment(&self, id: (ExecutionId, JobId), runner: RunnerId) -> Option<Fact> {
        let state = &self.fold.job(id.0, id.1)?.state;
        let attempt = state.attempt + 1;
        let event =
            job::decide(state, Command::Assign { attempt, runner, secrets: self.fold.secrets_for(id.0) })
                .ok()??;
        let command = CommandId::derived(&["assign", &id.1.to_string(), &attempt.to_string()]);
        Some(self.job_fact(id, command, event))
    }

    /// The free slots of each pool.
    fn rooms(&self, now: Instant) -> BTreeMap<String, Rooms> {
        let mut rooms: BTreeMap<String, Rooms> = BTreeMap::new();
        for (id, beat) in self.leases.living(now) {
            let registered =
                self.fold.runners.get(id).is_some_and(|tracked| tracked.state.registered.is_some());
            if registered && !self.is_draining(id, beat) {
                let free = (beat.slots as usize).saturating_sub(self.fold.load(id));
                let (pool, labels) = self.belongs(id, beat);
                rooms.entry(pool.to_owned()).or_default().add(label_words(labels), id.clone(), free);
            }
        }
        rooms
    }

    /// Sends the tickets of assigned attempts, unless this process has already. A runner drops what it has.
    pub(crate) async fn send_tickets(&mut self, now: Instant) {
        let living: Vec<RunnerId> = self.leases.living(now).map(|(id, _)| id.clone()).collect();
        let mut due = Vec::new();
        for runner in living {
            if !self.opened.contains(&runner) {
                if let Err(error) = self.broker.open_queues(&runner).await {
                    tracing::warn!(runner = %runner, %error, "a runner's queues cannot be opened yet");
                    continue;
                }
                self.opened.insert(runner.clone());
            }
            let held = self.fold.index.held.get(&runner).into_iter().flatten();
            due.extend(held.filter_map(|id| self.due_ticket(*id)).map(|ticket| (runner.clone(), ticket)));
        }
        let due = self.with_secrets(due, now).await;
        let due = self.with_reuse(due).await;
        let broker = &self.broker;
        let mut sending = stream::iter(due)
            .map(|(runner, ticket)| async move { (broker.put_ticket(&runner, &ticket).await, ticket) })
            .buffer_unordered(IN_FLIGHT);
        while let Some((result, ticket)) = sending.next().await {
            match result {
                Ok(()) => {
                    self.sent.insert(ticket.job, ticket.attempt);
                }
                Err(error) => tracing::warn!(job.id = %ticket.job, %error, "a ticket cannot be sent yet"),
            }
        }
    }

    fn due_ticket(&self, (execution, job): (ExecutionId, JobId)) -> Option<Ticket> {
        let of = self.fold.executions.get(&execution)?;
        let state = &of.jobs.get(&job)?.state;
        let assigned = matches!(state.state, State::Assigned { .. });
        if !assigned || self.sent.get(&job) == Some(&state.attempt) {
            return None;
        }
        let timeout = of.settings.timeout.unwrap_or(self.config.default_timeout).min(self.config.max_timeout);
        tickets::ticket((execution, &of.own.state), (job, state), timeout)
    }

    /// Ends the executions with nothing left to do.
    pub(crate) async fn complete(&mut self) -> anyhow::Result<()> {
        let mut facts = Vec::new();
        for id in &self.fold.index.done {
            let Some(execution) = self.fold.executions.get(id) else { continue };
            let command = execution::Command::Complete(execution.counts());
            if let Ok(Some(event)) = decide(&execution.own.state, command) {
                for job in execution.jobs.keys() {
                    self.sent.remove(job);
                }
                facts.push(self.execution_fact(*id, event));
            }
        }
        self.append(facts).await
    }
}
