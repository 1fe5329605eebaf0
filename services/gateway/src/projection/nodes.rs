//! Things by their ids: many of one kind in one statement, whoever asks for them in the meantime.

use std::collections::HashMap;
use std::marker::PhantomData;

use async_graphql::dataloader::Loader;
use sqlx::FromRow;
use sqlx::any::AnyRow;

use super::{Bound, Projection, Statement};
use crate::fault::Fault;

/// How many ids one statement names.
const IDS_AT_ONCE: usize = 500;

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

impl<T: Identified> Loader<String> for ById<T> {
    type Value = T;
    type Error = Fault;

    async fn load(&self, ids: &[String]) -> Result<HashMap<String, T>, Fault> {
        let mut found = HashMap::with_capacity(ids.len());
        for ids in ids.chunks(IDS_AT_ONCE) {
            let rows = self.0.select::<T>(statement::<T>(ids)).await?;
            found.extend(rows.into_iter().map(|row| (row.id().to_owned(), row)));
        }
        Ok(found)
    }
}

/// The rows with these ids.
pub(crate) fn statement<T: Identified>(ids: &[String]) -> Statement {
    Statement::new(&format!("SELECT * FROM {} WHERE id IN (", T::VIEW))
        .list(ids.iter().cloned().map(Bound::Text))
        .sql(")")
}
