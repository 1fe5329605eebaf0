//! The fleet: what the runners say of themselves right now.
//!
//! Owns the newest heartbeat of each runner. What it holds is for show and never a fact: whether a runner lives is the
//! scheduler's to say. Invariant: a beat that is older than a lease is not shown.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use broker::Broker;
use events::beat::{LEASE_MS, RunnerBeat};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

/// The newest heartbeats. Cheap to clone; the last clone ends the following.
#[derive(Clone)]
pub(crate) struct Fleet {
    beats: Arc<RwLock<Beats>>,
    _follower: Arc<AbortOnDropHandle<()>>,
}

type Beats = HashMap<String, (Instant, RunnerBeat)>;

impl Fleet {
    /// Follows the heartbeats from now on.
    pub(crate) fn follow(broker: &Broker) -> Self {
        let beats = Arc::new(RwLock::new(Beats::new()));
        let (mut follower, written) = (broker.follow_runner_beats(), Arc::clone(&beats));
        let follower = tokio::spawn(async move {
            // Without the stream of heartbeats the gateway ends: somebody else waits for that.
            while let Ok((runner, beat)) = follower.next().await {
                let mut beats = written.write().unwrap_or_else(PoisonError::into_inner);
                beats.retain(|_, (heard, _)| is_fresh(*heard));
                beats.insert(runner.to_string(), (Instant::now(), beat));
            }
        });
        Self { beats, _follower: Arc::new(AbortOnDropHandle::new(follower)) }
    }

    /// What a runner said last; nothing if it is silent.
    pub(crate) fn beat(&self, runner: &str) -> Option<RunnerBeat> {
        let beats = self.beats.read().unwrap_or_else(PoisonError::into_inner);
        beats.get(runner).filter(|(heard, _)| is_fresh(*heard)).map(|(_, beat)| beat.clone())
    }
}

fn is_fresh(heard: Instant) -> bool {
    heard.elapsed() < Duration::from_millis(LEASE_MS)
}
