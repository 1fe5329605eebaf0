//! The sweep: live logs that nobody's event leads to any more.
//!
//! Owns the look at what is left: a log that was sealed and not yet removed when the process died, and chunks of a lost
//! attempt that turned up after its seal. Never touches the log of an attempt that runs.

use std::collections::HashMap;

use anyhow::Context as _;
use broker::Broker;
use events::beat::Running;

use crate::ended::Ended;
use crate::fold::Fold;

/// What the last look found.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// How many chunks each log that was left had; absent before the first look.
    left: Option<HashMap<Running, u64>>,
}

impl Sweep {
    /// Finds ended attempts with a live log that the fold knows nothing of. One that still grows is left to grow.
    pub(crate) async fn look(&mut self, broker: &Broker, fold: &Fold) -> anyhow::Result<Vec<Ended>> {
        let mut left: HashMap<Running, u64> = HashMap::new();
        for log in broker.live_logs().await.context("listing live logs")? {
            if !fold.knows(&log.attempt) {
                *left.entry(log.attempt).or_default() += log.chunks;
            }
        }
        let mut found = Vec::new();
        for (attempt, chunks) in &left {
            // At the first look there is nothing to compare with: what a crash left does not grow.
            let still = self.left.as_ref().is_none_or(|before| before.get(attempt) == Some(chunks));
            if still {
                found.extend(Ended::find(broker, attempt).await?);
            }
        }
        self.left = Some(left);
        Ok(found)
    }
}
