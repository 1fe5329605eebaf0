//! Statements over many rows at once.
//!
//! Owns the only text of SQL that changes rows of events' making. One statement for hundreds of rows: one for each would cost
//! twenty times as much. The parameters are numbered, which both engines understand.

use std::fmt::Write as _;

use sqlx::any::AnyArguments;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::rows::{Row, Table};

/// The most rows of one statement.
const ROWS: usize = 500;

/// The most parameters of one statement: below SQLite's 32,766 and PostgreSQL's 65,535.
const PARAMETERS: usize = 12_000;

/// Writes rows, in place of what stands under their keys. No key may come twice.
pub(crate) async fn upsert<R: Row>(
    connection: &mut AnyConnection,
    suffix: &str,
    rows: &[&R],
) -> sqlx::Result<()> {
    let table = R::TABLE;
    for chunk in rows.chunks(chunk_rows(table.columns.len())) {
        let mut arguments = AnyArguments::default();
        for row in chunk {
            row.bind(&mut arguments)?;
        }
        let statement = upsert_text(&table, suffix, chunk.len());
        sqlx::query_with(AssertSqlSafe(statement), arguments)
            .persistent(is_usual(chunk.len()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Reads the rows that there are under these keys.
pub(crate) async fn load<R: Row>(
    connection: &mut AnyConnection,
    suffix: &str,
    keys: &[R::Key],
) -> sqlx::Result<Vec<R>> {
    let table = R::TABLE;
    let mut rows = Vec::with_capacity(keys.len());
    for chunk in keys.chunks(chunk_rows(table.key)) {
        let mut arguments = AnyArguments::default();
        for key in chunk {
            R::bind_key(key, &mut arguments)?;
        }
        let mut statement = format!("SELECT {} FROM {}{suffix} WHERE (", list(table.names()), table.name);
        statement.push_str(&list(table.key_names()));
        statement.push_str(") IN (VALUES ");
        placeholders(&mut statement, chunk.len(), table.key);
        statement.push(')');
        let found = sqlx::query_with(AssertSqlSafe(statement), arguments)
            .persistent(is_usual(chunk.len()))
            .fetch_all(&mut *connection)
            .await?;
        for row in &found {
            rows.push(R::read(row)?);
        }
    }
    Ok(rows)
}

/// Removes the rows of a table under a key's first column.
pub(crate) async fn remove(
    connection: &mut AnyConnection,
    suffix: &str,
    table: &Table,
    ids: &[String],
) -> sqlx::Result<()> {
    let Some(column) = table.key_names().next() else { return Ok(()) };
    for chunk in ids.chunks(ROWS) {
        let mut statement = format!("DELETE FROM {}{suffix} WHERE {column} IN (", table.name);
        let names: Vec<String> = (1..=chunk.len()).map(|number| format!("${number}")).collect();
        let _ = write!(statement, "{})", names.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
        for id in chunk {
            query = query.bind(id.clone());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn upsert_text(table: &Table, suffix: &str, rows: usize) -> String {
    let columns = table.columns.len();
    let mut text = String::with_capacity(200 + rows * columns * 7);
    let _ = write!(text, "INSERT INTO {}{suffix} ({}) VALUES ", table.name, list(table.names()));
    placeholders(&mut text, rows, columns);
    let _ = write!(text, " ON CONFLICT ({}) DO UPDATE SET ", list(table.key_names()));
    for (index, name) in table.names().skip(table.key).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{name} = excluded.{name}");
    }
    text
}

fn placeholders(text: &mut String, rows: usize, columns: usize) {
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let comma = if column == 0 { "" } else { ", " };
            let _ = write!(text, "{comma}${}", row * columns + column + 1);
        }
        text.push(')');
    }
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

const fn chunk_rows(parameters: usize) -> usize {
    let most = PARAMETERS / parameters;
    if most < ROWS { most } else { ROWS }
}

/// Whether a statement for so many rows is worth keeping prepared: the few sizes that come again and again.
const fn is_usual(rows: usize) -> bool {
    rows <= 4 || rows == ROWS
}
