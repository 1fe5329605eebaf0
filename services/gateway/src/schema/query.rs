//! Queries: the ways in.

use async_graphql::{Context, ID, Object, Result};
use events::id::{ActionId, ExecutionId, JobId, PlanId, PreviewId};

use super::action::Action;
use super::execution::Execution;
use super::job::Job;
use super::people::{self, User, UserToken, Viewer};
use super::plan::Plan;
use super::preview::ActionPreview;
use super::runner::{self, Runner};
use super::scalar::{Connection, Sequence};
use super::secret::Secret;
use super::{by_id, page, page_cost, reach};
use crate::access::Caller;
use crate::command::Commands;
use crate::fault::Fault;
use crate::projection::{Projection, Statement};

/// Everything that is shown.
pub(crate) struct Query;

#[Object]
impl Query {
    /// The actions; the one that changed last comes first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn actions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        at_least: Option<Sequence>,
    ) -> Result<Connection<Action>> {
        reach(ctx, at_least).await?;
        page(ctx, None, first, after).await
    }

    /// The action with this id or this name.
    async fn action(
        &self,
        ctx: &Context<'_>,
        id: Option<ID>,
        name: Option<String>,
        at_least: Option<Sequence>,
    ) -> Result<Option<Action>> {
        let id = match (id, name) {
            (Some(id), None) => id.parse::<ActionId>().map_err(malformed)?,
            (None, Some(name)) => ActionId::named(&name),
            _ => {
                return Err(Fault::invalid(
                    "an action is named by its id or by its name",
                    "Give one of both.",
                )
                .into());
            }
        };
        by_id(ctx, "actions", id.to_string(), at_least).await
    }

    /// The executions, newest first.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn executions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        action_id: Option<ID>,
        at_least: Option<Sequence>,
    ) -> Result<Connection<Execution>> {
        reach(ctx, at_least).await?;
        let action = action_id.map(|id| id.parse::<ActionId>().map_err(malformed)).transpose()?;
        let action = action.map(|action| action.to_string());
        page(ctx, action.as_deref(), first, after).await
    }

    /// The execution with this id.
    async fn execution(
        &self,
        ctx: &Context<'_>,
        id: ID,
        at_least: Option<Sequence>,
    ) -> Result<Option<Execution>> {
        let id = id.parse::<ExecutionId>().map_err(malformed)?;
        by_id(ctx, "executions", id.to_string(), at_least).await
    }

    /// The job with this id.
    async fn job(&self, ctx: &Context<'_>, id: ID, at_least: Option<Sequence>) -> Result<Option<Job>> {
        let id = id.parse::<JobId>().map_err(malformed)?;
        by_id(ctx, "jobs", id.to_string(), at_least).await
    }

    /// The plan with this id.
    async fn plan(&self, ctx: &Context<'_>, id: ID, at_least: Option<Sequence>) -> Result<Option<Plan>> {
        let id = id.parse::<PlanId>().map_err(malformed)?;
        by_id(ctx, "plans", id.to_string(), at_least).await
    }

    /// The preview with this id, once it has its answer.
    async fn preview(&self, ctx: &Context<'_>, id: ID) -> Result<Option<ActionPreview>> {
        let preview = id.parse::<PreviewId>().map_err(malformed)?;
        let answered = ctx.data::<Commands>()?.preview(preview).await?;
        Ok(answered.map(|answered| ActionPreview::new(id, answered)))
    }

    /// The runner with this name.
    async fn runner(&self, ctx: &Context<'_>, id: ID, at_least: Option<Sequence>) -> Result<Option<Runner>> {
        by_id(ctx, runner::KNOWN, id.to_string(), at_least).await
    }

    /// The runners by name: those that are or were there, and those that were invited or enrolled or revoked.
    #[graphql(complexity = "10 * child_complexity")]
    async fn runners(&self, ctx: &Context<'_>, at_least: Option<Sequence>) -> Result<Vec<Runner>> {
        reach(ctx, at_least).await?;
        Ok(runner::all(ctx.data::<Projection>()?).await?)
    }

    /// The secrets by name, without their values; of an action: those that its steps may ask for.
    #[graphql(complexity = "50 * child_complexity")]
    async fn secrets(&self, ctx: &Context<'_>, action_id: Option<ID>) -> Result<Vec<Secret>> {
        let mut statement = Statement::new("SELECT * FROM secrets WHERE deleted = 0");
        if let Some(action) = action_id {
            let action = action.parse::<ActionId>().map_err(malformed)?;
            statement =
                statement.sql(" AND (action_id IS NULL OR action_id = ").text(action.to_string()).sql(")");
        }
        Ok(ctx.data::<Projection>()?.select(statement.sql(" ORDER BY name, id")).await?)
    }

    /// Whoever asks.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer> {
        Ok(ctx.data::<Caller>()?.into())
    }

    /// The users by name, without those that were removed.
    #[graphql(complexity = "50 * child_complexity")]
    async fn users(&self, ctx: &Context<'_>) -> Result<Vec<User>> {
        people::users(ctx).await
    }

    /// The tokens of a user that are worth something; without a user: one's own, and for `local` everybody's.
    #[graphql(complexity = "50 * child_complexity")]
    async fn tokens(&self, ctx: &Context<'_>, user: Option<String>) -> Result<Vec<UserToken>> {
        people::tokens(ctx, user).await
    }
}

/// The rejection of a text that is no id of the kind that is needed.
pub(crate) fn malformed(error: events::id::InvalidId) -> Fault {
    Fault::invalid(error.to_string(), "Copy the whole id, kind and underscore included.")
}
