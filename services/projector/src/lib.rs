//! The projector: events become rows.
//!
//! Owns the projection's tables and is the only one that writes to them; the gateway and the command line read the views.
//! Invariant: rows and checkpoint are one transaction, so that the projection is exactly what the log says up to its
//! checkpoint.
//!
//! [`schema::open`] makes an empty projection with its views, as a test of a reader wants it.

mod cache;
mod columns;
mod compare;
mod fold;
mod intake;
mod live;
mod projection;
mod rebuild;
mod rows;
pub mod schema;
mod statements;
mod status;
#[cfg(test)]
mod tests;
mod verify;
mod wanted;

use broker::Broker;
use tokio_util::sync::CancellationToken;

pub use compare::Difference;
pub use rebuild::{Progress, Rebuilt, rebuild};
pub use status::{Status, status};
pub use verify::{Differences, verify};

/// The name under which events are set aside.
pub const SERVICE: &str = "projector";

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the projection is: `sqlite:///path/projection.sqlite` (made if it does not exist) or `postgres://…`.
    pub database_url: String,
}

/// Runs until it is told to stop.
///
/// # Errors
/// When the log was cut below what was seen before, or is gone; when the database is not there at the start, or holds another
/// build's tables.
pub async fn run(config: Config, broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    live::run(&config.database_url, broker, stop).await
}

/// Every row of the projection as text, a line each: the same for the same rows, whatever the engine.
///
/// # Errors
/// When the database cannot be read.
pub async fn dump(pool: &sqlx::AnyPool) -> anyhow::Result<String> {
    let mut connection = pool.acquire().await?;
    Ok(compare::dump(&mut connection).await?)
}
