//! The live projection: follows the log for as long as the service runs.
//!
//! Owns what happens when something is in the way: a database that is away is waited for, an event that cannot be read is set
//! aside, a switch to another generation is followed. Never stops for less than a log that was cut or is gone.

use std::time::Duration;

use anyhow::Context as _;
use broker::{Broker, Retries, Retry};
use events::beat::ProjectorBeat;
use sqlx::AnyPool;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::intake::{self, Intake, Part};
use crate::projection::Projection;
use crate::{SERVICE, schema};

/// How long the database may be away at the start before that is an error: long enough for one that starts beside us.
const START_PATIENCE: Duration = Duration::from_secs(15);

/// How long to wait before the database is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// After how long without trouble the next one is worth a word again.
const CALM: Duration = Duration::from_secs(10);

/// How often the projector says where it stands.
const BEAT: Duration = Duration::from_millis(events::beat::INTERVAL_MS);

/// Why following ended.
enum End {
    Stopped,
    /// Another generation is live, or another projector writes.
    Moved,
    /// The database failed.
    Database(sqlx::Error),
}

/// Follows the log until it is told to stop.
pub(crate) async fn run(url: &str, broker: Broker, stop: CancellationToken) -> anyhow::Result<()> {
    let started = tokio::select! {
        () = stop.cancelled() => return Ok(()),
        started = start(url) => started,
    };
    let pool = started?;
    let mut retries = broker.retries(SERVICE);
    let mut trouble: Option<Instant> = None;
    loop {
        let end = match open(&pool, &broker).await {
            Ok(projection) => follow(projection, &broker, &mut retries, &stop).await?,
            Err(Trouble::Database(error)) => End::Database(error),
            Err(Trouble::Fatal(error)) => return Err(error),
        };
        match end {
            End::Stopped => break,
            End::Moved => {
                tracing::info!(
                    "the projection was moved by a rebuild or by another projector: going on from where it is now"
                );
            }
            End::Database(error) => {
                let last = trouble.replace(Instant::now());
                if last.is_none_or(|last| last.elapsed() > CALM) {
                    let error = intake::chain(&error);
                    tracing::warn!(
                        error,
                        "the projection's database is in trouble and is tried again every second"
                    );
                }
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
    pool.close().await;
    Ok(())
}

async fn start(url: &str) -> anyhow::Result<AnyPool> {
    let deadline = Instant::now() + START_PATIENCE;
    loop {
        let error = match schema::open(url).await {
            Ok(pool) => return Ok(pool),
            Err(error) => error,
        };
        // Only a database that does not answer may be better in a second.
        let passing = error.chain().any(|cause| cause.is::<sqlx::Error>());
        if !passing || Instant::now() > deadline {
            return Err(error);
        }
        tracing::info!(error = format!("{error:#}"), "waiting for the projection's database");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why a generation cannot be written to.
enum Trouble {
    Database(sqlx::Error),
    Fatal(anyhow::Error),
}

impl From<sqlx::Error> for Trouble {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Opens the live generation, and checks that its checkpoint is still a place in the log.
async fn open(pool: &AnyPool, broker: &Broker) -> Result<Projection, Trouble> {
    let mut connection = pool.acquire().await?;
    // Asked for first: below, an error of the database would look like a damaged projection.
    schema::active(&mut connection).await?;
    let generation = schema::live(&mut connection).await.map_err(Trouble::Fatal)?;
    loop {
        match broker.verify(&generation.checkpoint).await {
            Ok(()) => return Ok(Projection::new(connection, generation, true)),
            Err(broker::VerifyError::Read(error)) => {
                tracing::debug!(error = intake::chain(&error), "the log is asked again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(cut) => {
                let context = "the projection knows more than the log: if the log is right, run `patchwave projection rebuild`";
                return Err(Trouble::Fatal(anyhow::Error::new(cut).context(context)));
            }
        }
    }
}

/// Writes what comes, until something is in the way.
async fn follow(
    mut projection: Projection,
    broker: &Broker,
    retries: &mut Retries,
    stop: &CancellationToken,
) -> anyhow::Result<End> {
    let mut intake = Intake::after(broker, projection.generation.checkpoint.sequence);
    let mut tick = tokio::time::interval(BEAT);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let written = tokio::select! {
            () = stop.cancelled() => return Ok(End::Stopped),
            part = intake.next() => take(&mut projection, broker, part?).await?,
            retry = retries.next() => take_again(&mut projection, broker, &retry).await?,
            _ = tick.tick() => is_live(&mut projection).await,
        };
        match written {
            Ok(true) => beat(broker, projection.generation.checkpoint.sequence).await,
            Ok(false) => return Ok(End::Moved),
            // A rebuild removes the tables that it replaced: that is no trouble.
            Err(error) => match is_live(&mut projection).await {
                Ok(false) => return Ok(End::Moved),
                _ => {
                    // A transaction that the database ended by itself, on a full disk for one, is still open to the
                    // connection's own count: the next one begins on another connection.
                    projection.connection.close_on_drop();
                    return Ok(End::Database(error));
                }
            },
        }
    }
}

async fn beat(broker: &Broker, sequence: u64) {
    if let Err(error) = broker.beat_projector(&ProjectorBeat { sequence }).await {
        tracing::debug!(error = intake::chain(&error), "a heartbeat was not sent");
    }
}

/// Whether this generation is the live one.
async fn is_live(projection: &mut Projection) -> sqlx::Result<bool> {
    let active = schema::active(&mut projection.connection).await?;
    Ok(active.is_some_and(|(generation, _)| generation.number == projection.generation.number))
}

/// Sets aside what cannot be read, then writes the rest: dying in between sets it aside once more and loses nothing.
async fn take(
    projection: &mut Projection,
    broker: &Broker,
    part: Part,
) -> anyhow::Result<sqlx::Result<bool>> {
    for (message, why) in &part.unread {
        tracing::warn!(sequence = message.sequence, subject = message.subject, why, "an event is set aside");
        broker.bury(SERVICE, message, why).await.context("an event cannot be set aside")?;
    }
    Ok(projection.take(&part.events, part.checkpoint).await)
}

/// Handles an event again that was set aside. Only what a document says may come late: it depends on nothing else.
async fn take_again(
    projection: &mut Projection,
    broker: &Broker,
    retry: &Retry,
) -> anyhow::Result<sqlx::Result<bool>> {
    let sequence = retry.event.sequence;
    let read = intake::take(broker, retry.event.clone()).await;
    let why = match (read.event, read.unread) {
        (_, Some((_, why))) => Some(why),
        (Some(taken), None) if taken.document.is_some() => match projection.take_late(&taken).await {
            Ok(true) => None,
            // Not done: the retry comes again.
            other => return Ok(other),
        },
        _ => Some(
            "it can only be taken in at its place in the log: run `patchwave projection rebuild`".to_owned(),
        ),
    };
    match why {
        Some(why) => {
            tracing::warn!(sequence, why, "an event is set aside again");
            broker.bury_again(SERVICE, retry, &why).await.context("an event cannot be set aside")?;
        }
        None => tracing::info!(sequence, "an event that was set aside is in the projection now"),
    }
    retry.done().await;
    Ok(Ok(true))
}
