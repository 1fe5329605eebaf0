//! The fleet: runners that come and go, and the attempts that go with them.
//!
//! Owns what a heartbeat or its absence means for the log. An attempt is lost when its runner is silent for a lease, or
//! lives and no longer has it.

use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::Context as _;
use events::beat::{LEASE_MS, RunnerBeat, Running};
use events::id::{CommandId, ExecutionId, JobId, RunnerId};
use events::job::{self, Command, Loss, LossCause, State};
use events::runner;
use events::ticket::Control;
use tokio::time::Instant;

use crate::facts::Fact;
use crate::leases::{Held, LEASE};
use crate::outside::time;
use crate::service::Service;

impl Service {
    /// Records the runners that came, and watches the ones that should be there.
    pub(crate) async fn greet(&mut self, now: Instant) -> anyhow::Result<()> {
        let registered = self.fold.runners.iter().filter(|(_, tracked)| tracked.state.registered.is_some());
        let holding = self.fold.index.held.iter().filter(|(_, held)| !held.is_empty());
        for id in registered.map(|(id, _)| id).chain(holding.map(|(id, _)| id)) {
            self.leases.expect(id, now);
        }
        let mut facts = Vec::new();
        for (id, beat) in self.leases.living(now) {
            let known = self.fold.runners.get(id).and_then(|tracked| tracked.state.registered.as_ref());
            // One that takes no jobs yet, because its engine is away, comes when it does: its slots are what is noted.
            if known.is_some_and(|known| known.incarnation == beat.incarnation) || beat.slots == 0 {
                continue;
            }
            let (pool, labels) = self.belongs(id, beat);
            let registered = runner::Registered {
                incarnation: beat.incarnation,
                slots: beat.slots,
                pool: pool.to_owned(),
                labels: labels.clone(),
                version: beat.version.clone(),
            };
            tracing::info!(runner = %id, slots = beat.slots, "a runner came");
            facts.push(self.runner_fact(id, registered.into()));
        }
        self.append(facts).await
    }

    /// The pool and the labels of a runner: what its token says, and what it says itself where that says nothing.
    pub(crate) fn belongs<'a>(
        &'a self,
        id: &RunnerId,
        beat: &'a RunnerBeat,
    ) -> (&'a str, &'a BTreeMap<String, String>) {
        let token = self.fold.enrollments.get(id).and_then(|tracked| tracked.state.says());
        let pool = token.and_then(|token| token.pool.as_deref()).unwrap_or(&beat.pool);
        let labels = token.and_then(|token| token.labels.as_ref()).unwrap_or(&beat.labels);
        (pool, labels)
    }

    /// Records the runners that went, and the attempts that are lost.
    pub(crate) async fn lose(&mut self, now: Instant) -> anyhow::Result<()> {
        let mut facts = Vec::new();
        for runner in self.leases.silent(now) {
            facts.extend(self.part(&runner).await?);
        }
        let living: Vec<RunnerId> = self.leases.living(now).map(|(id, _)| id.clone()).collect();
        for runner in living {
            let held = self.held_by(&runner);
            let attempts: Vec<Held> = held.iter().map(|(_, held)| held.clone()).collect();
            for (attempt, reason) in self.leases.dropped(&runner, &attempts, now) {
                let id = held.iter().find(|(_, held)| held.attempt == attempt).map(|(id, _)| *id);
                facts.extend(id.and_then(|id| self.loss(id, &reason)));
            }
        }
        self.append(facts).await
    }

    /// What a runner's silence means. Once nothing is left of it, it is forgotten.
    async fn part(&mut self, runner: &RunnerId) -> anyhow::Result<Vec<Fact>> {
        let reason = format!("the runner {runner} was silent for {} s", LEASE_MS / 1_000);
        let held = self.held_by(runner);
        let known = self.fold.runners.get(runner).is_some_and(|tracked| tracked.state.registered.is_some());
        if held.is_empty() && !known {
            self.leases.forget(runner);
            return Ok(Vec::new());
        }
        tracing::warn!(runner = %runner, attempts = held.len(), "a runner is gone");
        self.opened.remove(runner);
        self.broker.clear_tickets(runner).await.context("clearing a runner's queue")?;
        let mut facts: Vec<Fact> = held.iter().filter_map(|(id, _)| self.loss(*id, &reason)).collect();
        if known {
            facts.push(self.runner_fact(runner, runner::Gone { reason }.into()));
        }
        Ok(facts)
    }

    fn held_by(&self, runner: &RunnerId) -> Vec<((ExecutionId, JobId), Held)> {
        let held = self.fold.index.held.get(runner).into_iter().flatten();
        held.filter_map(|(execution, job)| {
            let state = &self.fold.job(*execution, *job)?.state;
            let started = matches!(state.state, State::Running { .. });
            let attempt = Running { job: *job, attempt: state.attempt };
            Some(((*execution, *job), Held { attempt, started }))
        })
        .collect()
    }

    fn loss(&self, id: (ExecutionId, JobId), reason: &str) -> Option<Fact> {
        let state = &self.fold.job(id.0, id.1)?.state;
        let (attempt, reason) = (state.attempt, reason.to_owned());
        let command = Command::Lose(Loss { attempt, cause: LossCause::Runner, reason, now: time() });
        let event = job::decide(state, command).ok()??;
        let command = CommandId::derived(&["lose", &id.1.to_string(), &state.attempt.to_string()]);
        Some(self.job_fact(id, command, event))
    }

    /// Tells runners to drop attempts that are theirs no more.
    pub(crate) async fn abandon(&mut self, now: Instant) {
        let mut stale = HashSet::new();
        let mut unheld = HashMap::new();
        for (runner, beat) in self.leases.living(now) {
            for running in &beat.running {
                let attempt = (runner.clone(), running.clone());
                if self.is_stale(runner, running) {
                    stale.insert(attempt);
                } else if !self.is_held(runner, running) {
                    let since = self.unheld.get(&attempt).copied().unwrap_or(now);
                    if now >= since + LEASE {
                        stale.insert(attempt.clone());
                    }
                    unheld.insert(attempt, since);
                }
            }
        }
        self.unheld = unheld;
        self.abandoned.retain(|told| stale.contains(told));
        for (runner, running) in stale {
            let Running { job, attempt } = running;
            if self.abandoned.contains(&(runner.clone(), running.clone())) {
                continue;
            }
            match self.broker.put_control(&runner, &Control::Abandon { job, attempt }).await {
                Ok(()) => {
                    self.abandoned.insert((runner, running));
                }
                Err(error) => {
                    tracing::warn!(runner = %runner, %error, "a runner cannot be told to drop an attempt yet")
                }
            }
        }
    }

    /// Whether a runner has an attempt because the log says so. One that has just ended it has for a moment longer; one
    /// that ended without its runner, which was lost and is back, it has until it is told.
    fn is_held(&self, runner: &RunnerId, running: &Running) -> bool {
        let held = self.fold.index.held.get(runner).into_iter().flatten();
        held.filter(|(_, job)| *job == running.job)
            .filter_map(|(execution, job)| self.fold.job(*execution, *job))
            .any(|tracked| tracked.state.attempt == running.attempt)
    }

    /// Whether an attempt went to somebody else or back to the queue.
    fn is_stale(&self, runner: &RunnerId, running: &Running) -> bool {
        let execution = self.fold.index.whose.get(&running.job);
        execution.and_then(|execution| self.fold.job(*execution, running.job)).is_some_and(|tracked| {
            let job = &tracked.state;
            let elsewhere = job.outcome().is_none() && job.runner() != Some(runner);
            running.attempt < job.attempt || elsewhere
        })
    }
}
