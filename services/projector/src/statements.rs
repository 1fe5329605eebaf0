//! Statements over many rows at once.
//!
//! Owns the only text of SQL that changes rows of events' making. One statement for hundreds of rows: one for each would cost
//! twenty times as much. The engines get the same text but for how a parameter stands in it.

use std::fmt::Write as _;

use sqlx::any::AnyArguments;
use sqlx::{AnyConnection, AssertSqlSafe};

use crate::rows::{Row, Table};

/// How many rows a statement may have. Few sizes, so that each is prepared once and stays (a connection keeps a hundred
/// statements).
const SIZES: [usize; 4] = [64, 16, 4, 1];

/// How a parameter stands in a statement, where each stands once and in order.
#[derive(Clone, Copy)]
enum Parameters {
    /// `$1`, as PostgreSQL wants it.
    Numbered,
    /// `?`, for SQLite: that looks `$1` up by its name among all the others, which took most of the time of a write.
    Bare,
}

impl Parameters {
    fn of(connection: &AnyConnection) -> Self {
        if connection.backend_name() == "PostgreSQL" { Self::Numbered } else { Self::Bare }
    }

    fn write(self, text: &mut String, number: usize) {
        match self {
            Self::Numbered => {
                let _ = write!(text, "${number}");
            }
            Self::Bare => text.push('?'),
        }
    }
}

/// Writes rows, in place of what stands under their keys. No key may come twice.
pub(crate) async fn upsert<R: Row>(
    connection: &mut AnyConnection,
    suffix: &str,
    rows: &[&R],
) -> sqlx::Result<()> {
    let (table, parameters) = (R::TABLE, Parameters::of(connection));
    for chunk in chunks(rows) {
        let mut arguments = AnyArguments::default();
        for row in chunk {
            row.bind(&mut arguments)?;
        }
        let statement = upsert_text(&table, suffix, chunk.len(), parameters);
        sqlx::query_with(AssertSqlSafe(statement), arguments).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Reads the rows that there are under these keys.
pub(crate) async fn load<R: Row>(
    connection: &mut AnyConnection,
    suffix: &str,
    keys: &[R::Key],
) -> sqlx::Result<Vec<R>> {
    let (table, parameters) = (R::TABLE, Parameters::of(connection));
    let mut rows = Vec::with_capacity(keys.len());
    for chunk in chunks(keys) {
        let mut arguments = AnyArguments::default();
        for key in chunk {
            R::bind_key(key, &mut arguments)?;
        }
        let mut statement = format!("SELECT {} FROM {}{suffix} WHERE (", list(table.names()), table.name);
        statement.push_str(&list(table.key_names()));
        statement.push_str(") IN (VALUES ");
        tuples(&mut statement, chunk.len(), table.key, parameters);
        statement.push(')');
        let found = sqlx::query_with(AssertSqlSafe(statement), arguments).fetch_all(&mut *connection).await?;
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
    let parameters = Parameters::of(connection);
    for chunk in chunks(ids) {
        let mut statement = format!("DELETE FROM {}{suffix} WHERE ({column}) IN (VALUES ", table.name);
        tuples(&mut statement, chunk.len(), 1, parameters);
        statement.push(')');
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for id in chunk {
            query = query.bind(id.clone());
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

fn upsert_text(table: &Table, suffix: &str, rows: usize, parameters: Parameters) -> String {
    let columns = table.columns.len();
    let mut text = String::with_capacity(200 + rows * columns * 7);
    let _ = write!(text, "INSERT INTO {}{suffix} ({}) VALUES ", table.name, list(table.names()));
    tuples(&mut text, rows, columns, parameters);
    let _ = write!(text, " ON CONFLICT ({}) DO UPDATE SET ", list(table.key_names()));
    for (index, name) in table.names().skip(table.key).enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{name} = excluded.{name}");
    }
    text
}

fn tuples(text: &mut String, rows: usize, columns: usize, parameters: Parameters) {
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            text.push_str(if column == 0 { "" } else { ", " });
            parameters.write(text, row * columns + column + 1);
        }
        text.push(')');
    }
}

fn list(names: impl Iterator<Item = &'static str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// Cuts a list into pieces of the sizes that there are, the large ones first.
fn chunks<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rest.len())?;
        let (chunk, after) = rest.split_at(size);
        rest = after;
        Some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_the_list_in_few_sizes() {
        let list: Vec<usize> = (0..151).collect();
        let sizes: Vec<usize> = chunks(&list).map(<[usize]>::len).collect();
        assert_eq!(sizes, [64, 64, 16, 4, 1, 1, 1]);
        assert_eq!(chunks(&list).flatten().copied().collect::<Vec<_>>(), list);
        assert_eq!(chunks::<usize>(&[]).count(), 0);
    }
}
