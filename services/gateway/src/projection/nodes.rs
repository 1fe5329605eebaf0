//! Things by their ids: many of one kind in one statement, whoever asks for them in the meantime.

use std::collections::HashMap;
use std::marker::PhantomData;

use sqlx::FromRow;
use sqlx::any::AnyRow;

use super::{Bound, Load, Projection, Statement};
use crate::fault::Fault;

/// Rows that have an id of their own.
pub(crate) trait Identified:
    for<'r> FromRow<'r, AnyRow> + Clone + Send + Sync + Unpin + 'static
{
    /// The view; its column `id` is the id.
    const VIEW: &'static str;

    /// The row's id.
    fn id(&self) -> &str;
}

/// Loads many of a kind at once.
pub(crate) struct ById<T>(Projection, PhantomData<fn() -> T>);

impl<T> ById<T> {
    pub(crate) const fn new(projection: Projection) -> Self {
        Self(projection, PhantomData)
    }
}

impl<T: Identified> Load for ById<T> {
    type Key = String;
    type Value = T;

    const AT_ONCE: usize = 500;

    async fn load(&self, ids: &[String]) -> Result<HashMap<String, T>, Fault> {
        let rows = self.0.select::<T>(statement::<T>(ids)).await?;
        Ok(rows.into_iter().map(|row| (row.id().to_owned(), row)).collect())
    }
}

/// The rows with these ids.
pub(crate) fn statement<T: Identified>(ids: &[String]) -> Statement {
    Statement::new(&format!("SELECT * FROM {} WHERE id IN (", T::VIEW))
        .list(ids.iter().cloned().map(Bound::Text))
        .sql(")")
}
