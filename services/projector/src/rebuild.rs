//! A rebuild: a new generation beside the live one, from the first event, switched to once it has caught up.
//!
//! Owns the switch. Never touches the live tables before it. Invariant: whenever a rebuild dies, the projection is either the
//! old one or the new one, whole; what it leaves behind is removed by the next.

use anyhow::{Context as _, bail};
use broker::{Broker, VerifyError};
use sqlx::AnyConnection;

use crate::intake::Intake;
use crate::projection::{Projection, sequence};
use crate::schema::{self, Generation};

/// How often the switch waits for the live projection to be reached, before it is made even so: the live one then reads the
/// few events between the two again. Each round reads what there is, so that the two meet within a few.
const ROUNDS: u32 = 100;

/// How far a rebuild or a verification has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last event that was taken in.
    pub sequence: u64,
    /// The event to get to, as far as it is known.
    pub target: u64,
}

/// What a rebuild came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The generation that is live now.
    pub generation: i64,
    /// The last event that is in it.
    pub sequence: u64,
    /// How many events it read.
    pub events: u64,
    /// What could not be read: the event's sequence and why. It is missing from the projection.
    pub unread: Vec<(u64, String)>,
}

/// Builds the projection anew and switches to it. The live one may go on meanwhile.
///
/// # Errors
/// When the database or the log fails, or another rebuild takes over.
pub async fn rebuild(
    url: &str,
    broker: &Broker,
    mut progress: impl FnMut(Progress),
) -> anyhow::Result<Rebuilt> {
    let pool = schema::connect(url).await?;
    let mut connection = pool.acquire().await.context("the projection's database gives no connection")?;
    schema::ensure(&mut connection).await.context("the projection's tables cannot be made")?;
    schema::drop_leftovers(&mut connection).await.context("an earlier rebuild's tables cannot be removed")?;
    let mut transaction = schema::begin(&mut connection).await?;
    let number = schema::create(&mut transaction, false).await.context("the new tables cannot be made")?;
    transaction.commit().await?;

    let generation = Generation { number, checkpoint: broker::Checkpoint::START };
    let mut projection = Projection::new(connection, generation, false);
    let mut intake = Intake::after(broker, 0);
    let mut rebuilt = Rebuilt { generation: number, sequence: 0, events: 0, unread: Vec::new() };
    let mut rounds = if is_cut(&mut projection.connection, broker).await? { 1 } else { ROUNDS };
    loop {
        let target = broker.last_sequence().await.context("the log cannot be asked for its end")?;
        catch_up(&mut projection, &mut intake, target, &mut rebuilt, &mut progress).await?;
        rounds -= 1;
        let here = projection.generation.checkpoint.sequence;
        if switch(&mut projection.connection, number, here, rounds > 0).await? {
            break;
        }
    }
    rebuilt.sequence = projection.generation.checkpoint.sequence;
    schema::drop_leftovers(&mut projection.connection).await.context(
        "the new generation is live; the old one's tables cannot be removed and the next rebuild will",
    )?;
    drop(projection);
    pool.close().await;
    Ok(rebuilt)
}

async fn catch_up(
    projection: &mut Projection,
    intake: &mut Intake,
    target: u64,
    rebuilt: &mut Rebuilt,
    progress: &mut impl FnMut(Progress),
) -> anyhow::Result<()> {
    while projection.generation.checkpoint.sequence < target {
        let part = intake.next().await?;
        rebuilt.events += part.events.len() as u64;
        rebuilt.unread.extend(part.unread.into_iter().map(|(message, why)| (message.sequence, why)));
        if !projection
            .take(&part.events, part.checkpoint)
            .await
            .context("the new tables cannot be written")?
        {
            bail!("another rebuild has begun and removed this one's tables: let only one run");
        }
        let sequence = projection.generation.checkpoint.sequence;
        progress(Progress { sequence, target: target.max(sequence) });
    }
    Ok(())
}

/// Whether the live projection knows more than the log: then it cannot be caught up with.
async fn is_cut(connection: &mut AnyConnection, broker: &Broker) -> anyhow::Result<bool> {
    let Some((live, _)) = schema::active(connection).await? else { return Ok(false) };
    match broker.verify(&live.checkpoint).await {
        Ok(()) => Ok(false),
        Err(VerifyError::Cut { .. }) => Ok(true),
        Err(error) => Err(error).context("the log cannot be read"),
    }
}

/// Makes a generation the live one; `wait`: unless the live one is ahead of it.
async fn switch(connection: &mut AnyConnection, number: i64, here: u64, wait: bool) -> anyhow::Result<bool> {
    let mut transaction = schema::begin(connection).await?;
    // First of all: from here on the live projection waits, so that what is compared below stays as it is.
    sqlx::query("UPDATE generations SET active = 0 WHERE active = 1").execute(&mut *transaction).await?;
    let ahead: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM generations WHERE generation <> $1 AND sequence > $2")
            .bind(number)
            .bind(sequence(here))
            .fetch_one(&mut *transaction)
            .await?;
    if ahead > 0 && wait {
        transaction.rollback().await?;
        return Ok(false);
    }
    let done = sqlx::query("UPDATE generations SET active = 1 WHERE generation = $1 AND sequence = $2")
        .bind(number)
        .bind(sequence(here))
        .execute(&mut *transaction)
        .await?;
    if done.rows_affected() != 1 {
        bail!("another rebuild has begun and removed this one's tables: let only one run");
    }
    schema::switch_views(&mut transaction, number).await.context("the views cannot be switched")?;
    transaction.commit().await.context("the switch to the new tables cannot be committed")?;
    Ok(true)
}
