//! Draining: runners that finish what they run, and leave.
//!
//! Owns the conversation with a runner that takes nothing new, whoever wished that: it is noted, the runner is told once
//! nothing more will come for it, and noted again when it has left. Invariant: a runner that is told so has all its
//! tickets in its queue, so that it can give back those that it has not begun.

use events::beat::{RunnerBeat, Stage};
use events::id::RunnerId;
use events::job::State;
use events::runner::{self, Command, Runner};
use events::ticket::Control;
use tokio::time::Instant;

use crate::service::Service;

/// Why a runner is gone that drained.
const DRAINED: &str = "drained";

impl Service {
    /// Whether a runner takes nothing new, because somebody asked this start of it for that or because it stops.
    pub(crate) fn is_draining(&self, id: &RunnerId, beat: &RunnerBeat) -> bool {
        beat.stage != Stage::Working || self.this_start(id, beat).is_some_and(|known| known.draining)
    }

    /// Brings each runner that drains one step further.
    pub(crate) async fn drain(&mut self, now: Instant) -> anyhow::Result<()> {
        let draining: Vec<(RunnerId, RunnerBeat)> = self
            .leases
            .living(now)
            .filter(|(id, beat)| self.is_draining(id, beat))
            .map(|(id, beat)| (id.clone(), beat.clone()))
            .collect();
        let mut facts = Vec::new();
        for (id, beat) in &draining {
            let known = self.this_start(id, beat);
            let event = known.and_then(|known| runner::decide(known, Command::Drain).ok()?);
            if let Some(event) = event {
                tracing::info!(runner = %id, "a runner drains");
                facts.push(self.runner_fact(id, event));
            }
        }
        self.append(facts).await?;
        for (id, beat) in draining {
            match beat.stage {
                Stage::Leaving => self.see_off(&id).await?,
                Stage::Working | Stage::Draining => self.tell_to_drain(id, &beat).await,
            }
        }
        Ok(())
    }

    /// What is noted of this start of the runner; nothing if it never took a job.
    fn this_start(&self, id: &RunnerId, beat: &RunnerBeat) -> Option<&Runner> {
        let known = &self.fold.runners.get(id)?.state;
        let is_this = known.registered.as_ref().is_some_and(|one| one.incarnation == beat.incarnation);
        is_this.then_some(known)
    }

    /// Tells a runner that all that it will ever get is in its queue, once that is so.
    async fn tell_to_drain(&mut self, id: RunnerId, beat: &RunnerBeat) {
        let noted = self.this_start(&id, beat).is_none_or(|known| known.draining);
        let told = (id, beat.incarnation);
        if !noted || self.told_to_drain.contains(&told) || self.owes_tickets(&told.0) {
            return;
        }
        let control = Control::Drain { incarnation: beat.incarnation };
        match self.broker.put_control(&told.0, &control).await {
            Ok(()) => {
                self.told_to_drain.insert(told);
            }
            Err(error) => tracing::warn!(runner = %told.0, %error, "a runner cannot be told to drain yet"),
        }
    }

    /// Whether a ticket for the runner is not in its queue yet.
    fn owes_tickets(&self, id: &RunnerId) -> bool {
        let held = self.fold.index.held.get(id).into_iter().flatten();
        let jobs = held.filter_map(|(execution, job)| Some((job, &self.fold.job(*execution, *job)?.state)));
        jobs.filter(|(_, state)| matches!(state.state, State::Assigned { .. }))
            .any(|(job, state)| self.sent.get(job) != Some(&state.attempt))
    }

    /// Notes that a runner has left, once its last reports are facts.
    async fn see_off(&mut self, id: &RunnerId) -> anyhow::Result<()> {
        if self.fold.load(id) > 0 {
            return Ok(());
        }
        let known = self.fold.runners.get(id).map(|tracked| tracked.state.clone()).unwrap_or_default();
        let leave = Command::Leave { reason: DRAINED.to_owned() };
        if let Ok(Some(event)) = runner::decide(&known, leave) {
            tracing::info!(runner = %id, "a runner has left");
            let fact = self.runner_fact(id, event);
            if !self.try_append(vec![fact]).await?.is_empty() {
                return Ok(());
            }
        }
        self.told_to_drain.retain(|(told, _)| told != id);
        self.opened.remove(id);
        self.leases.forget(id);
        Ok(())
    }
}
