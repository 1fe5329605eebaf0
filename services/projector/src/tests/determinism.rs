//! The same events give the same rows, wherever batches end and whatever the engine.

use broker::Checkpoint;
use proptest::prelude::*;
use sqlx::AnyPool;

use super::history::{Dice, history};
use super::{Database, Engine};
use crate::fold::Taken;
use crate::projection::Projection;
use crate::{compare, dump, schema};

async fn open(pool: &AnyPool) -> Projection {
    let mut connection = pool.acquire().await.unwrap();
    let live = schema::live(&mut connection).await.unwrap();
    Projection::new(connection, live, true)
}

fn checkpoint(events: &[Taken]) -> Checkpoint {
    let last = &events.last().unwrap().recorded;
    Checkpoint { sequence: last.sequence, event_id: Some(last.id) }
}

/// Writes a history, in one batch.
async fn whole(engine: Engine, events: &[Taken]) -> (Database, AnyPool) {
    let database = Database::new(engine);
    let pool = database.open().await;
    assert!(open(&pool).await.take(events, checkpoint(events)).await.unwrap());
    (database, pool)
}

/// Writes a history in batches, with everything in memory forgotten now and then, as a crash would.
async fn in_batches(engine: Engine, events: &[Taken], dice: &mut Dice) -> (Database, AnyPool) {
    let database = Database::new(engine);
    let pool = database.open().await;
    let mut projection = open(&pool).await;
    let mut rest = events;
    while !rest.is_empty() {
        let (batch, after) = rest.split_at((1 + dice.roll(40)).min(rest.len()));
        assert!(projection.take(batch, checkpoint(batch)).await.unwrap());
        rest = after;
        if dice.roll(3) == 0 {
            drop(projection);
            projection = open(&pool).await;
        }
    }
    drop(projection);
    (database, pool)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn rows_do_not_depend_on_where_batches_end(seed: u64, split: u64) {
        let events = history(seed, 400);
        prop_assume!(!events.is_empty());
        let (expected, rows) = block_on(async {
            let (_one, one) = whole(Engine::Sqlite, &events).await;
            let (_many, many) = in_batches(Engine::Sqlite, &events, &mut Dice::new(split)).await;
            (dump(&one).await.unwrap(), dump(&many).await.unwrap())
        });
        prop_assert_eq!(expected, rows);
    }
}

#[tokio::test]
async fn both_engines_hold_the_same_rows() {
    for seed in 1..4 {
        let events = history(seed, 1_500);
        let (_sqlite, sqlite) = whole(Engine::Sqlite, &events).await;
        let (_postgres, postgres) = in_batches(Engine::Postgres, &events, &mut Dice::new(seed)).await;
        let expected = dump(&sqlite).await.unwrap();
        for table in crate::rows::TABLES {
            assert!(expected.contains(&format!("{} ", table.name)), "no row of {} to compare", table.name);
        }
        assert_eq!(expected, dump(&postgres).await.unwrap());
        let (mut left, mut right) = (sqlite.acquire().await.unwrap(), postgres.acquire().await.unwrap());
        let compared = compare::compare(&mut left, &mut right).await.unwrap();
        assert_eq!((compared.total, compared.rows), (0, expected.lines().count() as u64));
    }
}

#[tokio::test]
async fn counts_are_the_states_of_the_jobs() {
    let events = history(11, 3_000);
    let (_database, pool) = in_batches(Engine::Sqlite, &events, &mut Dice::new(5)).await;
    for (column, states) in [
        ("queued", "'queued'"),
        ("running", "'assigned', 'running'"),
        ("succeeded", "'succeeded'"),
        ("failed", "'failed'"),
        ("canceled", "'canceled'"),
    ] {
        let wrong = format!(
            "SELECT COUNT(*) FROM executions e WHERE {column} <>
             (SELECT COUNT(*) FROM jobs j WHERE j.execution_id = e.id AND j.state IN ({states}))"
        );
        let wrong: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(wrong)).fetch_one(&pool).await.unwrap();
        assert_eq!(wrong, 0, "{column}");
        let any = format!("SELECT COUNT(*) FROM executions WHERE {column} > 0");
        let any: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(any)).fetch_one(&pool).await.unwrap();
        assert!(any > 0, "no execution has any job {column}");
    }
}

#[tokio::test]
async fn totals_are_the_lengths_of_the_lists() {
    let events = history(13, 3_000);
    let (_database, pool) = in_batches(Engine::Sqlite, &events, &mut Dice::new(6)).await;
    let number = async |sql: String| -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&pool).await.unwrap()
    };
    let mut lists = vec![
        ("actions".to_owned(), "actions".to_owned()),
        ("actions.archived".to_owned(), "actions WHERE archived = 1".to_owned()),
        ("executions".to_owned(), "executions".to_owned()),
    ];
    let lists_of_now = [
        ("repositories", "repositories"),
        ("runners", "(SELECT id FROM runners UNION SELECT id FROM enrollments) AS known"),
        ("secrets", "secrets WHERE deleted = 0"),
        ("users", "users WHERE removed = 0"),
    ];
    lists.extend(lists_of_now.map(|(name, list)| (name.to_owned(), list.to_owned())));
    for state in ["requested", "running", "succeeded", "partially_failed", "failed", "canceled"] {
        lists.push((format!("executions.{state}"), format!("executions WHERE state = '{state}'")));
    }
    let mut empty = Vec::new();
    for (name, list) in &lists {
        let counted = number(format!("SELECT COUNT(*) FROM {list}")).await;
        let total = number(format!("SELECT COALESCE(SUM(count), 0) FROM totals WHERE name = '{name}'")).await;
        assert_eq!(total, counted, "{name}");
        empty.extend((counted == 0).then_some(name));
    }
    assert!(empty.len() < 5, "nothing to count: {empty:?}");
    let names = number("SELECT COUNT(*) FROM totals".to_owned()).await;
    assert!(names <= i64::try_from(lists.len()).unwrap(), "a total that nobody compares");
    let wrong = "SELECT COUNT(*) FROM actions a WHERE executions <> (SELECT COUNT(*) FROM executions e WHERE e.action_id = a.id)";
    assert_eq!(number(wrong.to_owned()).await, 0, "executions by action");
}

#[tokio::test]
async fn a_batch_that_comes_twice_is_written_once() {
    for engine in Engine::ALL {
        let events = history(7, 300);
        let (first, second) = events.split_at(events.len() / 2);
        let (_database, pool) = whole(engine, first).await;
        let mut one = open(&pool).await;
        let mut other = open(&pool).await;
        assert!(one.take(second, checkpoint(second)).await.unwrap());
        let expected = dump(&pool).await.unwrap();
        assert!(!other.take(second, checkpoint(second)).await.unwrap(), "{engine:?}");
        assert_eq!(expected, dump(&pool).await.unwrap(), "{engine:?}");
    }
}
