//! All roles in one process: started together, watched, stopped in order.
//!
//! Owns the order of the end: what takes work in stops first, what others still write to stops last. Invariant: a role
//! that ends by itself ends everything, and is named once.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::anyhow;
use futures::FutureExt as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::signals::Signals;

/// How long a stage may take until it is said who is waited for.
const QUIET: Duration = Duration::from_secs(1);

/// How often that is said again.
const REMIND: Duration = Duration::from_secs(15);

/// When a role stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// With the first: it takes work in, or does it.
    Intake,
    /// After those: it turns what they did into facts.
    Facts,
    /// Last: it shows what happened.
    Views,
}

impl Stage {
    const ALL: [Self; 3] = [Self::Intake, Self::Facts, Self::Views];
}

/// The roles that run.
#[derive(Default)]
pub(super) struct Supervisor {
    roles: Vec<Role>,
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
}

struct Role {
    name: &'static str,
    stage: Stage,
    stop: CancellationToken,
    runs: bool,
}

/// How waiting ended.
pub(super) enum Outcome {
    /// All have stopped.
    Stopped,
    /// Somebody could not wait.
    Interrupted,
}

impl Supervisor {
    /// Starts a role.
    pub(super) fn start<F>(
        &mut self,
        name: &'static str,
        stage: Stage,
        run: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let run = Box::pin(run(stop.clone()));
        self.tasks.spawn(async move {
            // The panic itself was printed where it happened.
            let ended = AssertUnwindSafe(run).catch_unwind().await;
            (name, ended.unwrap_or_else(|_| Err(anyhow!("it panicked"))))
        });
        self.roles.push(Role { name, stage, stop, runs: true });
    }

    /// Waits until a role ends by itself, which none should, and says why it did. Safe to cancel.
    pub(super) async fn failure(&mut self) -> (&'static str, anyhow::Error) {
        match self.next_end().await {
            Some((name, ended)) => (name, ended.err().unwrap_or_else(|| anyhow!("it ended by itself"))),
            None => ("supervisor", anyhow!("no role runs")),
        }
    }

    async fn next_end(&mut self) -> Option<(&'static str, anyhow::Result<()>)> {
        let ended = self.tasks.join_next().await?;
        // A task that catches its panics and is never aborted ends with its value.
        let (name, ended) = ended.unwrap_or_else(|error| ("supervisor", Err(error.into())));
        for role in self.roles.iter_mut().filter(|role| role.name == name) {
            role.runs = false;
        }
        Some((name, ended))
    }

    /// Stops every role, stage by stage, unless one more signal comes.
    pub(super) async fn stop(mut self, signals: &mut Signals) -> Outcome {
        for stage in Stage::ALL {
            for role in self.roles.iter().filter(|role| role.stage == stage) {
                role.stop.cancel();
            }
            let mut remind = tokio::time::interval_at(tokio::time::Instant::now() + QUIET, REMIND);
            while self.running(stage).next().is_some() {
                tokio::select! {
                    ended = self.next_end() => note_end(ended),
                    () = signals.next() => {
                        tracing::warn!("interrupted again: exits at once");
                        return Outcome::Interrupted;
                    }
                    _ = remind.tick() => {
                        let names: BTreeSet<&str> = self.running(stage).collect();
                        let names = names.into_iter().collect::<Vec<_>>().join(", ");
                        tracing::info!("waiting for {names}; interrupt again to exit at once");
                    }
                }
            }
        }
        Outcome::Stopped
    }

    fn running(&self, stage: Stage) -> impl Iterator<Item = &'static str> {
        self.roles.iter().filter(move |role| role.stage == stage && role.runs).map(|role| role.name)
    }
}

fn note_end(ended: Option<(&'static str, anyhow::Result<()>)>) {
    match ended {
        Some((role, Err(error))) => {
            tracing::error!(role, error = crate::logging::chain(&error), "failed while it stopped");
        }
        Some((role, Ok(()))) => tracing::debug!(role, "stopped"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn noted(
        supervisor: &mut Supervisor,
        order: &Arc<Mutex<Vec<&'static str>>>,
        role: (&'static str, Stage),
    ) {
        let order = Arc::clone(order);
        supervisor.start(role.0, role.1, |stop| async move {
            stop.cancelled().await;
            order.lock().unwrap().push(role.0);
            Ok(())
        });
    }

    #[tokio::test]
    async fn roles_stop_in_their_order() {
        let order = Arc::default();
        let mut supervisor = Supervisor::default();
        for role in [("projector", Stage::Views), ("scheduler", Stage::Facts), ("gateway", Stage::Intake)] {
            noted(&mut supervisor, &order, role);
        }
        let mut signals = Signals::listen().unwrap();
        assert!(matches!(supervisor.stop(&mut signals).await, Outcome::Stopped));
        assert_eq!(*order.lock().unwrap(), ["gateway", "scheduler", "projector"]);
    }

    #[tokio::test]
    async fn a_role_that_ends_by_itself_is_named() {
        for (end, message) in [(Ok(()), "it ended by itself"), (Err(anyhow!("no disk")), "no disk")] {
            let mut supervisor = Supervisor::default();
            noted(&mut supervisor, &Arc::default(), ("gateway", Stage::Intake));
            supervisor.start("catalog", Stage::Intake, |_| async { end });
            let (name, error) = supervisor.failure().await;
            assert_eq!((name, error.to_string().as_str()), ("catalog", message));
            supervisor.stop(&mut Signals::listen().unwrap()).await;
        }
    }
}
