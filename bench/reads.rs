//! Reads: what a page, a thing by its id and a count cost once there is a history of a million jobs.

use std::time::Instant;

use events::id::{ActionId, ExecutionId, JobId};
use serde_json::{Value, json};
use sqlx::any::AnyArguments;
use sqlx::{AnyPool, AssertSqlSafe};
use tokio_util::sync::CancellationToken;

use crate::block_on;
use crate::figure::{Figure, Goal, percentile};
use crate::stage::Stage;
use crate::world::postgres::Postgres;

/// The history: one execution has as many jobs as there may be, the others share the rest.
const EXECUTIONS: u64 = 20_000;
const JOBS: u64 = 1_000_000;
const LARGEST: u64 = 50_000;
const ACTIONS: u64 = 200;

/// How often each read is made.
const READS: usize = 1_000;

/// The slowest of all pages, things and counts has to be as fast, in milliseconds, in 99 of 100 cases.
const GOAL_MS: f64 = 10.0;

/// A page with pages in it has the rows of many: it may take as long as one page of each level and half as much again.
const MOST_NESTED: f64 = 1.5;

/// How many rows a statement writes.
const ROWS: usize = 50;

/// Pages, things by their ids and counts, on both databases.
pub(crate) fn at_scale() -> Vec<Figure> {
    block_on(async {
        let sqlite = Stage::open(broker::server::Sync::EverySecond, &[]).await;
        let url = sqlite.database();
        let names = ["reads_sqlite_p99_ms", "reads_nested_sqlite_p99_ms"];
        let mut figures = measured(names, sqlite, &url).await;
        let postgres = Stage::open(broker::server::Sync::EverySecond, &[]).await;
        let url = Postgres::shared().database("reads");
        let names = ["reads_postgres_p99_ms", "reads_nested_postgres_p99_ms"];
        figures.extend(measured(names, postgres, &url).await);
        figures
    })
}

