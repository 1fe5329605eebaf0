//! The database: how it is reached, and the generations of tables in it.
//!
//! Owns every statement that makes or removes tables and views. Never touches a row of an event's making. Invariant: the
//! views and the active row of `generations` change together, in one transaction.

use std::time::Duration;

use anyhow::{Context as _, bail};
use broker::Checkpoint;
use sqlx::any::{Any, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, AssertSqlSafe, Connection as _, Row as _, Transaction};

use crate::columns::time_text;
use crate::rows::TABLES;

/// Which text of `migrations/generation.sql` this build works with.
pub const LAYOUT: i64 = include!("../../../migrations/layout");

const GENERATIONS: &str = include_str!("../../../migrations/generations.sql");
const GENERATION: &str = include_str!("../../../migrations/generation.sql");

/// How long a writer waits for another one (a rebuild beside the live projection) before that is an error.
const BUSY_MS: u64 = 30_000;

/// How often that is tried which two who start at once may keep each other from.
const ATTEMPTS: u32 = 20;

const PAUSE: Duration = Duration::from_millis(50);

/// A generation of tables, and how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number, from 1; its tables end with `_g` and the number.
    pub number: i64,
    /// The last event that it has taken in.
    pub checkpoint: Checkpoint,
}

/// Opens the projection's database and makes what is missing, down to empty views.
///
/// A `sqlite:` file is made if it does not exist; a PostgreSQL database must.
///
/// # Errors
/// When the database cannot be reached, or was made by a build with another layout.
pub async fn open(url: &str) -> anyhow::Result<AnyPool> {
    let pool = connect(url).await?;
    let mut connection = pool.acquire().await.context("the projection's database gives no connection")?;
    ensure(&mut connection).await.context("the projection's tables cannot be made")?;
    live(&mut connection).await?;
    drop(connection);
    Ok(pool)
}

/// Opens the database alone.
pub(crate) async fn connect(url: &str) -> anyhow::Result<AnyPool> {
    sqlx::any::install_default_drivers();
    let sqlite = url.starts_with("sqlite:");
    if !sqlite && !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        bail!(
            "the database URL must begin with `sqlite:` or `postgres:`: for example sqlite:///var/lib/patchwave/projection.sqlite"
        );
    }
    let url = match url.split_once('?') {
        _ if !sqlite => url.to_owned(),
        None => format!("{url}?mode=rwc"),
        Some((_, options)) if options.contains("mode=") => url.to_owned(),
        Some(_) => format!("{url}&mode=rwc"),
    };
    let options = AnyPoolOptions::new().max_connections(4).acquire_timeout(Duration::from_secs(5));
    let options =
        options.after_connect(move |connection, _| Box::pin(async move { set_up(connection, sqlite).await }));
    options.connect(&url).await.context("the projection's database cannot be reached: does the server run, and are --database-url and its password right?")
}

