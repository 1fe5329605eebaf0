//! Repositories as they are shown.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::children;
use super::scalar::DateTime;
use crate::projection::{Bound, Children, Cursor, Identified, Listed, Order};

/// A repository that was run over, or whose branches were looked up.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Repository {
    pub(super) id: ID,
    /// Unique: the host and the path, or the path on the catalog's machine.
    name: String,
    /// Where it is cloned from.
    url: String,
    registered_at: DateTime,
}

impl FromRow<'_, AnyRow> for Repository {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ID(row.try_get("id")?),
            name: row.try_get("name")?,
            url: row.try_get("url")?,
            registered_at: DateTime(row.try_get("registered_at")?),
        })
    }
}

impl Listed for Repository {
    const VIEW: &'static str = "repositories";
    const ORDER: Order = Order { columns: &["name", "id"], descending: false };

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Text(self.name.clone()), Bound::Text(self.id.0.clone())])
    }
}

impl Identified for Repository {
    const VIEW: &'static str = "repositories";

    fn id(&self) -> &str {
        &self.id
    }
}

#[ComplexObject]
impl Repository {
    /// Where its branches were seen last, by name.
    #[graphql(complexity = "10 * child_complexity")]
    async fn heads(&self, ctx: &Context<'_>) -> Result<Vec<RepositoryHead>> {
        children(ctx, &self.id).await
    }
}

/// Where a branch was seen last.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct RepositoryHead {
    /// The full name: `refs/heads/main`.
    branch: String,
    /// The commit.
    oid: String,
    /// When it was seen there first.
    moved_at: DateTime,
    #[graphql(skip)]
    repository_id: String,
}

impl FromRow<'_, AnyRow> for RepositoryHead {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            branch: row.try_get("branch")?,
            oid: row.try_get("oid")?,
            moved_at: DateTime(row.try_get("moved_at")?),
            repository_id: row.try_get("repository_id")?,
        })
    }
}

impl Children for RepositoryHead {
    const VIEW: &'static str = "repository_heads";
    const PARENT: &'static str = "repository_id";
    const ORDER: &'static str = "branch";

    fn parent(&self) -> &str {
        &self.repository_id
    }
}
