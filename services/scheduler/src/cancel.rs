//! Canceling: what is to stop, and does not wait for it longer than its runner needs.
//!
//! Owns the way from a wish to stop to its end. A job that waits ends here; an attempt is ended by its runner, which is
//! told as often as it may have missed it. Whose runner is lost ends with the loss, because what is to stop is never
//! given out again.

use std::collections::HashMap;

use events::beat::Running;
use events::id::{CommandId, ExecutionId, JobId, RunnerId};
use events::job::{self, Canceled, Command, State};
use events::ticket::Control;

use crate::facts::Fact;
use crate::service::{BATCH, Service};

/// The attempts whose runners were told to stop them, and whether they had started then: one that had not may have been
/// taken up by a process that knows nothing of it.
pub(crate) type Told = HashMap<(RunnerId, Running), bool>;

impl Service {
    /// Passes wishes to stop on and ends what waits; says whether there is more to do at once.
    pub(crate) async fn cancel(&mut self) -> anyhow::Result<bool> {
        let passed_on = self.wishes();
        self.append(passed_on).await?;
        self.tell_runners().await;
        let mut ends = self.ends();
        let more = ends.len() > BATCH;
        ends.truncate(BATCH);
        self.append(ends).await?;
        Ok(more)
    }

    /// What an execution's cancel means for its jobs that a runner has.
    fn wishes(&self) -> Vec<Fact> {
        let held =
            self.stopping_jobs().filter(|id| self.state_of(*id).is_some_and(|job| job.runner().is_some()));
        held.filter_map(|id| self.cancel_fact(id, "request_cancel", Command::RequestCancel)).collect()
    }

    /// The ends of the jobs that wait and are to stop.
    fn ends(&self) -> Vec<Fact> {
        let index = &self.fold.index;
        let single = index.canceling.iter().copied().filter(|(id, _)| !index.stopping.contains(id));
        self.stopping_jobs()
            .chain(single)
            .filter(|id| self.state_of(*id).is_some_and(|state| state.state == State::Queued))
            .filter_map(|id| {
                let nobody = Canceled { attempt: None, log: None };
                self.cancel_fact(id, "cancel", Command::Cancel(nobody))
            })
            .collect()
    }

    /// The jobs of the executions that are to stop.
    fn stopping_jobs(&self) -> impl Iterator<Item = (ExecutionId, JobId)> {
        let stopping = self.fold.index.stopping.iter();
        let executions = stopping.filter_map(|id| Some((id, self.fold.executions.get(id)?)));
        executions.flat_map(|(id, execution)| execution.jobs.keys().map(|job| (*id, *job)))
    }

    fn state_of(&self, (execution, job): (ExecutionId, JobId)) -> Option<&job::Job> {
        self.fold.job(execution, job).map(|tracked| &tracked.state)
    }

    fn cancel_fact(&self, id: (ExecutionId, JobId), name: &str, command: Command) -> Option<Fact> {
        let tracked = self.fold.job(id.0, id.1)?;
        let event = job::decide(&tracked.state, command).ok()??;
        // A job may be canceled, tried again and canceled once more: each time from another place in the log.
        let command = CommandId::derived(&[name, &id.1.to_string(), &tracked.sequence.to_string()]);
        Some(self.job_fact(id, command, event))
    }

    /// Tells runners to stop what they have and is to stop.
    async fn tell_runners(&mut self) {
        let mut stopping = HashMap::new();
        for (execution, job) in &self.fold.index.canceling {
            let Some(state) = self.state_of((*execution, *job)) else { continue };
            let Some(runner) = state.runner() else { continue };
            let started = matches!(state.state, State::Running { .. });
            stopping.insert((runner.clone(), Running { job: *job, attempt: state.attempt }), started);
        }
        self.told.retain(|told, _| stopping.contains_key(told));
        for ((runner, running), started) in stopping {
            let told = self.told.get(&(runner.clone(), running.clone()));
            if told.is_some_and(|had_started| *had_started || !started) {
                continue;
            }
            let Running { job, attempt } = running;
            match self.broker.put_control(&runner, &Control::Cancel { job, attempt }).await {
                Ok(()) => drop(self.told.insert((runner, running), started)),
                Err(error) => {
                    tracing::warn!(runner = %runner, %error, "a runner cannot be told to stop an attempt yet");
                }
            }
        }
    }
}
