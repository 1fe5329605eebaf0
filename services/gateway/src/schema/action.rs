//! Actions as they are shown.

use std::collections::HashMap;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::execution::Execution;
use super::scalar::{Connection, DateTime, int};
use super::{page, page_cost};
use crate::fault::Fault;
use crate::projection::{Bound, Cursor, Listed, Projection, Statement};

/// What to change, and how.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Action {
    /// Derived from the name.
    id: ID,
    /// Unique, never changed.
    name: String,
    /// What it is for, in Markdown.
    description: String,
    /// The newest revision.
    revision: i32,
    /// Whether it runs no more.
    archived: bool,
    created_at: DateTime,
    updated_at: DateTime,
    #[graphql(skip)]
    updated_sequence: i64,
}

impl FromRow<'_, AnyRow> for Action {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ID(row.try_get("id")?),
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            revision: int(row.try_get("revision")?),
            archived: row.try_get::<i64, _>("archived")? != 0,
            created_at: DateTime(row.try_get("created_at")?),
            updated_at: DateTime(row.try_get("updated_at")?),
            updated_sequence: row.try_get("updated_sequence")?,
        })
    }
}

impl Listed for Action {
    const VIEW: &'static str = "actions";
    const PARENT: Option<&'static str> = None;
    const KEY: &'static [&'static str] = &["updated_sequence"];
    const DESCENDING: bool = true;

    fn key(&self) -> Cursor {
        Cursor(vec![Bound::Int(self.updated_sequence)])
    }
}

#[ComplexObject]
impl Action {
    /// The newest revision's text, as its user wrote it.
    #[graphql(complexity = "DEFINITION_COST + child_complexity")]
    async fn definition(&self, ctx: &Context<'_>) -> Result<Definition> {
        let key = RevisionKey(self.id.0.clone(), self.revision);
        let found = ctx.data::<DataLoader<Definitions>>()?.load_one(key).await?;
        let missing = || anyhow::anyhow!("{} has no revision {}", self.id.0, self.revision);
        Ok(found.ok_or_else(|| Fault::ours(missing()))?)
    }

    /// Its executions, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn executions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(20)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Execution>> {
        page(ctx, Some(&self.id), first, after).await
    }
}

/// A definition may have 256 KiB: as much as hundreds of other fields.
const DEFINITION_COST: usize = 200;

/// An action's definition.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Definition {
    /// The name of the file.
    file_name: String,
    /// Its text.
    source: String,
    /// What was given beside it.
    given: Given,
}

/// What was given beside the definition's file; only legacy action files need it.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Given {
    name: Option<String>,
    branch: Option<String>,
    title: Option<String>,
    body: Option<String>,
    message: Option<String>,
}

/// A definition and whose it is.
struct Revision(RevisionKey, Definition);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RevisionKey(String, i32);

impl FromRow<'_, AnyRow> for Revision {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let given: String = row.try_get("given")?;
        let given: events::action::Given =
            serde_json::from_str(&given).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let events::action::Given { name, branch, title, body, message } = given;
        let key = RevisionKey(row.try_get("action_id")?, int(row.try_get("revision")?));
        let definition = Definition {
            file_name: row.try_get("file_name")?,
            source: row.try_get("source")?,
            given: Given { name, branch, title, body, message },
        };
        Ok(Self(key, definition))
    }
}

/// Loads the definitions of many actions at once.
pub(crate) struct Definitions(pub(crate) Projection);

impl Loader<RevisionKey> for Definitions {
    type Value = Definition;
    type Error = Fault;

    async fn load(&self, keys: &[RevisionKey]) -> Result<HashMap<RevisionKey, Definition>, Fault> {
        let statement = Statement::new("SELECT * FROM action_revisions WHERE 1 = 0");
        let statement = keys.iter().fold(statement, |statement, RevisionKey(action, revision)| {
            let statement = statement.sql(" OR (action_id = ").text(action).sql(" AND revision = ");
            statement.bind(Bound::Int((*revision).into())).sql(")")
        });
        let rows = self.0.select::<Revision>(statement).await?;
        Ok(rows.into_iter().map(|Revision(key, definition)| (key, definition)).collect())
    }
}
