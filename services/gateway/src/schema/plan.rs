//! Plans as they are shown.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::connection::{Connection, Total};
use super::execution::Execution;
use super::job::DiffStat;
use super::scalar::{DateTime, Named, int, sequence, states};
use super::{BY_POSITION, by_id, page, page_cost};
use crate::projection::{Bound, Cursor, Identified, List, Listed, Order};

states! {
    /// Whether a plan is its execution's newest.
    PlanState {
        /// It is.
        Current = "current",
        /// Another one took its place.
        Superseded = "superseded",
    }
}

states! {
    /// What happens to a changeset by itself.
    Publication {
        /// Nobody said: decided by hand.
        Undecided = "undecided",
        /// It stays unpublished.
        Unpublished = "unpublished",
        /// It is published as a draft.
        Draft = "draft",
        /// It is published.
        Published = "published",
    }
}

/// What an execution's patches would become if they were published.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Plan {
    pub(super) id: ID,
    execution_id: ID,
    state: PlanState,
    /// The plan that took its place.
    superseded_by: Option<ID>,
    created_at: DateTime,
    /// How many changeset specs it has.
    changesets: i32,
    #[graphql(skip)]
    missing: i64,
    #[graphql(skip)]
    unchanged: i64,
    #[graphql(skip)]
    imports: Option<i64>,
}

impl FromRow<'_, AnyRow> for Plan {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ID(row.try_get("id")?),
            execution_id: ID(row.try_get("execution_id")?),
            state: PlanState::of(row)?,
            superseded_by: row.try_get::<Option<String>, _>("superseded_by")?.map(ID),
            created_at: DateTime(row.try_get("created_at")?),
            changesets: int(row.try_get("changesets")?),
            missing: row.try_get("missing")?,
            unchanged: row.try_get("unchanged")?,
            imports: row.try_get("imports")?,
        })
    }
}

impl Identified for Plan {
    const VIEW: &'static str = "plans";

    fn id(&self) -> &str {
        &self.id
    }
}

#[ComplexObject]
impl Plan {
    /// The execution of `executionId`.
    async fn execution(&self, ctx: &Context<'_>) -> Result<Option<Execution>> {
        by_id(ctx, self.execution_id.to_string(), None).await
    }

    /// One for each pull request to be, in the plan's order.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn changeset_specs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(100)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<ChangesetSpec>> {
        let list = List::of::<ChangesetSpec>().with("plan_id", self.id.as_str());
        page(ctx, (list, Total::Known(self.changesets.into())), first, after).await
    }

    /// What should be in the plan and is not.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn missing(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<MissingRepository>> {
        let list = List::of::<MissingRepository>().with("plan_id", self.id.as_str());
        page(ctx, (list, Total::Known(self.missing)), first, after).await
    }

    /// Where there was nothing to change.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn unchanged(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<UnchangedRepository>> {
        let list = List::of::<UnchangedRepository>().with("plan_id", self.id.as_str());
        page(ctx, (list, Total::Known(self.unchanged)), first, after).await
    }

    /// Changesets that exist already and are to be tracked.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn imports(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<Import>> {
        let list = List::of::<Import>().with("plan_id", self.id.as_str());
        page(ctx, (list, self.imports.map_or(Total::Unknown, Total::Known)), first, after).await
    }
}

/// What one pull request would be.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ChangesetSpec {
    /// From 1.
    position: i32,
    job_id: ID,
    repository: String,
    url: String,
    /// The branch that it targets.
    base_ref: String,
    /// The commit that the patch applies to.
    base_oid: String,
    /// The branch that it is pushed to.
    head_ref: String,
    title: String,
    body: String,
    /// The commit's message.
    message: String,
    author: Option<String>,
    /// Whether it is pushed to a fork; absent: as the server does.
    fork: Option<bool>,
    publication: Publication,
    diff_stat: DiffStat,
}

impl FromRow<'_, AnyRow> for ChangesetSpec {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            position: int(row.try_get("position")?),
            job_id: ID(row.try_get("job_id")?),
            repository: row.try_get("repository")?,
            url: row.try_get("url")?,
            base_ref: row.try_get("base_ref")?,
            base_oid: row.try_get("base_oid")?,
            head_ref: row.try_get("head_ref")?,
            title: row.try_get("title")?,
            body: row.try_get("body")?,
            message: row.try_get("message")?,
            author: row.try_get("author")?,
            fork: row.try_get::<Option<i64>, _>("fork")?.map(|fork| fork != 0),
            publication: Publication::from_text(&row.try_get::<String, _>("publication")?)?,
            diff_stat: DiffStat {
                files: int(row.try_get("files")?),
                insertions: sequence(row.try_get("insertions")?),
                deletions: sequence(row.try_get("deletions")?),
            },
        })
    }
}

impl Listed for ChangesetSpec {
    const VIEW: &'static str = "changeset_specs";
    const ORDER: Order = BY_POSITION;

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Int(self.position.into())])
    }
}

/// A changeset that exists already.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Import {
    /// The repository, as the definition names it.
    repository: String,
    /// Its name on the code host, as the number of a pull request.
    external_id: String,
    #[graphql(skip)]
    position: i64,
}

impl FromRow<'_, AnyRow> for Import {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            repository: row.try_get("repository")?,
            external_id: row.try_get("external_id")?,
            position: row.try_get("position")?,
        })
    }
}

impl Listed for Import {
    const VIEW: &'static str = "plan_imports";
    const ORDER: Order = BY_POSITION;

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Int(self.position)])
    }
}

/// Makes a list of repositories with a reason, as a plan has two.
macro_rules! reasons {
    ($(#[$meta:meta])* $name:ident, $view:literal) => {
        $(#[$meta])*
        #[derive(Clone, Debug, SimpleObject)]
        pub(crate) struct $name {
            /// The job; absent where the repository did not get one.
            job_id: Option<ID>,
            repository: String,
            reason: String,
            #[graphql(skip)]
            position: i64,
        }

        impl FromRow<'_, AnyRow> for $name {
            fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
                Ok(Self {
                    job_id: row.try_get::<Option<String>, _>("job_id")?.map(ID),
                    repository: row.try_get("repository")?,
                    reason: row.try_get("reason")?,
                    position: row.try_get("position")?,
                })
            }
        }

        impl Listed for $name {
            const VIEW: &'static str = $view;
            const ORDER: Order = BY_POSITION;

            fn key(&self, _order: Order) -> Cursor {
                Cursor(vec![Bound::Int(self.position)])
            }
        }
    };
}

reasons!(
    /// A repository that should be in the plan and is not.
    MissingRepository,
    "plan_missing"
);
reasons!(
    /// A repository that is as the action wants it.
    UnchangedRepository,
    "plan_unchanged"
);
