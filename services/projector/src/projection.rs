//! A generation that is written to: events in, rows and checkpoint out.
//!
//! Owns the transaction. Invariant: a batch is written once, however many processes try: each transaction begins by moving
//! the checkpoint from where this one believes it to be, and ends there if somebody else moved it. After an error what is in
//! memory is worth nothing; whoever holds it opens it anew.

use broker::Checkpoint;
use sqlx::AnyConnection;
use sqlx::any::Any;
use sqlx::pool::PoolConnection;

use crate::fold::{Fold, Taken};
use crate::rows::{Repository, RepositoryHead, Row as _};
use crate::schema::{self, Generation, suffix};
use crate::statements::{load, remove, upsert};
use crate::wanted::Wanted;

/// A generation and the rows of it that are in memory.
pub(crate) struct Projection {
    pub(crate) connection: PoolConnection<Any>,
    pub(crate) generation: Generation,
    /// Whether it is the live one. One that is not is a rebuild.
    live: bool,
    fold: Fold,
}

impl Projection {
    pub(crate) fn new(connection: PoolConnection<Any>, generation: Generation, live: bool) -> Self {
        Self { connection, generation, live, fold: Fold::default() }
    }

    /// Takes events in, up to a checkpoint. `false`: somebody else wrote, or another generation is live now.
    pub(crate) async fn take(&mut self, events: &[Taken], next: Checkpoint) -> sqlx::Result<bool> {
        let suffix = suffix(self.generation.number);
        let wanted = Wanted::by(events, &mut self.fold);
        read_wanted(&mut self.connection, &suffix, &wanted, &mut self.fold).await?;
        for taken in events {
            self.fold.apply(taken);
        }
        let mut transaction = schema::begin(&mut self.connection).await?;
        if !advance(&mut transaction, &self.generation, self.live, next).await? {
            return Ok(false);
        }
        write(&mut transaction, &suffix, &self.fold).await?;
        transaction.commit().await?;
        self.fold.settle();
        self.generation.checkpoint = next;
        Ok(true)
    }

    /// Writes the rows of a document that could not be had in its time. `false`: another generation is live now.
    pub(crate) async fn take_late(&mut self, taken: &Taken) -> sqlx::Result<bool> {
        let mut fold = Fold::default();
        fold.document(taken);
        let mut transaction = schema::begin(&mut self.connection).await?;
        let here = self.generation.checkpoint;
        if !advance(&mut transaction, &self.generation, self.live, here).await? {
            return Ok(false);
        }
        write(&mut transaction, &suffix(self.generation.number), &fold).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// Moves the checkpoint, if it is where it is believed to be.
async fn advance(
    connection: &mut AnyConnection,
    from: &Generation,
    live: bool,
    to: Checkpoint,
) -> sqlx::Result<bool> {
    let done = sqlx::query(
        "UPDATE generations SET sequence = $1, event_id = $2 WHERE generation = $3 AND active = $4 AND sequence = $5",
    )
    .bind(sequence(to.sequence))
    .bind(to.event_id.map(|id| id.to_string()))
    .bind(from.number)
    .bind(i64::from(live))
    .bind(sequence(from.checkpoint.sequence))
    .execute(connection)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A place in the log as SQL holds it.
pub(crate) fn sequence(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

async fn read_wanted(
    connection: &mut AnyConnection,
    suffix: &str,
    wanted: &Wanted,
    fold: &mut Fold,
) -> sqlx::Result<()> {
    macro_rules! read {
        ($($table:ident),+) => {
            $(for row in load(connection, suffix, &wanted.$table()).await? {
                fold.$table.load(row);
            })+
        };
    }
    read!(
        actions,
        executions,
        jobs,
        attempts,
        steps,
        plans,
        repositories,
        runners,
        enrollments,
        secrets,
        users,
        tokens,
        totals
    );
    Ok(())
}

async fn write(connection: &mut AnyConnection, suffix: &str, fold: &Fold) -> sqlx::Result<()> {
    if !fold.removed.is_empty() {
        let removed: Vec<String> = fold.removed.iter().map(ToString::to_string).collect();
        remove(connection, suffix, &Repository::TABLE, &removed).await?;
        remove(connection, suffix, &RepositoryHead::TABLE, &removed).await?;
    }
    macro_rules! write {
        ($($table:ident),+) => {
            $(upsert(connection, suffix, &fold.$table.changed()).await?;)+
        };
    }
    write!(
        actions,
        revisions,
        executions,
        skips,
        jobs,
        attempts,
        steps,
        plans,
        specs,
        missing,
        unchanged,
        imports,
        repositories,
        heads,
        runners,
        enrollments,
        secrets,
        users,
        tokens,
        totals
    );
    Ok(())
}
