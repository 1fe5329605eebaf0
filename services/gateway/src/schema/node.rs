//! Things by an id alone, whatever they are.

use async_graphql::{Context, ID, Interface, Result};
use events::id::{ActionId, ExecutionId, JobId, PlanId, RepositoryId};
use futures::future::try_join_all;

use super::action::Action;
use super::execution::Execution;
use super::job::Job;
use super::plan::Plan;
use super::repository::Repository;
use super::{by_id, malformed};
use crate::fault::Fault;

/// What has an id that nothing else has.
#[derive(Interface)]
#[graphql(field(name = "id", ty = "&ID", desc = "The kind, an underscore and 26 characters."))]
pub(crate) enum Node {
    /// An action.
    Action(Action),
    /// An execution.
    Execution(Execution),
    /// A job.
    Job(Job),
    /// A plan.
    Plan(Plan),
    /// A repository.
    Repository(Repository),
}

/// The thing with this id, if there is one.
pub(super) async fn node(ctx: &Context<'_>, id: ID) -> Result<Option<Node>> {
    let (kind, _) = id.split_once('_').unwrap_or_default();
    match kind {
        ActionId::KIND => found::<ActionId, _>(ctx, &id, Node::Action).await,
        ExecutionId::KIND => found::<ExecutionId, _>(ctx, &id, Node::Execution).await,
        JobId::KIND => found::<JobId, _>(ctx, &id, Node::Job).await,
        PlanId::KIND => found::<PlanId, _>(ctx, &id, Node::Plan).await,
        RepositoryId::KIND => found::<RepositoryId, _>(ctx, &id, Node::Repository).await,
        _ => {
            let hint = "Give the id of an action, execution, job, plan or repository.";
            Err(Fault::invalid(format!("`{}` is the id of nothing that is known by its id alone", *id), hint)
                .into())
        }
    }
}

/// The same for many, in their order.
pub(super) async fn nodes(ctx: &Context<'_>, ids: Vec<ID>) -> Result<Vec<Option<Node>>> {
    if ids.len() > MOST {
        let message = format!("`ids` has {} ids", ids.len());
        return Err(Fault::invalid(message, format!("Ask for {MOST} at once.")).into());
    }
    // All of one kind are read by one statement.
    try_join_all(ids.into_iter().map(|id| node(ctx, id))).await
}

/// The most ids of one field.
pub(super) const MOST: usize = 100;

async fn found<I, T>(ctx: &Context<'_>, id: &ID, node: fn(T) -> Node) -> Result<Option<Node>>
where
    I: std::str::FromStr<Err = events::id::InvalidId>,
    T: crate::projection::Identified,
{
    id.parse::<I>().map_err(malformed)?;
    Ok(by_id(ctx, id.to_string(), None).await?.map(node))
}