async fn set_up(connection: &mut AnyConnection, sqlite: bool) -> sqlx::Result<()> {
    if sqlite {
        // What a power cut takes from the end is still in the log, and rows go together with their checkpoint: NORMAL loses
        // nothing that the next start does not write again, and costs no fsync per commit.
        let settings = format!(
            "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL"
        );
        let mut attempts = ATTEMPTS;
        // Changing the journal's mode does not wait for another who does the same.
        while let Err(error) = sqlx::raw_sql(AssertSqlSafe(settings.clone())).execute(&mut *connection).await
        {
            attempts -= 1;
            if attempts == 0 {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    } else {
        // `CREATE TABLE IF NOT EXISTS` and the like would speak of it on every start.
        sqlx::raw_sql("SET client_min_messages = warning; SET synchronous_commit = off")
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Makes the first generation unless there is one.
pub(crate) async fn ensure(connection: &mut AnyConnection) -> sqlx::Result<()> {
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        match try_ensure(connection).await {
            // PostgreSQL lets two that start at once both try, and refuses one of them.
            Err(sqlx::Error::Database(_)) if attempts > 0 => tokio::time::sleep(PAUSE).await,
            result => return result,
        }
    }
}

async fn try_ensure(connection: &mut AnyConnection) -> sqlx::Result<()> {
    let statements = dialect(connection, GENERATIONS);
    execute(connection, statements).await?;
    if active(connection).await?.is_some() {
        return Ok(());
    }
    let mut transaction = begin(connection).await?;
    if active(&mut transaction).await?.is_none() {
        let first = create(&mut transaction, true).await?;
        switch_views(&mut transaction, first).await?;
    }
    transaction.commit().await
}

/// Begins a transaction that will write. SQLite waits for another writer here; later on, after it has read, it would refuse.
pub(crate) async fn begin(connection: &mut AnyConnection) -> sqlx::Result<Transaction<'_, Any>> {
    match connection.backend_name() {
        "PostgreSQL" => connection.begin().await,
        _ => connection.begin_with("BEGIN IMMEDIATE").await,
    }
}

/// The live generation.
///
/// # Errors
/// When the database does not answer, holds no projection, or one of another layout.
pub(crate) async fn live(connection: &mut AnyConnection) -> anyhow::Result<Generation> {
    match active(connection).await? {
        Some((generation, LAYOUT)) => Ok(generation),
        Some((_, layout)) => bail!(
            "the projection has layout {layout}, this build works with layout {LAYOUT}: run `patchwave projection rebuild`"
        ),
        None => bail!(
            "the database holds no projection yet: start the projector once, or run `patchwave projection rebuild`"
        ),
    }
}

/// The live generation, if there is one, and its layout.
pub(crate) async fn active(connection: &mut AnyConnection) -> sqlx::Result<Option<(Generation, i64)>> {
    let row = sqlx::query("SELECT generation, layout, sequence, event_id FROM generations WHERE active = 1")
        .fetch_optional(connection)
        .await?;
    row.map(|row| {
        let sequence: i64 = row.try_get("sequence")?;
        let event: Option<String> = row.try_get("event_id")?;
        let event_id = event
            .map(|text| text.parse())
            .transpose()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        let checkpoint = Checkpoint { sequence: u64::try_from(sequence).unwrap_or_default(), event_id };
        Ok((Generation { number: row.try_get("generation")?, checkpoint }, row.try_get("layout")?))
    })
    .transpose()
}

/// Makes the tables of a new generation and its row; returns its number. To be called in a transaction.
pub(crate) async fn create(connection: &mut AnyConnection, active: bool) -> sqlx::Result<i64> {
    let newest: Option<i64> =
        sqlx::query_scalar("SELECT MAX(generation) FROM generations").fetch_one(&mut *connection).await?;
    let number = newest.unwrap_or_default() + 1;
    sqlx::query(
        "INSERT INTO generations (generation, active, layout, sequence, event_id, created_at) VALUES ($1, $2, $3, 0, NULL, $4)",
    )
    .bind(number)
    .bind(i64::from(active))
    .bind(LAYOUT)
    .bind(time_text(chrono::Utc::now()))
    .execute(&mut *connection)
    .await?;
    let tables = dialect(connection, GENERATION).replace("{g}", &suffix(number));
    execute(connection, tables).await?;
    Ok(number)
}

/// Points the views at a generation. To be called in a transaction.
pub(crate) async fn switch_views(connection: &mut AnyConnection, number: i64) -> sqlx::Result<()> {
    let suffix = suffix(number);
    for table in TABLES {
        let name = table.name;
        let view = format!("DROP VIEW IF EXISTS {name}; CREATE VIEW {name} AS SELECT * FROM {name}{suffix}");
        execute(connection, view).await?;
    }
    Ok(())
}

/// Removes what crashed rebuilds left, and generations that are no longer live.
pub(crate) async fn drop_leftovers(connection: &mut AnyConnection) -> sqlx::Result<()> {
    let left: Vec<i64> = sqlx::query_scalar("SELECT generation FROM generations WHERE active = 0")
        .fetch_all(&mut *connection)
        .await?;
    for number in left {
        drop_tables(connection, number).await?;
        sqlx::query("DELETE FROM generations WHERE generation = $1 AND active = 0")
            .bind(number)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Table by table, so that the live projection never waits for more than one of them.
async fn drop_tables(connection: &mut AnyConnection, number: i64) -> sqlx::Result<()> {
    for table in TABLES {
        execute(connection, format!("DROP TABLE IF EXISTS {}{}", table.name, suffix(number))).await?;
    }
    Ok(())
}

/// What stands behind the name of a generation's table.
pub(crate) fn suffix(number: i64) -> String {
    format!("_g{number}")
}

/// The statements as this engine wants them.
fn dialect(connection: &AnyConnection, statements: &str) -> String {
    match connection.backend_name() {
        // The database's own collation would sort names as a dictionary does, and differently on each server.
        "PostgreSQL" => statements.replace("TEXT", "TEXT COLLATE \"C\""),
        _ => statements.to_owned(),
    }
}

async fn execute(connection: &mut AnyConnection, statements: String) -> sqlx::Result<()> {
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[tokio::test]
    async fn opening_makes_empty_views_and_opening_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/projection.sqlite", folder.path().display());
        for _ in 0..2 {
            let pool = open(&url).await.unwrap();
            for table in TABLES {
                let count = format!("SELECT COUNT(*) FROM {}", table.name);
                let rows: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&pool).await.unwrap();
                assert_eq!(rows, 0, "{}", table.name);
            }
            let generations: i64 =
                sqlx::query_scalar("SELECT COUNT(*) FROM generations").fetch_one(&pool).await.unwrap();
            assert_eq!(generations, 1);
            pool.close().await;
        }
    }

    #[tokio::test]
    async fn another_layout_asks_for_a_rebuild() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/projection.sqlite", folder.path().display());
        let pool = open(&url).await.unwrap();
        sqlx::query("UPDATE generations SET layout = 0").execute(&pool).await.unwrap();
        let error = open(&url).await.unwrap_err().to_string();
        assert!(error.contains("patchwave projection rebuild"), "{error}");
    }
}
