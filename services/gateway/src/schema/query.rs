//! Queries: the ways in.

use async_graphql::{Context, Enum, ID, Object, Result};
use events::id::{ActionId, ExecutionId, JobId, PlanId, PreviewId, RepositoryId};

use super::action::{Action, BY_NAME};
use super::connection::{Connection, Total};
use super::execution::{Execution, ExecutionState, OLDEST_FIRST};
use super::job::Job;
use super::node::{self, Node};
use super::people::{self, User, UserToken, Viewer};
use super::plan::Plan;
use super::preview::ActionPreview;
use super::repository::Repository;
use super::runner::Runner;
use super::scalar::{Named as _, Sequence};
use super::secret::{self, Secret};
use super::{by_id, page, page_cost, reach};
use crate::access::Caller;
use crate::command::Commands;
use crate::fault::Fault;
use crate::projection::{List, Listed as _};

/// In which order actions come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
pub(crate) enum ActionOrder {
    /// The one that changed last comes first.
    #[default]
    Changed,
    /// By name.
    Name,
}

/// In which order executions come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Enum)]
pub(crate) enum ExecutionOrder {
    /// The one that was requested last comes first.
    #[default]
    Newest,
    /// As they were requested.
    Oldest,
}

/// Everything that is shown.
pub(crate) struct Query;

