//! Lists by pages, as they are shown.
//!
//! Owns what every list has. A total is told where it is kept anyway, and nowhere counted.

use std::collections::HashMap;
use std::ops::Range;

use async_graphql::{ComplexObject, Context, OutputType, Result, SimpleObject};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::action::Action;
use super::scalar::int;
use crate::fault::Fault;
use crate::projection::{Batches, Bound, ById, Cursor, Load, Page, Projection, Statement};

/// Where a page ends.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PageInfo {
    /// Whether there is more behind it.
    has_next_page: bool,
    /// What to give as `after` to get it.
    end_cursor: Option<String>,
}

/// How long a list is.
#[derive(Clone, Debug)]
pub(crate) enum Total {
    /// So long.
    Known(i64),
    /// As the projection's total of this name says, less that of the other.
    Kept(String, Option<&'static str>),
    /// As many executions as the action with this id has.
    OfAction(String),
    /// It would have to be counted.
    Unknown,
}

/// One page of a list.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
#[graphql(concrete(name = "ActionConnection", params(super::action::Action)))]
#[graphql(concrete(name = "ExecutionConnection", params(super::execution::Execution)))]
#[graphql(concrete(name = "JobConnection", params(super::job::Job)))]
#[graphql(concrete(name = "ChangesetSpecConnection", params(super::plan::ChangesetSpec)))]
#[graphql(concrete(name = "PreviewedWorkspaceConnection", params(super::preview::PreviewedWorkspace)))]
#[graphql(concrete(name = "RepositoryConnection", params(super::repository::Repository)))]
#[graphql(concrete(name = "SkippedRepositoryConnection", params(super::execution::SkippedRepository)))]
#[graphql(concrete(name = "MissingRepositoryConnection", params(super::plan::MissingRepository)))]
#[graphql(concrete(name = "UnchangedRepositoryConnection", params(super::plan::UnchangedRepository)))]
#[graphql(concrete(name = "ImportConnection", params(super::plan::Import)))]
#[graphql(concrete(name = "RunnerConnection", params(super::runner::Runner)))]
#[graphql(concrete(name = "SecretConnection", params(super::secret::Secret)))]
#[graphql(concrete(name = "UserConnection", params(super::people::User)))]
#[graphql(concrete(name = "UserTokenConnection", params(super::people::UserToken)))]
pub(crate) struct Connection<T: OutputType> {
    nodes: Vec<T>,
    page_info: PageInfo,
    #[graphql(skip)]
    total: Total,
}

#[ComplexObject]
impl<T: OutputType> Connection<T> {
    /// How many there are on all pages; absent where that would have to be counted.
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<i32>> {
        let total = match &self.total {
            Total::Known(total) => Some(*total),
            Total::Kept(name, less) => {
                let loader = ctx.data::<Batches<Totals>>()?;
                let less = match less {
                    Some(less) => loader.load((*less).to_owned()).await?.unwrap_or_default(),
                    None => 0,
                };
                // Nothing of the kind was ever counted.
                Some(loader.load(name.clone()).await?.unwrap_or_default() - less)
            }
            Total::OfAction(id) => {
                let action = ctx.data::<Batches<ById<Action>>>()?.load(id.clone()).await?;
                Some(action.map_or(0, |action| action.executed))
            }
            Total::Unknown => None,
        };
        Ok(total.map(int))
    }
}

impl<T: OutputType> Connection<T> {
    /// A page that was read, of a list of this length.
    pub(super) fn of(page: Page<T>, total: Total) -> Self {
        let page_info = PageInfo { has_next_page: page.more, end_cursor: page.end.map(|end| end.encode()) };
        Self { nodes: page.rows, page_info, total }
    }

    /// A page of a list that is held whole, by the places of its nodes.
    pub(crate) fn of_places(places: Range<usize>, length: usize, node: impl Fn(usize) -> T) -> Self {
        let end_cursor = (!places.is_empty()).then(|| Cursor::place(places.end).encode());
        let page_info = PageInfo { has_next_page: places.end < length, end_cursor };
        let total = Total::Known(i64::try_from(length).unwrap_or(i64::MAX));
        Self { nodes: places.map(node).collect(), page_info, total }
    }
}

/// A total that is kept.
struct Kept(String, i64);

impl FromRow<'_, AnyRow> for Kept {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self(row.try_get("name")?, row.try_get("count")?))
    }
}

/// Loads totals by their names.
pub(crate) struct Totals(pub(crate) Projection);

impl Load for Totals {
    type Key = String;
    type Value = i64;

    const AT_ONCE: usize = 500;

    async fn load(&self, names: &[String]) -> Result<HashMap<String, i64>, Fault> {
        let statement = Statement::new("SELECT * FROM totals WHERE name IN (")
            .list(names.iter().cloned().map(Bound::Text))
            .sql(")");
        let rows = self.0.select::<Kept>(statement).await?;
        Ok(rows.into_iter().map(|Kept(name, count)| (name, count)).collect())
    }
}
