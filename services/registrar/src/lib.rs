//! The registrar: which machine speaks for which runner, and who has which subscription.
//!
//! Owns the answer to every machine that wants to enroll or to connect, and the end of the connections of those who were
//! revoked. A fold over enrollments, small enough to be read anew at each start. Never hands out a secret. Invariant: a key
//! is let in as long as the log says that it is a runner's, and no longer.

mod fold;
mod service;

use broker::Broker;
use broker::door::{Door, DoorKeys};
use tokio_util::sync::CancellationToken;

/// What the registrar works with.
#[derive(Debug)]
pub struct Config {
    /// How the registrar connects: the door is at the same broker.
    pub connection: broker::Config,
    /// With what it stands at the door.
    pub keys: DoorKeys,
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the log is gone, or the broker lets the registrar not to the door.
pub async fn run(config: Config, broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    let door = Door::open(&config.connection, config.keys).await?;
    service::Service::start(broker, door).await?.run(stop).await
}
