//! What reading costs: no statement looks at more than what it shows, however long the history is.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

use events::id::ActionId;
use events::user::{LOCAL, Role};
use sqlx::{AnyPool, AssertSqlSafe, Row as _};

use super::action::{Action, BY_NAME};
use super::execution::{Execution, OLDEST_FIRST, OfExecution, SkippedRepository};
use super::job::{Attempt, AttemptStep, Job};
use super::people::{self, User, UserToken};
use super::plan::{ChangesetSpec, Import, MissingRepository, Plan, UnchangedRepository};
use super::repository::{Repository, RepositoryHead};
use super::runner::Runner;
use super::secret::{self, Secret};
use crate::access::Caller;
use crate::projection::{
    Bound, Children, Cursor, Identified, List, Listed, Order, PageKey, Statement, costs,
};

/// How SQLite would carry a statement out.
async fn plan(pool: &AnyPool, statement: Statement) -> Vec<String> {
    let (sql, values) = statement.into_parts();
    let mut query = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")));
    for value in values {
        query = match value {
            Bound::Int(value) => query.bind(value),
            Bound::Text(value) => query.bind(value),
        };
    }
    let rows = query.fetch_all(pool).await.unwrap();
    rows.iter().map(|row| row.try_get::<String, _>("detail").unwrap()).collect()
}

/// Whether a step reads a whole table. Walking an index is bounded by the page.
fn reads_all(step: &str) -> bool {
    step.starts_with("SCAN ") && step.contains("_g1") && !step.contains("USING")
}

/// Whether a step takes in what one walk along an index has found.
fn is_walk(step: &str) -> bool {
    step.strip_prefix("SCAN p").is_some_and(|number| number.parse::<u32>().is_ok())
}

async fn page_is_a_short_walk<T: Listed>(pool: &AnyPool, list: List) {
    let order = list.order;
    let key = Cursor(
        order
            .columns
            .iter()
            .map(|column| match *column {
                "updated_sequence" | "requested_sequence" | "position" => Bound::Int(7),
                "expires_at" => Bound::Text("9999".to_owned()),
                _ => Bound::Text("x".to_owned()),
            })
            .collect(),
    );
    for after in [None, Some(key.encode())] {
        let keys = [PageKey::new(list.clone(), 50, after.as_deref()).unwrap()];
        let steps = plan(pool, costs::page::<T>(order, &keys)).await;
        let sorts = steps.iter().filter(|step| step.contains("TEMP B-TREE")).count();
        // What each walk has is put in order with the others' once; a walk's own order is its index's.
        let walks = steps.iter().filter(|step| is_walk(step)).count();
        assert!(
            sorts <= walks && !steps.iter().any(|step| reads_all(step)),
            "{} {list:?}: {steps:#?}",
            T::VIEW
        );
    }
}

async fn children_are_found<T: Children>(pool: &AnyPool) {
    let parents = ["a".to_owned(), "b".to_owned()];
    let steps = plan(pool, costs::children::<T>(&parents)).await;
    assert!(!steps.iter().any(|step| reads_all(step)), "{}: {steps:#?}", T::VIEW);
}

async fn a_thing_is_found<T: Identified>(pool: &AnyPool) {
    let steps = plan(pool, costs::by_id::<T>(&["a".to_owned(), "b".to_owned()])).await;
    assert!(!steps.iter().any(|step| reads_all(step)), "{}: {steps:#?}", T::VIEW);
}

#[tokio::test]
async fn nothing_is_read_that_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/projection.sqlite", folder.path().display());
    let pool = projector::schema::open(&url).await.unwrap();

    for order in [Action::ORDER, BY_NAME] {
        page_is_a_short_walk::<Action>(&pool, List::of::<Action>().ordered(order)).await;
        page_is_a_short_walk::<Action>(&pool, List::of::<Action>().ordered(order).with("archived", false))
            .await;
    }
    for order in [Execution::ORDER, OLDEST_FIRST] {
        let all = List::of::<Execution>().ordered(order);
        page_is_a_short_walk::<Execution>(&pool, all.clone()).await;
        page_is_a_short_walk::<Execution>(&pool, all.clone().with("action_id", "a")).await;
        page_is_a_short_walk::<Execution>(&pool, all.clone().with("state", "failed")).await;
        page_is_a_short_walk::<Execution>(&pool, all.with("action_id", "a").with("state", "failed")).await;
    }
    let jobs = List::of::<Job>().with("execution_id", "e");
    page_is_a_short_walk::<Job>(&pool, jobs.clone()).await;
    page_is_a_short_walk::<Job>(&pool, jobs.with("state", "failed")).await;
    page_is_a_short_walk::<SkippedRepository>(
        &pool,
        List::of::<SkippedRepository>().with("execution_id", "e"),
    )
    .await;
    page_is_a_short_walk::<ChangesetSpec>(&pool, List::of::<ChangesetSpec>().with("plan_id", "p")).await;
    page_is_a_short_walk::<MissingRepository>(&pool, List::of::<MissingRepository>().with("plan_id", "p"))
        .await;
    page_is_a_short_walk::<UnchangedRepository>(
        &pool,
        List::of::<UnchangedRepository>().with("plan_id", "p"),
    )
    .await;
    page_is_a_short_walk::<Import>(&pool, List::of::<Import>().with("plan_id", "p")).await;
    page_is_a_short_walk::<Repository>(&pool, List::of::<Repository>()).await;
    page_is_a_short_walk::<Runner>(&pool, List::of::<Runner>()).await;
    for action in [None, Some(ActionId::named("a"))] {
        page_is_a_short_walk::<Secret>(&pool, secret::listed(action).0).await;
    }
    page_is_a_short_walk::<User>(&pool, people::users().0).await;
    let local = Caller::signing_in(LOCAL.to_owned(), Role::Admin);
    for user in [None, Some("anna".to_owned())] {
        page_is_a_short_walk::<UserToken>(&pool, people::tokens(&local, user).unwrap().0).await;
    }

    children_are_found::<Attempt>(&pool).await;
    children_are_found::<AttemptStep>(&pool).await;
    children_are_found::<OfExecution>(&pool).await;
    children_are_found::<RepositoryHead>(&pool).await;

    a_thing_is_found::<Action>(&pool).await;
    a_thing_is_found::<Execution>(&pool).await;
    a_thing_is_found::<Job>(&pool).await;
    a_thing_is_found::<Plan>(&pool).await;
    a_thing_is_found::<Repository>(&pool).await;
    a_thing_is_found::<Runner>(&pool).await;
    a_thing_is_found::<Secret>(&pool).await;
    a_thing_is_found::<User>(&pool).await;
    a_thing_is_found::<UserToken>(&pool).await;

    // The test itself: an order that no index has, and a filter that none has.
    const BY_REVISION: Order = Order { columns: &["updated_at"], descending: false };
    let sorted = [PageKey::new(List::of::<Action>().ordered(BY_REVISION), 50, None).unwrap()];
    let steps = plan(&pool, costs::page::<Action>(BY_REVISION, &sorted)).await;
    assert!(steps.iter().any(|step| reads_all(step)), "{steps:#?}");
}