#[allow(clippy::too_many_arguments, reason = "each is an argument of a field, and clients name them")]
#[Object]
impl Query {
    /// The actions. Those that are archived are a list of their own; `null`: both.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn actions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        #[graphql(default_with = "Some(false)")] archived: Option<bool>,
        #[graphql(default)] order: ActionOrder,
        at_least: Option<Sequence>,
    ) -> Result<Connection<Action>> {
        reach(ctx, at_least).await?;
        let list = List::of::<Action>().ordered(match order {
            ActionOrder::Changed => Action::ORDER,
            ActionOrder::Name => BY_NAME,
        });
        let (list, total) = match archived {
            Some(true) => (list.with("archived", true), Total::Kept("actions.archived".to_owned(), None)),
            Some(false) => {
                (list.with("archived", false), Total::Kept("actions".to_owned(), Some("actions.archived")))
            }
            None => (list, Total::Kept("actions".to_owned(), None)),
        };
        page(ctx, (list, total), first, after).await
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
        by_id(ctx, id.to_string(), at_least).await
    }

    /// The executions; those of an action or in a state alone, if one is given.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn executions(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        action_id: Option<ID>,
        state: Option<ExecutionState>,
        #[graphql(default)] order: ExecutionOrder,
        at_least: Option<Sequence>,
    ) -> Result<Connection<Execution>> {
        reach(ctx, at_least).await?;
        let action = action_id.map(|id| id.parse::<ActionId>().map_err(malformed)).transpose()?;
        let list = List::of::<Execution>().ordered(match order {
            ExecutionOrder::Newest => Execution::ORDER,
            ExecutionOrder::Oldest => OLDEST_FIRST,
        });
        let total = match (action, state) {
            (None, None) => Total::Kept("executions".to_owned(), None),
            (None, Some(state)) => Total::Kept(format!("executions.{}", state.text()), None),
            (Some(action), None) => Total::OfAction(action.to_string()),
            (Some(_), Some(_)) => Total::Unknown,
        };
        let list = action.into_iter().fold(list, |list, action| list.with("action_id", action.to_string()));
        let list = state.into_iter().fold(list, |list, state| list.with("state", state.text()));
        page(ctx, (list, total), first, after).await
    }

    /// The execution with this id.
    async fn execution(
        &self,
        ctx: &Context<'_>,
        id: ID,
        at_least: Option<Sequence>,
    ) -> Result<Option<Execution>> {
        let id = id.parse::<ExecutionId>().map_err(malformed)?;
        by_id(ctx, id.to_string(), at_least).await
    }

    /// The job with this id.
    async fn job(&self, ctx: &Context<'_>, id: ID, at_least: Option<Sequence>) -> Result<Option<Job>> {
        let id = id.parse::<JobId>().map_err(malformed)?;
        by_id(ctx, id.to_string(), at_least).await
    }

    /// The plan with this id.
    async fn plan(&self, ctx: &Context<'_>, id: ID, at_least: Option<Sequence>) -> Result<Option<Plan>> {
        let id = id.parse::<PlanId>().map_err(malformed)?;
        by_id(ctx, id.to_string(), at_least).await
    }

    /// The repositories that were run over or looked up, by name.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn repositories(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        at_least: Option<Sequence>,
    ) -> Result<Connection<Repository>> {
        reach(ctx, at_least).await?;
        let total = Total::Kept("repositories".to_owned(), None);
        page(ctx, (List::of::<Repository>(), total), first, after).await
    }

    /// The repository with this id.
    async fn repository(
        &self,
        ctx: &Context<'_>,
        id: ID,
        at_least: Option<Sequence>,
    ) -> Result<Option<Repository>> {
        let id = id.parse::<RepositoryId>().map_err(malformed)?;
        by_id(ctx, id.to_string(), at_least).await
    }

    /// What has this id, whatever it is.
    async fn node(&self, ctx: &Context<'_>, id: ID, at_least: Option<Sequence>) -> Result<Option<Node>> {
        reach(ctx, at_least).await?;
        node::node(ctx, id).await
    }

    /// What has these ids, in their order; 100 ids at most.
    #[graphql(complexity = "node::MOST * child_complexity")]
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        ids: Vec<ID>,
        at_least: Option<Sequence>,
    ) -> Result<Vec<Option<Node>>> {
        reach(ctx, at_least).await?;
        node::nodes(ctx, ids).await
    }

    /// The preview with this id, once it has its answer. It is read from the log itself: there is no need to give `atLeast`.
    async fn preview(
        &self,
        ctx: &Context<'_>,
        id: ID,
        at_least: Option<Sequence>,
    ) -> Result<Option<ActionPreview>> {
        reach(ctx, at_least).await?;
        let preview = id.parse::<PreviewId>().map_err(malformed)?;
        let answered = ctx.data::<Commands>()?.preview(preview).await?;
        Ok(answered.map(|answered| ActionPreview::new(id, answered)))
    }

    /// The runner with this name.
    async fn runner(&self, ctx: &Context<'_>, id: ID, at_least: Option<Sequence>) -> Result<Option<Runner>> {
        by_id(ctx, id.to_string(), at_least).await
    }

    /// The runners by name: those that are or were there, and those that were invited or enrolled or revoked.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn runners(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        at_least: Option<Sequence>,
    ) -> Result<Connection<Runner>> {
        reach(ctx, at_least).await?;
        let total = Total::Kept("runners".to_owned(), None);
        page(ctx, (List::of::<Runner>(), total), first, after).await
    }

    /// The secrets by name, without their values; of an action: those that its steps may ask for.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn secrets(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        action_id: Option<ID>,
        at_least: Option<Sequence>,
    ) -> Result<Connection<Secret>> {
        reach(ctx, at_least).await?;
        let action = action_id.map(|id| id.parse::<ActionId>().map_err(malformed)).transpose()?;
        page(ctx, secret::listed(action), first, after).await
    }

    /// Whoever asks.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<Viewer> {
        Ok(ctx.data::<Caller>()?.into())
    }

    /// The users by name, without those that were removed.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn users(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        at_least: Option<Sequence>,
    ) -> Result<Connection<User>> {
        reach(ctx, at_least).await?;
        page(ctx, people::users(), first, after).await
    }

    /// The tokens of a user that are worth something, the one that ends first in front; without a user: one's own, and for
    /// `local` everybody's.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn tokens(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
        user: Option<String>,
        at_least: Option<Sequence>,
    ) -> Result<Connection<UserToken>> {
        reach(ctx, at_least).await?;
        page(ctx, people::tokens(ctx.data::<Caller>()?, user)?, first, after).await
    }
}

/// The rejection of a text that is no id of the kind that is needed.
pub(crate) fn malformed(error: events::id::InvalidId) -> Fault {
    Fault::invalid(error.to_string(), "Copy the whole id, kind and underscore included.")
}
