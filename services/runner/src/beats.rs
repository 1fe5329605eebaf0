//! Heartbeats: once a second, whatever else goes on.
//!
//! Owns the runner's incarnation. A beat says what is true now; it is this runner's lease on what it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use events::beat::{INTERVAL_MS, RunnerBeat};
use events::id::RunnerId;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::attempts::Attempts;
use crate::health::State;

/// What a runner says of itself.
pub(crate) struct Heart {
    pub(crate) broker: Broker,
    pub(crate) runner: RunnerId,
    pub(crate) slots: u32,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) draining: watch::Receiver<bool>,
}

impl Heart {
    /// Beats for ever.
    pub(crate) async fn beat(mut self) {
        let incarnation = Uuid::now_v7();
        let mut interval = tokio::time::interval(Duration::from_millis(INTERVAL_MS));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // A change of health is news that should not wait: no ticket is sent to who cannot take it.
            tokio::select! {
                _ = interval.tick() => {}
                Ok(()) = self.state.changed() => {}
                Ok(()) = self.draining.changed() => {}
            }
            let beat = self.say(incarnation);
            if let Err(error) = self.broker.beat_runner(&self.runner, &beat).await {
                tracing::error!(%error, "a heartbeat cannot be written");
            }
        }
    }

    fn say(&self, incarnation: Uuid) -> RunnerBeat {
        let trouble = match *self.draining.borrow() {
            true => Some("it is shutting down".to_owned()),
            false => self.state.borrow().trouble.clone(),
        };
        RunnerBeat {
            incarnation,
            slots: if trouble.is_some() { 0 } else { self.slots },
            running: self.attempts.all().into_iter().collect(),
            labels: self.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trouble,
        }
    }
}
