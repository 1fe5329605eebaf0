//! The schema: what GraphQL offers.
//!
//! Owns the types, which are the contract with every client and pinned in `schema.graphql`, and the limits on what one
//! request may cost. Never decides: mutations hand over to `command`.

mod action;
mod action_settings;
mod apply;
mod connection;
#[cfg(test)]
mod cost;
mod counted;
mod event;
mod execution;
mod job;
mod log;
mod mutation;
mod node;
mod people;
mod plan;
mod preview;
mod query;
mod repository;
mod runner;
mod scalar;
mod secret;
mod shape;
mod subscription;

use std::sync::Arc;

use async_graphql::{Context, OutputType, Result, Schema, SchemaBuilder};
use broker::Broker;

use crate::access::rules::RoleGuard;
use crate::fault::Fault;
use crate::files::Files;
use crate::fleet::Fleet;
use crate::metrics::Metrics;
use crate::projection::{
    Batches, ById, Children, ChildrenOf, Identified, List, Listed, MAX_PAGE, Order, PageKey, PagesOf,
    Projection,
};
use crate::stream::Permits;
pub(crate) use action::{files, no_revision};
use connection::{Connection, Total};
pub(crate) use query::malformed;
use scalar::Sequence;
pub(crate) use scalar::blob;

/// The schema with its resolvers.
pub(crate) type Graph = Schema<query::Query, mutation::Mutation, subscription::Root>;

/// How many fields one answer may have, roughly.
const MAX_COMPLEXITY: usize = 100_000;

/// How many come where a request says `null`; each list has a default of its own where it says nothing.
const DEFAULT_PAGE: i32 = 50;

/// The order of a list that has one of its own.
const BY_POSITION: Order = Order { columns: &["position"], descending: false };

/// How deep a query may go: enough for an introspection.
const MAX_DEPTH: usize = 16;

/// The schema before anything stands behind it.
pub(crate) fn builder() -> SchemaBuilder<query::Query, mutation::Mutation, subscription::Root> {
    Schema::build(query::Query, mutation::Mutation, subscription::Root)
        .limit_complexity(MAX_COMPLEXITY)
        .limit_depth(MAX_DEPTH)
        .limit_directives(20)
        .extension(shape::Shape)
        .extension(RoleGuard)
}

/// What stands behind the schema.
pub(crate) struct Sources {
    pub(crate) projection: Projection,
    pub(crate) broker: Broker,
    pub(crate) fleet: Fleet,
    pub(crate) files: Files,
    /// What every subscription takes one of.
    pub(crate) streams: Permits,
    pub(crate) metrics: Arc<Metrics>,
}

/// The schema over its sources. Each request brings its caller, and the commands in that caller's name.
pub(crate) fn graph(sources: Sources) -> Graph {
    let Sources { projection, broker, fleet, files, streams, metrics } = sources;
    let projection = &projection;
    fn pages<T: Listed>(projection: &Projection) -> Batches<PagesOf<T>> {
        Batches::new(PagesOf::new(projection.clone()))
    }
    fn lists<T: Children>(projection: &Projection) -> Batches<ChildrenOf<T>> {
        Batches::new(ChildrenOf::new(projection.clone()))
    }
    fn things<T: Identified>(projection: &Projection) -> Batches<ById<T>> {
        Batches::new(ById::new(projection.clone()))
    }
    builder()
        .extension(counted::Counted(metrics))
        .data(projection.clone())
        .data(Batches::new(connection::Totals(projection.clone())))
        .data(things::<action::Action>(projection))
        .data(things::<execution::Execution>(projection))
        .data(things::<job::Job>(projection))
        .data(things::<plan::Plan>(projection))
        .data(things::<repository::Repository>(projection))
        .data(things::<runner::Runner>(projection))
        .data(things::<secret::Secret>(projection))
        .data(things::<people::User>(projection))
        .data(things::<people::UserToken>(projection))
        .data(broker)
        .data(fleet)
        .data(files)
        .data(streams)
        .data(Batches::new(action::Definitions(projection.clone())))
        .data(pages::<action::Action>(projection))
        .data(pages::<execution::Execution>(projection))
        .data(pages::<job::Job>(projection))
        .data(pages::<plan::ChangesetSpec>(projection))
        .data(pages::<plan::MissingRepository>(projection))
        .data(pages::<plan::UnchangedRepository>(projection))
        .data(pages::<plan::Import>(projection))
        .data(pages::<execution::SkippedRepository>(projection))
        .data(pages::<repository::Repository>(projection))
        .data(pages::<runner::Runner>(projection))
        .data(pages::<secret::Secret>(projection))
        .data(pages::<people::User>(projection))
        .data(pages::<people::UserToken>(projection))
        .data(lists::<execution::OfExecution>(projection))
        .data(lists::<job::Attempt>(projection))
        .data(lists::<job::AttemptStep>(projection))
        .data(lists::<repository::RepositoryHead>(projection))
        .finish()
}

/// What a page of a list costs: its nodes.
fn page_cost(first: Option<i32>, child_complexity: usize) -> usize {
    usize::try_from(first.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE))
        .unwrap_or(1)
        .saturating_mul(child_complexity)
}

/// A page of a list that is so long.
async fn page<T: Listed + OutputType>(
    ctx: &Context<'_>,
    (list, total): (List, Total),
    first: Option<i32>,
    after: Option<String>,
) -> Result<Connection<T>> {
    let key = PageKey::new(list, first.unwrap_or(DEFAULT_PAGE), after.as_deref())?;
    let page = ctx.data::<Batches<PagesOf<T>>>()?.load(key).await?;
    let page = page.ok_or_else(|| Fault::ours(anyhow::anyhow!("a page of {} was not read", T::VIEW)))?;
    Ok(Connection::of(page, total))
}

/// A list that is read whole.
async fn children<T: Children>(ctx: &Context<'_>, parent: &str) -> Result<Vec<T>> {
    let list = ctx.data::<Batches<ChildrenOf<T>>>()?.load(parent.to_owned()).await?;
    Ok(list.unwrap_or_default())
}

/// Waits until the projection is at least as far as was asked.
async fn reach(ctx: &Context<'_>, at_least: Option<Sequence>) -> Result<()> {
    if let Some(Sequence(sequence)) = at_least {
        ctx.data::<Projection>()?.reach(sequence).await?;
    }
    Ok(())
}

/// One thing, once the projection is at least as far as was asked.
async fn by_id<T: Identified>(
    ctx: &Context<'_>,
    id: String,
    at_least: Option<Sequence>,
) -> Result<Option<T>> {
    reach(ctx, at_least).await?;
    Ok(ctx.data::<Batches<ById<T>>>()?.load(id).await?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use async_graphql::SDLExportOptions;

    use super::builder;

    /// The values of enums above which nothing is said.
    fn without_description(sdl: &str) -> Vec<&str> {
        let lines: Vec<&str> = sdl.lines().map(str::trim).collect();
        let is_value = |line: &str| {
            !line.is_empty() && line.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase())
        };
        lines.windows(2).filter(|pair| is_value(pair[1]) && pair[0] != "\"\"\"").map(|pair| pair[1]).collect()
    }

    #[test]
    fn the_schema_is_the_one_that_clients_know() {
        let sdl = builder().finish().sdl_with_options(SDLExportOptions::new().use_space_ident());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.graphql");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &sdl).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap_or_default();
        let bare = without_description(&sdl);
        assert!(bare.is_empty(), "values of enums without a description: {bare:?}");
        assert!(sdl == golden, "schema.graphql differs: UPDATE_GOLDEN=1 cargo test -p gateway schema");
    }
}