async fn measured([each, nested]: [&'static str; 2], stage: Stage, url: &str) -> Vec<Figure> {
    fill(url).await;
    let stop = CancellationToken::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("the port"));
    let config = gateway::Config {
        database_url: url.to_owned(),
        files_limit_bytes: gateway::DEFAULT_FILES_LIMIT_BYTES,
        auth: gateway::Auth::None,
        // One client asks without a pause.
        limits: gateway::Limits { requests_per_second: None, ..Default::default() },
        pace: gateway::Pace::default(),
        public_url: None,
        provider: None,
    };
    let broker = stage.connect("gateway").await;
    let gateway = tokio::spawn(gateway::run(config, listener, broker, stop.clone()));
    let client = crate::world::http_client();
    // The request waits until the gateway takes it, and that waits for the tables.
    get(&client, &format!("{address}/healthz")).await;
    let (mut worst, mut levels): (f64, f64) = (0.0, 0.0);
    for read in Read::ALL {
        let p99 = read.measure(&client, &address).await;
        worst = worst.max(p99);
        if read.is_level {
            levels += p99;
        }
    }
    let together = Read::NESTED.measure(&client, &address).await;
    let mut floor = Vec::with_capacity(READS);
    for _ in 0..READS {
        let start = Instant::now();
        get(&client, &format!("{address}/healthz")).await;
        floor.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    floor.sort_by(f64::total_cmp);
    eprintln!(
        "           {:<35} p50 {:6.2} ms   p99 {:6.2} ms",
        "an answer without a read",
        percentile(&floor, 0.5),
        percentile(&floor, 0.99)
    );
    stop.cancel();
    gateway.await.expect("the gateway ends").expect("the gateway ends well");
    stage.close().await;
    let levels = ("its levels, one of each", levels);
    vec![
        Figure::within(each, "ms", worst, GOAL_MS),
        Figure::against(nested, "ms", together, levels, Goal::AtMost(MOST_NESTED)),
    ]
}

async fn get(client: &reqwest::Client, url: &str) {
    let answer = client.get(url).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    answer.bytes().await.expect("a body");
}

/// A read, as a page of a user interface or a script makes it.
struct Read {
    name: &'static str,
    /// Whether it is one of the levels of the nested page.
    is_level: bool,
    query: &'static str,
    /// What it is asked with, another one each time.
    variables: fn(u64) -> Value,
}

const JOB: &str = "id repository path state attempt runner failure { message } diffStat { files } hasPatch";

impl Read {
    const ALL: [Self; 10] = [
        Self {
            name: "the newest actions",
            is_level: false,
            query: "{ actions(first: 50) { nodes { id name revision updatedAt } pageInfo { endCursor } } }",
            variables: |_| json!({}),
        },
        Self {
            name: "the newest executions",
            is_level: true,
            query: "{ executions(first: 50) { totalCount nodes { id actionName state counts { queued succeeded failed } plan { id } } } }",
            variables: |_| json!({}),
        },
        Self {
            name: "executions from somewhere on",
            is_level: false,
            query: "query($after: String) { executions(first: 50, after: $after) { nodes { id actionName state } } }",
            variables: |place| json!({ "after": hex::encode(format!("[{}]", 1 + place % EXECUTIONS)) }),
        },
        Self {
            name: "the executions of an action",
            is_level: false,
            query: "query($id: ID) { executions(first: 50, actionId: $id) { nodes { id state } } }",
            variables: |place| json!({ "id": action(place % ACTIONS) }),
        },
        Self {
            name: "executions in a state, counted",
            is_level: false,
            query: "query($after: String) { executions(first: 50, state: SUCCEEDED, after: $after) { totalCount nodes { id } } }",
            variables: |place| json!({ "after": hex::encode(format!("[{}]", 1 + place % EXECUTIONS)) }),
        },
        Self {
            name: "20 things by their ids",
            is_level: false,
            query: "query($ids: [ID!]!) { nodes(ids: $ids) { id ... on Job { state execution { id } } } }",
            variables: |place| json!({ "ids": (0..20).map(|n| job((place / 2 + n) % JOBS).to_string()).collect::<Vec<_>>() }),
        },
        Self {
            name: "the jobs of an execution",
            is_level: true,
            query: "query($id: ID!) { execution(id: $id) { id state jobs(first: 50) { nodes { JOB } } } }",
            variables: |place| json!({ "id": execution(1 + place % (EXECUTIONS - 1)) }),
        },
        Self {
            name: "the middle of 50,000 jobs",
            is_level: false,
            query: "query($id: ID!, $after: String) { execution(id: $id) { jobs(first: 50, after: $after) { nodes { JOB } } } }",
            variables: |place| {
                let key = json!([repository(place % LARGEST), ""]).to_string();
                json!({ "id": execution(0), "after": hex::encode(key) })
            },
        },
        Self {
            name: "a job with its attempts",
            is_level: true,
            query: "query($id: ID!) { job(id: $id) { JOB starved { message } attempts { number state steps { number exitCode } } } }",
            variables: |place| json!({ "id": job(place % JOBS) }),
        },
        Self {
            name: "an execution with its plan",
            is_level: false,
            query: "query($id: ID!) { execution(id: $id) { id counts { succeeded } skipped { nodes { repository } } plan { id changesets } } }",
            variables: |place| json!({ "id": execution(place % EXECUTIONS) }),
        },
    ];

    /// A page with pages in it.
    const NESTED: Self = Self {
        name: "20 executions, their jobs' attempts",
        is_level: false,
        query: "{ executions(first: 20) { nodes { id jobs(first: 3) { nodes { id attempts { number state } } } } } }",
        variables: |_| json!({}),
    };

    /// Measures it; its 99th percentile in milliseconds.
    async fn measure(&self, client: &reqwest::Client, address: &str) -> f64 {
        let times = self.times(client, address).await;
        let (p50, p99) = (percentile(&times, 0.5), percentile(&times, 0.99));
        eprintln!("           {:<35} p50 {p50:6.2} ms   p99 {p99:6.2} ms", self.name);
        p99
    }

    /// How long it takes, in milliseconds and sorted.
    async fn times(&self, client: &reqwest::Client, address: &str) -> Vec<f64> {
        let query = self.query.replace("JOB", JOB);
        let mut random = fastrand::Rng::with_seed(7);
        let mut times = Vec::with_capacity(READS);
        for _ in 0..READS {
            let body = json!({ "query": query, "variables": (self.variables)(random.u64(..)) });
            let start = Instant::now();
            let answer =
                client.post(format!("{address}/graphql")).json(&body).send().await.expect("an answer");
            let answer = answer.bytes().await.expect("a body");
            times.push(start.elapsed().as_secs_f64() * 1_000.0);
            let answer: Value = serde_json::from_slice(&answer).expect("JSON");
            assert!(answer.get("errors").is_none(), "{}: {answer}", self.name);
            let found = answer["data"].as_object().expect("data").values().next().expect("a field");
            assert!(!found.is_null(), "{}: {body} is not there", self.name);
        }
        times.sort_by(f64::total_cmp);
        times
    }
}

fn action(number: u64) -> ActionId {
    ActionId::derived(&["reads", &number.to_string()])
}

fn execution(number: u64) -> ExecutionId {
    ExecutionId::derived(&["reads", &number.to_string()])
}

fn job(number: u64) -> JobId {
    JobId::derived(&["reads", &number.to_string()])
}

fn repository(number: u64) -> String {
    format!("example.org/team/repository-{number:06}")
}

/// The execution of a job.
fn whose(job: u64) -> u64 {
    if job < LARGEST { 0 } else { 1 + (job - LARGEST) * (EXECUTIONS - 1) / (JOBS - LARGEST) }
}

const TIME: &str = "2026-01-02T03:04:05.678901Z";

/// The tables of the live generation.
struct Tables {
    pool: AnyPool,
    suffix: String,
    /// Whether a parameter is `$1`, as PostgreSQL wants it, and not `?`.
    numbered: bool,
}

/// A value of a row.
enum Cell {
    Text(String),
    Int(i64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Int(number as i64)
    }
}

/// Writes the history as the projector would have, but for the events.
async fn fill(url: &str) {
    let start = Instant::now();
    let pool = projector::schema::open(url).await.expect("the database");
    let generation: i64 = sqlx::query_scalar("SELECT generation FROM generations WHERE active = 1")
        .fetch_one(&pool)
        .await
        .expect("a generation");
    let tables = Tables { pool, suffix: format!("_g{generation}"), numbered: url.starts_with("postgres") };
    tables
        .write(
            "actions",
            "id name description revision archived executions created_at updated_at updated_sequence",
            0..ACTIONS,
            |n| {
                let name = format!("action-{n}");
                vec![
                    action(n).to_string().into(),
                    name.into(),
                    "".into(),
                    1.into(),
                    0.into(),
                    (EXECUTIONS / ACTIONS).into(),
                    TIME.into(),
                    TIME.into(),
                    n.into(),
                ]
            },
        )
        .await;
    tables
        .write(
            "executions",
            "id action_id action_name revision reason actor state cancel_requested requested_at requested_sequence workspaces \
             skipped unreachable queued running succeeded failed canceled retries plan_is_current",
            0..EXECUTIONS,
            |n| {
                let jobs = if n == 0 { LARGEST } else { 50 };
                let id = execution(n).to_string();
                let action = n % ACTIONS;
                vec![
                    id.into(), self::action(action).to_string().into(), format!("action-{action}").into(), 1.into(), "manual".into(),
                    "user:bench".into(), "succeeded".into(), 0.into(), TIME.into(), (1 + n).into(), jobs.into(), 0.into(), 0.into(),
                    0.into(), 0.into(), jobs.into(), 0.into(), 0.into(), 0.into(), 0.into(),
                ]
            },
        )
        .await;
    tables
        .write(
            "jobs",
            "id execution_id repository url base_ref base_oid path state attempt runner_id cancel_requested files insertions \
             deletions queued_at started_at ended_at updated_sequence",
            0..JOBS,
            |n| {
                let repository = repository(n);
                let url = format!("https://{repository}.git");
                vec![
                    job(n).to_string().into(), execution(whose(n)).to_string().into(), repository.into(), url.into(),
                    "refs/heads/main".into(), "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3".into(), "".into(), "succeeded".into(),
                    1.into(), "local".into(), 0.into(), 1.into(), 2.into(), 3.into(), TIME.into(), TIME.into(), TIME.into(), n.into(),
                ]
            },
        )
        .await;
    tables
        .write(
            "attempts",
            "job_id number execution_id runner_id state assigned_at started_at ended_at secrets",
            0..JOBS,
            |n| {
                let ids = (job(n).to_string(), execution(whose(n)).to_string());
                vec![
                    ids.0.into(),
                    1.into(),
                    ids.1.into(),
                    "local".into(),
                    "succeeded".into(),
                    TIME.into(),
                    TIME.into(),
                    TIME.into(),
                    "[]".into(),
                ]
            },
        )
        .await;
    tables
        .write("steps", "job_id attempt number started_at skipped exit_code duration_ms", 0..JOBS, |n| {
            vec![job(n).to_string().into(), 1.into(), 1.into(), TIME.into(), 0.into(), 0.into(), 90.into()]
        })
        .await;
    tables
        .write("totals", "name count", 0..2, |n| {
            let name = ["executions", "executions.succeeded"][n as usize];
            vec![name.into(), EXECUTIONS.into()]
        })
        .await;
    if tables.numbered {
        // As PostgreSQL does by itself sooner or later.
        sqlx::query("ANALYZE").execute(&tables.pool).await.expect("statistics");
    }
    tables.pool.close().await;
    let seconds = start.elapsed().as_secs_f64();
    eprintln!("           {EXECUTIONS} executions and {JOBS} jobs written in {seconds:.0} s");
}

impl Tables {
    async fn write(
        &self,
        table: &str,
        columns: &str,
        numbers: std::ops::Range<u64>,
        row: impl Fn(u64) -> Vec<Cell>,
    ) {
        let columns: Vec<&str> = columns.split_whitespace().collect();
        let mut transaction = self.pool.begin().await.expect("a transaction");
        let mut rest = numbers;
        while !rest.is_empty() {
            let chunk: Vec<u64> = rest.by_ref().take(ROWS).collect();
            let mut arguments = AnyArguments::default();
            let mut number = 0;
            let mut tuples = Vec::with_capacity(chunk.len());
            for n in &chunk {
                let mut places = Vec::with_capacity(columns.len());
                for cell in row(*n) {
                    number += 1;
                    places.push(if self.numbered { format!("${number}") } else { "?".to_owned() });
                    let added = match cell {
                        Cell::Text(text) => sqlx::Arguments::add(&mut arguments, text),
                        Cell::Int(value) => sqlx::Arguments::add(&mut arguments, value),
                    };
                    added.expect("a parameter");
                }
                tuples.push(format!("({})", places.join(", ")));
            }
            let (suffix, columns, tuples) = (&self.suffix, columns.join(", "), tuples.join(", "));
            let statement = format!("INSERT INTO {table}{suffix} ({columns}) VALUES {tuples}");
            sqlx::query_with(AssertSqlSafe(statement), arguments)
                .execute(&mut *transaction)
                .await
                .expect("rows are written");
        }
        transaction.commit().await.expect("a transaction");
    }
}
