//! What the scheduler is in touch with: the broker and the clocks.
//!
//! Owns the one place where they are named. In the tests of this crate both are a model's (`crate::model`), so that the very
//! code of the loop goes through a hundred thousand histories of faults in seconds; everywhere else they are what they seem.

#[cfg(not(test))]
pub(crate) use broker::{Broker, Checkpoint, Follower, Message, ReportDelivery, SnapshotFile};
#[cfg(not(test))]
pub(crate) use clocks::{now, time};

#[cfg(test)]
pub(crate) use crate::model::connection::{Broker, Follower, Message, ReportDelivery};
#[cfg(test)]
pub(crate) use crate::model::machine::{SnapshotFile, now, time};
#[cfg(test)]
pub(crate) use broker::Checkpoint;

#[cfg(not(test))]
mod clocks {
    /// The clock that never goes back, for patience.
    pub(crate) fn now() -> tokio::time::Instant {
        tokio::time::Instant::now()
    }

    /// The clock on the wall, for what is written down.
    pub(crate) fn time() -> events::Timestamp {
        chrono::Utc::now()
    }
}
