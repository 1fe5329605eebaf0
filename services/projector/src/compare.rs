//! Reading whole tables: for a dump, and for comparing two projections row by row.
//!
//! Owns the order in which rows are compared, that of their keys by bytes, which both engines and this process share. Holds
//! one row of each side in memory.

use std::cmp::Ordering;
use std::fmt;

use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use crate::columns::Kind;
use crate::rows::{TABLES, Table};

/// How many differences are told in full.
const TOLD: usize = 100;

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(integer) => integer.fmt(f),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// One place where the live projection is not what the log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The table.
    pub table: &'static str,
    /// The row's key, its columns joined by a slash.
    pub key: String,
    /// The column; absent where a whole row is missing or too many.
    pub column: Option<&'static str>,
    /// What the live projection holds; absent: the row is missing there.
    pub live: Option<String>,
    /// What the log says; absent: there should be no such row.
    pub rebuilt: Option<String>,
}

/// What a comparison came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// How many rows were compared.
    pub(crate) rows: u64,
    /// How many places differ.
    pub(crate) total: u64,
    /// The first of them.
    pub(crate) told: Vec<Difference>,
}

/// Every row of a projection as text, a line each: the same for the same rows, whatever the engine.
///
/// # Errors
/// When a table cannot be read.
pub(crate) async fn dump(connection: &mut AnyConnection) -> sqlx::Result<String> {
    let mut text = String::new();
    for table in TABLES {
        let mut rows = rows(connection, table);
        while let Some(row) = rows.try_next().await? {
            let values: Vec<String> =
                row.iter().zip(table.names()).map(|(value, name)| format!("{name}={value}")).collect();
            text.push_str(&format!("{} {}\n", table.name, values.join(" ")));
        }
    }
    Ok(text)
}

/// Compares what the views of two databases show.
///
/// # Errors
/// When a table cannot be read.
pub(crate) async fn compare(
    live: &mut AnyConnection,
    rebuilt: &mut AnyConnection,
) -> sqlx::Result<Comparison> {
    let mut comparison = Comparison::default();
    for table in TABLES {
        let (mut ours, mut theirs) = (rows(live, table), rows(rebuilt, table));
        let (mut our, mut their) = (ours.try_next().await?, theirs.try_next().await?);
        loop {
            let order = match (&our, &their) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(our), Some(their)) => our[..table.key].cmp(&their[..table.key]),
            };
            comparison.rows += 1;
            comparison.row(table, order, our.as_deref(), their.as_deref());
            if order != Ordering::Greater {
                our = ours.try_next().await?;
            }
            if order != Ordering::Less {
                their = theirs.try_next().await?;
            }
        }
    }
    Ok(comparison)
}

impl Comparison {
    fn row(&mut self, table: &Table, order: Ordering, live: Option<&[Value]>, rebuilt: Option<&[Value]>) {
        let row = |values: &[Value]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match (order, live, rebuilt) {
            (Ordering::Less, Some(live), _) => self.add(table, live, None, (Some(row(live)), None)),
            (Ordering::Greater, _, Some(rebuilt)) => {
                self.add(table, rebuilt, None, (None, Some(row(rebuilt))));
            }
            (Ordering::Equal, Some(live), Some(rebuilt)) => {
                for (name, (our, their)) in table.names().zip(live.iter().zip(rebuilt)) {
                    if our != their {
                        self.add(table, live, Some(name), (Some(our.to_string()), Some(their.to_string())));
                    }
                }
            }
            _ => {}
        }
    }

    fn add(
        &mut self,
        table: &Table,
        row: &[Value],
        column: Option<&'static str>,
        (live, rebuilt): (Option<String>, Option<String>),
    ) {
        self.total += 1;
        if self.told.len() < TOLD {
            let key = row.iter().take(table.key).map(|value| match value {
                Value::Text(text) => text.clone(),
                other => other.to_string(),
            });
            let key = key.collect::<Vec<_>>().join("/");
            self.told.push(Difference { table: table.name, key, column, live, rebuilt });
        }
    }
}

/// The rows of a view, by their keys.
fn rows<'c>(
    connection: &'c mut AnyConnection,
    table: &'static Table,
) -> BoxStream<'c, sqlx::Result<Vec<Value>>> {
    let columns = table.names().collect::<Vec<_>>().join(", ");
    let key = table.key_names().collect::<Vec<_>>().join(", ");
    let statement = format!("SELECT {columns} FROM {} ORDER BY {key}", table.name);
    let rows = sqlx::raw_sql(AssertSqlSafe(statement)).fetch(connection);
    Box::pin(rows.and_then(move |row| std::future::ready(values(&row, table))))
}

fn values(row: &AnyRow, table: &Table) -> sqlx::Result<Vec<Value>> {
    let value = |(index, (_, kind)): (usize, &(&str, Kind))| {
        Ok(match kind {
            Kind::Text => row.try_get::<Option<String>, _>(index)?.map_or(Value::Null, Value::Text),
            Kind::Integer => row.try_get::<Option<i64>, _>(index)?.map_or(Value::Null, Value::Integer),
        })
    };
    table.columns.iter().enumerate().map(value).collect()
}
