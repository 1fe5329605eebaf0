//! Heartbeats: once a second, whatever else goes on.
//!
//! Owns what a runner says of itself. A beat says what is true now; it is this runner's lease on what it runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use broker::Broker;
use events::beat::{INTERVAL_MS, RunnerBeat, Stage};
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
    /// Which start of the process this is.
    pub(crate) incarnation: Uuid,
    pub(crate) slots: u32,
    pub(crate) pool: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) state: watch::Receiver<State>,
    pub(crate) stage: watch::Receiver<Stage>,
    pub(crate) sealing_key: String,
}

impl Heart {
    /// Beats until the runner leaves, which is the last that it says.
    pub(crate) async fn beat(mut self) {
        let mut interval = tokio::time::interval(Duration::from_millis(INTERVAL_MS));
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // A change of health is news that should not wait: no ticket is sent to who cannot take it.
            tokio::select! {
                _ = interval.tick() => {}
                Ok(()) = self.state.changed() => {}
                Ok(()) = self.stage.changed() => {}
            }
            let beat = self.say();
            let said = match beat.stage {
                Stage::Leaving => self.broker.last_beat_of_runner(&self.runner, &beat).await,
                Stage::Working | Stage::Draining => self.broker.beat_runner(&self.runner, &beat).await,
            };
            if let Err(error) = said {
                tracing::error!(%error, "a heartbeat cannot be written");
            }
            if beat.stage == Stage::Leaving {
                return;
            }
        }
    }

    fn say(&self) -> RunnerBeat {
        let stage = *self.stage.borrow();
        let running: Vec<_> = self.attempts.all().into_iter().collect();
        let state = self.state.borrow();
        let slots = match (stage, &state.trouble, &state.short) {
            (Stage::Working, None, None) => self.slots,
            // What runs goes on, and nothing is added.
            (Stage::Working, None, Some(_)) => {
                self.slots.min(u32::try_from(running.len()).unwrap_or(u32::MAX))
            }
            _ => 0,
        };
        RunnerBeat {
            incarnation: self.incarnation,
            slots,
            running,
            pool: self.pool.clone(),
            stage,
            labels: self.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            trouble: state.reason().map(str::to_owned),
            sealing_key: Some(self.sealing_key.clone()),
        }
    }
}
