//! A verification: whether the live projection is what the log says.
//!
//! Owns the scratch projection, a SQLite file of its own whatever engine the live one is on, so that nothing waits for it and
//! nothing of it is left behind. Never writes to the live one. Invariant: both sides are compared at the same event.

use std::time::Duration;

use anyhow::{Context as _, bail};
use broker::Broker;
use sqlx::{AnyConnection, AnyPool, Connection as _};

use crate::compare::{self, Difference};
use crate::intake::Intake;
use crate::projection::Projection;
use crate::rebuild::Progress;
use crate::schema;

/// How often the live projection is looked at again when it was behind the scratch one.
const ROUNDS: u32 = 100;

/// What a verification came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differences {
    /// The generation that was compared.
    pub generation: i64,
    /// The event up to which both sides go.
    pub sequence: u64,
    /// How many rows were compared.
    pub rows: u64,
    /// How many places differ; 0: the projection is what the log says.
    pub total: u64,
    /// The first hundred of them.
    pub told: Vec<Difference>,
    /// What could not be read from the log: the event's sequence and why. Neither side has it, unless the live one read it
    /// when it still could be had.
    pub unread: Vec<(u64, String)>,
}

/// Folds the log anew and compares the result with the live projection, which may go on meanwhile.
///
/// # Errors
/// When a database or the log fails, the log was cut, or the projection is switched meanwhile.
pub async fn verify(
    url: &str,
    broker: &Broker,
    mut progress: impl FnMut(Progress),
) -> anyhow::Result<Differences> {
    let folder =
        tempfile::tempdir().context("there is no folder for the scratch projection: is the disk full?")?;
    let scratch_url = format!("sqlite://{}", folder.path().join("scratch.sqlite").display());
    let scratch = schema::open(&scratch_url).await?;
    let live = schema::connect(url).await?;
    let found = compare_at_same_event(&live, &scratch, broker, &mut progress).await;
    live.close().await;
    scratch.close().await;
    found
}

async fn compare_at_same_event(
    live: &AnyPool,
    scratch: &AnyPool,
    broker: &Broker,
    progress: &mut impl FnMut(Progress),
) -> anyhow::Result<Differences> {
    let mut live = live.acquire().await.context("the projection's database gives no connection")?;
    let mut connection = scratch.acquire().await.context("the scratch projection gives no connection")?;
    let fresh = schema::live(&mut connection).await?;
    let mut scratch = Projection::new(connection, fresh, true);
    let mut intake = Intake::after(broker, 0);
    let mut unread = Vec::new();
    // Nearly all of it while nothing is held on the live side; the rest is a few events.
    let near = schema::live(&mut live).await?;
    broker.verify(&near.checkpoint).await?;
    fold_up_to(near.checkpoint.sequence, &mut scratch, &mut intake, &mut unread, progress).await?;
    for _ in 0..ROUNDS {
        let begin = match live.backend_name() {
            "PostgreSQL" => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            _ => "BEGIN",
        };
        let mut snapshot = live.begin_with(begin).await.context("the live projection cannot be read")?;
        let at = schema::live(&mut snapshot).await?;
        let sequence = at.checkpoint.sequence;
        if sequence >= scratch.generation.checkpoint.sequence {
            broker.verify(&at.checkpoint).await?;
            fold_up_to(sequence, &mut scratch, &mut intake, &mut unread, progress).await?;
            let compared = compare_all(&mut snapshot, &mut scratch.connection).await?;
            let compare::Comparison { rows, total, told } = compared;
            return Ok(Differences { generation: at.number, sequence, rows, total, told, unread });
        }
        // A rebuild switched to a generation that is a little behind: it will be here at once.
        snapshot.rollback().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!(
        "the projection was switched to one that is behind and stays there: does the projector run? Then verify again"
    )
}

async fn compare_all(
    live: &mut AnyConnection,
    scratch: &mut AnyConnection,
) -> anyhow::Result<compare::Comparison> {
    compare::compare(live, scratch).await.context("the projections cannot be compared")
}

async fn fold_up_to(
    sequence: u64,
    scratch: &mut Projection,
    intake: &mut Intake,
    unread: &mut Vec<(u64, String)>,
    progress: &mut impl FnMut(Progress),
) -> anyhow::Result<()> {
    while scratch.generation.checkpoint.sequence < sequence {
        let part = intake.next_up_to(sequence).await?;
        unread.extend(part.unread.into_iter().map(|(message, why)| (message.sequence, why)));
        if !scratch
            .take(&part.events, part.checkpoint)
            .await
            .context("the scratch projection cannot be written")?
        {
            bail!("somebody else writes to the scratch projection");
        }
        progress(Progress { sequence: scratch.generation.checkpoint.sequence, target: sequence });
    }
    Ok(())
}
