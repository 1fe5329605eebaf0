//! The service and the operator's commands, on a real log and both engines.

use std::time::Duration;

use broker::Broker;
use events::blob::{BlobKind, BlobRef};
use events::document::{Scope, SkipReason, Skipped};
use events::id::ExecutionId;
use events::{Aggregate, Event, execution};
use sqlx::AnyPool;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::history::history;
use super::log::Log;
use super::{Database, Engine};
use crate::fold::Document;
use crate::{Config, dump, rebuild, run, status, verify};

/// A projector that runs.
struct Running {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Running {
    fn start(database: &Database, broker: &Broker) -> Self {
        let stop = CancellationToken::new();
        let config = Config { database_url: database.url.clone() };
        Self { task: tokio::spawn(run(config, broker.clone(), stop.clone())), stop }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

async fn skips(pool: &AnyPool) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM execution_skips").fetch_one(pool).await.unwrap()
}

/// Waits until the live generation is another one.
async fn switched(pool: &AnyPool, to: i64) {
    let wait = async {
        loop {
            let live: i64 = sqlx::query_scalar("SELECT generation FROM generations WHERE active = 1")
                .fetch_one(pool)
                .await
                .unwrap();
            if live == to {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_live_is_what_a_rebuild_writes() {
    let mut log = Log::new().await;
    let databases = Engine::ALL.map(Database::new);
    let history = history(21, 900);
    let (early, late) = history.split_at(history.len() / 2);
    let mut dumps = Vec::new();
    log.append_all(early).await;
    for database in &databases {
        // Two at once: the second finds each batch written, or writes it, and never both.
        let one = Running::start(database, log.broker("projector"));
        let other = Running::start(database, log.broker("projector"));
        log.projected(log.last).await;
        other.stop().await;
        one.stop().await;
    }
    log.append_all(late).await;
    for database in &databases {
        let running = Running::start(database, log.broker("projector"));
        let pool = database.open().await;
        let behind = async {
            while status(&database.url, log.broker("operator")).await.unwrap().lag > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), behind).await.unwrap();
        running.stop().await;
        let live = dump(&pool).await.unwrap();
        let differences = verify(&database.url, log.broker("operator"), |_| {}).await.unwrap();
        assert_eq!((differences.total, differences.sequence), (0, log.last), "{:?}", differences.told);
        let mut seen = Vec::new();
        let rebuilt =
            rebuild(&database.url, log.broker("operator"), |progress| seen.push(progress)).await.unwrap();
        assert_eq!((rebuilt.generation, rebuilt.sequence, rebuilt.events), (2, log.last, log.last));
        assert_eq!(seen.last().map(|progress| progress.sequence), Some(log.last));
        assert_eq!(live, dump(&pool).await.unwrap());
        let status = status(&database.url, log.broker("operator")).await.unwrap();
        assert_eq!((status.generation, status.lag, status.log_intact), (2, 0, true));
        assert!(status.event_time.is_some());
        dumps.push(live);
    }
    assert_eq!(dumps[0], dumps[1]);
    log.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_does_not_stop_the_live_projection() {
    for engine in Engine::ALL {
        let mut log = Log::new().await;
        let database = Database::new(engine);
        let history = history(5, 1_600);
        let (early, late) = history.split_at(history.len() / 2);
        log.append_all(early).await;
        let running = Running::start(&database, log.broker("projector"));
        log.projected(log.last).await;
        let pool = database.open().await;
        // What a crashed rebuild leaves behind.
        let mut connection = pool.acquire().await.unwrap();
        assert_eq!(crate::schema::create(&mut connection, false).await.unwrap(), 2);
        drop(connection);
        let operator = log.broker("operator").clone();
        let url = database.url.clone();
        let rebuilding = tokio::spawn(async move { rebuild(&url, &operator, |_| {}).await });
        log.append_all(late).await;
        let rebuilt = rebuilding.await.unwrap().unwrap();
        switched(&pool, rebuilt.generation).await;
        log.projected(log.last).await;
        let generations: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM generations").fetch_one(&pool).await.unwrap();
        assert_eq!(generations, 1, "{engine:?}: tables of other generations are left");
        let wait = async {
            while status(&database.url, log.broker("operator")).await.unwrap().lag > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
        let differences = verify(&database.url, log.broker("operator"), |_| {}).await.unwrap();
        assert_eq!((differences.total, differences.sequence), (0, log.last), "{:?}", differences.told);
        running.stop().await;
        log.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_finds_what_was_changed_by_hand() {
    let mut log = Log::new().await;
    log.append_all(&history(9, 500)).await;
    for engine in Engine::ALL {
        let database = Database::new(engine);
        let running = Running::start(&database, log.broker("projector"));
        let pool = database.open().await;
        let wait = async {
            while status(&database.url, log.broker("operator")).await.unwrap().lag > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
        for statement in [
            "UPDATE runners_g1 SET slots = 99 WHERE id = 'spare'",
            "DELETE FROM actions_g1 WHERE name = 'tidy'",
            "INSERT INTO repositories_g1 (id, name, url, registered_at) VALUES ('!', 'n', 'u', 't')",
        ] {
            let done = sqlx::query(statement).execute(&pool).await.unwrap();
            assert_eq!(done.rows_affected(), 1, "{statement}");
        }
        let differences = verify(&database.url, log.broker("operator"), |_| {}).await.unwrap();
        let told: Vec<String> = differences
            .told
            .iter()
            .map(|it| {
                format!(
                    "{} {} {:?} {} {}",
                    it.table,
                    it.key.len(),
                    it.column,
                    it.live.is_some(),
                    it.rebuilt.is_some()
                )
            })
            .collect();
        let action = format!("actions {} None false true", "action_".len() + 26);
        let expected =
            [action.as_str(), "repositories 1 None true false", "runners 5 Some(\"slots\") true true"];
        assert_eq!(told, expected, "{engine:?}");
        assert_eq!(differences.told[2].live.as_deref(), Some("99"));
        assert_eq!(differences.total, 3);
        running.stop().await;
    }
    log.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_is_missing_is_set_aside_and_taken_in_later() {
    for engine in Engine::ALL {
        let mut log = Log::new().await;
        let database = Database::new(engine);
        let skipped =
            Skipped { repository: "r".to_owned(), reason: SkipReason::Empty, message: "m".to_owned() };
        let scope = Scope { workspaces: Vec::new(), skipped: vec![skipped] };
        let bytes = serde_json::to_vec(&scope).unwrap();
        let id = ExecutionId::derived(&["lost"]);
        let requested = history(3, 1_000).into_iter().find_map(|taken| match taken.recorded.event {
            Event::Execution(event @ execution::Event::Requested(_)) => Some(event),
            _ => None,
        });
        log.append(Aggregate::Execution(id), Event::Execution(requested.unwrap())).await;
        // Named by what it will be stored as, which another log tells.
        let elsewhere = Log::new().await;
        let blob: BlobRef = elsewhere.put(&Document::Scope(scope.clone())).await;
        elsewhere.end().await;
        assert_eq!((blob.kind, blob.size), (BlobKind::Scope, bytes.len() as u64));
        let resolved = execution::Resolved { scope: blob, workspaces: 0, skipped: 1, unreachable: 0 };
        log.append(Aggregate::Execution(id), Event::Execution(resolved.into())).await;

        let running = Running::start(&database, log.broker("projector"));
        log.projected(log.last).await;
        let pool = database.open().await;
        let letters = log.letters(1).await;
        assert_eq!((letters[0].consumer.as_str(), letters[0].sequence), ("projector", log.last));
        assert!(letters[0].reason.contains("is not there"), "{}", letters[0].reason);
        let count: i64 = sqlx::query_scalar("SELECT skipped FROM executions").fetch_one(&pool).await.unwrap();
        assert_eq!((count, skips(&pool).await), (1, 0), "the event's own row is there");

        // Too early: it is set aside anew, though the first letter is only a moment old.
        log.broker("operator").retry_dead(letters[0].id).await.unwrap();
        let again = log.letters(1).await;
        assert_ne!(again[0].id, letters[0].id);

        log.put(&Document::Scope(scope)).await;
        log.broker("operator").retry_dead(again[0].id).await.unwrap();
        let wait = async {
            while skips(&pool).await == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
        let differences = verify(&database.url, log.broker("operator"), |_| {}).await.unwrap();
        assert_eq!(differences.total, 0, "{:?}", differences.told);
        running.stop().await;
        log.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_stops_the_projector_until_a_rebuild() {
    for engine in Engine::ALL {
        let database = Database::new(engine);
        let mut long = Log::new().await;
        long.append_all(&history(2, 200)).await;
        let running = Running::start(&database, long.broker("projector"));
        long.projected(long.last).await;
        running.stop().await;
        long.end().await;

        // An older copy: fewer events, and not the same.
        let mut log = Log::new().await;
        log.append_all(&history(1, 50)).await;
        let operator = log.broker("operator").clone();
        let stopped = Running::start(&database, log.broker("projector")).task.await.unwrap().unwrap_err();
        assert!(format!("{stopped:#}").contains("patchwave projection rebuild"), "{stopped:#}");
        assert!(!status(&database.url, &operator).await.unwrap().log_intact);
        let refused = verify(&database.url, &operator, |_| {}).await.unwrap_err();
        assert!(format!("{refused:#}").contains("the log was cut"), "{refused:#}");

        rebuild(&database.url, &operator, |_| {}).await.unwrap();
        let running = Running::start(&database, log.broker("projector"));
        log.projected(log.last).await;
        running.stop().await;
        let differences = verify(&database.url, &operator, |_| {}).await.unwrap();
        assert_eq!((differences.total, differences.sequence), (0, log.last), "{:?}", differences.told);
        log.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_is_an_error_that_says_what_to_do() {
    let log = Log::new().await;
    for (url, text) in [
        ("mysql://x", "must begin with"),
        ("sqlite:///nowhere/at/all/projection.sqlite", "cannot be reached"),
    ] {
        let config = Config { database_url: url.to_owned() };
        let error = run(config, log.broker("projector").clone(), CancellationToken::new()).await.unwrap_err();
        assert!(format!("{error:#}").contains(text), "{error:#}");
    }
    log.end().await;
}
