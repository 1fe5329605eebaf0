//! Where the projection stands.

use anyhow::Context as _;
use broker::Broker;
use events::Timestamp;

use crate::schema;

/// How far the projection is behind the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The live generation.
    pub generation: i64,
    /// The last event that is in it; 0: none yet.
    pub sequence: u64,
    /// When that event was decided; absent where there is none, or it cannot be read.
    pub event_time: Option<Timestamp>,
    /// The last event of the log.
    pub last_sequence: u64,
    /// How many events are still to come.
    pub lag: u64,
    /// Whether the log still holds what is in the projection. If not, the log was cut: restore it, or rebuild.
    pub log_intact: bool,
}

/// Looks where the projection stands.
///
/// # Errors
/// When the database or the broker does not answer, or there is no projection.
pub async fn status(url: &str, broker: &Broker) -> anyhow::Result<Status> {
    let pool = schema::connect(url).await?;
    let mut connection = pool.acquire().await.context("the projection's database gives no connection")?;
    let live = schema::live(&mut connection).await?;
    drop(connection);
    pool.close().await;
    let last_sequence = broker.last_sequence().await.context("the log cannot be asked for its end")?;
    let sequence = live.checkpoint.sequence;
    let log_intact = match broker.verify(&live.checkpoint).await {
        Ok(()) => true,
        Err(broker::VerifyError::Cut { .. }) => false,
        Err(error) => return Err(error).context("the log cannot be read"),
    };
    let event = match sequence {
        0 => None,
        _ => broker.event_at(sequence).await.context("the log cannot be read")?,
    };
    let event_time = event.and_then(|message| message.event().ok()).map(|recorded| recorded.time);
    let lag = last_sequence.saturating_sub(sequence);
    Ok(Status { generation: live.number, sequence, event_time, last_sequence, lag, log_intact })
}
