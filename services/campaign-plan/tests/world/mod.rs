//! One broker, executions whose facts a test writes, and the planner when it wants it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::server::{Server, ServerConfig, Sync, locate};
use broker::{Broker, DeadLetter, Start};
use events::action::{Definition, Given};
use events::blob::{BlobKind, BlobRef, Sha256};
use events::document::{self, Scope, Skipped};
use events::envelope::{Actor, NewEvent, Origin, Recorded};
use events::execution::{self, Completed, Counts, Outcome, Reason, Requested, Resolved};
use events::id::{ActionId, CommandId, ExecutionId, JobId, PlanId};
use events::job::{self, DiffStat, Queued, Succeeded};
use events::log::LogEnd;
use events::plan;
use events::{Aggregate, AggregateKind, Event, Timestamp, subject};
use futures::{StreamExt as _, stream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct World {
    server: Server,
    pub(crate) broker: Broker,
    pub(crate) operator: Broker,
    scheduler: Broker,
    catalog: Broker,
    gateway: Broker,
    runner: Broker,
    folder: tempfile::TempDir,
    executions: AtomicU64,
}

pub(crate) struct Execution<'a> {
    world: &'a World,
    pub(crate) id: ExecutionId,
}

pub(crate) struct Job<'a> {
    world: &'a World,
    execution: ExecutionId,
    pub(crate) id: JobId,
}

pub(crate) struct Planner {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Planner {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    pub(crate) async fn stop_after(self, execution: &Execution<'_>) {
        execution.current_plan().await;
        self.stop().await;
    }
}

pub(crate) fn log_end() -> LogEnd {
    LogEnd { chunks: 0, bytes: 0, lines: 0, sha256: Sha256::from_bytes(&[0; 32]) }
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ServerConfig {
            folder: folder.path().join("broker"),
            port: None,
            runners: vec!["local".parse().unwrap()],
            sync: Sync::EverySecond,
        };
        let server = Server::start(locate(None).unwrap(), config).await.unwrap();
        connect(&server, "provisioner").await.provision(&broker::CacheLimits::default()).await.unwrap();
        Self {
            broker: connect(&server, "campaign-plan").await,
            operator: connect(&server, "operator").await,
            scheduler: connect(&server, "scheduler").await,
            catalog: connect(&server, "catalog").await,
            gateway: connect(&server, "gateway").await,
            runner: connect(&server, "runner-local").await,
            server,
            folder,
            executions: AtomicU64::new(0),
        }
    }

    pub(crate) async fn plan(&self) -> Planner {
        let config = campaign_plan::Config { snapshot_dir: self.folder.path().join("snapshot") };
        let broker = connect(&self.server, "campaign-plan").await;
        let stop = CancellationToken::new();
        Planner { task: tokio::spawn(campaign_plan::run(config, broker, stop.clone())), stop }
    }

    pub(crate) fn forget_snapshot(&self) {
        std::fs::remove_dir_all(self.folder.path().join("snapshot")).unwrap();
    }

    pub(crate) async fn end(self) {
        self.server.stop().await;
    }

    /// An execution of a batch spec with this changeset template.
    pub(crate) async fn execution(&self, template: &str) -> Execution<'_> {
        self.execution_with("", template).await
    }

    /// The same with more keys.
    pub(crate) async fn execution_with(&self, keys: &str, template: &str) -> Execution<'_> {
        let number = self.executions.fetch_add(1, Ordering::Relaxed).to_string();
        let execution = Execution { world: self, id: ExecutionId::derived(&[&number]) };
        let source = format!(
            "name: fixer\n{keys}steps:\n  - run: make\n    container: alpine\nchangesetTemplate:\n  {template}\n"
        );
        let requested = Requested {
            action: ActionId::named("fixer"),
            action_name: "fixer".to_owned(),
            revision: 1,
            definition: Definition {
                file_name: "fixer.batch.yaml".to_owned(),
                source,
                given: Given::default(),
                files: None,
            },
            repositories: Vec::new(),
            reason: Reason::Manual,
            no_cache: false,
            pool: None,
        };
        append(&self.gateway, Aggregate::Execution(execution.id), Event::Execution(requested.into())).await;
        execution
    }

    /// Waits for this many dead letters.
    pub(crate) async fn letters(&self, count: usize) -> Vec<DeadLetter> {
        let wait = async {
            loop {
                let letters = self.operator.dead_letters().await.unwrap();
                if letters.len() >= count {
                    return letters;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }
}

impl Execution<'_> {
    pub(crate) async fn job(&self, repository: &str, path: &str) -> Job<'_> {
        let id = JobId::derived(&[&self.id.to_string(), repository, path]);
        let job = Job { world: self.world, execution: self.id, id };
        let workspace = serde_json::from_value(serde_json::json!({
            "repository": repository, "url": format!("/{repository}"), "base_ref": "refs/heads/main",
            "base_oid": "a".repeat(40), "path": path,
            "source": {"kind": "source", "sha256": "b".repeat(64), "size": 1},
        }));
        job.end(Queued { workspace: workspace.unwrap() }).await;
        job
    }

    pub(crate) async fn many(&self, count: u32) {
        let patch = self.world.patch(b"diff --git a/f b/f\n").await;
        let job = |number: u32| {
            let patch = patch.clone();
            async move {
                let job = self.job(&format!("repository-{number:06}"), "").await;
                job.end(Succeeded {
                    attempt: 1,
                    patch: Some(patch),
                    diff_stat: stat(),
                    outputs: Default::default(),
                    log: log_end(),
                })
                .await;
            }
        };
        stream::iter((0..count).map(job)).buffer_unordered(64).collect::<Vec<_>>().await;
    }

    pub(crate) async fn complete(&self, skipped: Vec<Skipped>) {
        let scope = Scope { workspaces: Vec::new(), skipped };
        let scope = self.world.catalog.put_document(BlobKind::Scope, &scope).await.unwrap();
        let resolved = Resolved { scope, workspaces: 0, skipped: 0, unreachable: 0 };
        append(&self.world.catalog, Aggregate::Execution(self.id), Event::Execution(resolved.into())).await;
        self.complete_again().await;
    }

    pub(crate) async fn complete_again(&self) {
        let completed = Completed { outcome: Outcome::Succeeded, counts: Counts::default() };
        let event: execution::Event = completed.into();
        append(&self.world.scheduler, Aggregate::Execution(self.id), Event::Execution(event)).await;
    }

    /// Every event of this execution's plans.
    pub(crate) async fn plan_events(&self) -> Vec<Recorded> {
        let filter = subject::every(AggregateKind::Plan, "*");
        let mut follower = self.world.broker.follow_events(&[filter], Start::After(0));
        let mut events = Vec::new();
        while !follower.caught_up() {
            events.extend(
                follower.next().await.unwrap().messages.iter().map(|message| message.event().unwrap()),
            );
        }
        events.retain(|event| event.correlation == self.id.to_string());
        assert!(events.iter().all(|event| event.actor.as_str() == "service:campaign-plan"));
        events
    }

    /// The plans that gave way; waits for one.
    pub(crate) async fn superseded(&self) -> Vec<PlanId> {
        self.wait(|events| {
            let superseded =
                events.iter().filter_map(|recorded| match (&recorded.aggregate, &recorded.event) {
                    (Aggregate::Plan(id), Event::Plan(plan::Event::Superseded(_))) => Some(*id),
                    _ => None,
                });
            Some(superseded.collect::<Vec<_>>()).filter(|superseded| !superseded.is_empty())
        })
        .await
    }

    /// Waits for the plan that no other took the place of.
    pub(crate) async fn current_plan(&self) -> (plan::Created, document::Plan) {
        let created = self
            .wait(|events| {
                let mut current = None;
                for recorded in events {
                    match &recorded.event {
                        Event::Plan(plan::Event::Created(created)) => {
                            current = Some((recorded.aggregate.clone(), created.clone()));
                        }
                        Event::Plan(plan::Event::Superseded(_)) => {
                            current = current.filter(|(id, _)| *id != recorded.aggregate);
                        }
                        _ => {}
                    }
                }
                current.map(|(_, created)| created)
            })
            .await;
        let plan = self.world.broker.get_document(&created.document).await.unwrap();
        (created, plan)
    }

    async fn wait<T>(&self, find: impl Fn(&[Recorded]) -> Option<T>) -> T {
        let mut events = self.world.broker.follow_events(&["ev.plan.>".to_owned()], Start::After(0));
        let wait = async {
            loop {
                if let Some(found) = find(&self.plan_events().await) {
                    return found;
                }
                events.next().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(found) => found,
            Err(_) => panic!("it never came: {:?}", self.world.operator.dead_letters().await.unwrap()),
        }
    }
}

const fn stat() -> DiffStat {
    DiffStat { files: 1, insertions: 2, deletions: 3 }
}

impl World {
    async fn patch(&self, bytes: &[u8]) -> BlobRef {
        self.runner.put_blob(BlobKind::Patch, bytes).await.unwrap()
    }
}

impl Job<'_> {
    pub(crate) async fn succeed(&self, attempt: u32, patch: Option<&[u8]>) {
        self.hand_on(attempt, patch, job::Outputs::default()).await;
    }

    /// Succeeds, with these outputs.
    pub(crate) async fn hand_on(&self, attempt: u32, patch: Option<&[u8]>, outputs: job::Outputs) {
        let patch = match patch {
            Some(bytes) => Some(self.world.patch(bytes).await),
            None => None,
        };
        let diff_stat = if patch.is_some() { stat() } else { DiffStat::default() };
        self.end(Succeeded { attempt, patch, diff_stat, outputs, log: log_end() }).await;
    }

    pub(crate) async fn end(&self, event: impl Into<job::Event>) {
        let aggregate = Aggregate::Job(self.execution, self.id);
        append(&self.world.scheduler, aggregate, Event::Job(event.into())).await;
    }
}

async fn append(broker: &Broker, aggregate: Aggregate, event: Event) {
    let history = broker.history(&aggregate).await.unwrap();
    let expected = history.last().map_or(0, |last| last.sequence);
    let origin = Origin {
        command: CommandId::derived(&[&aggregate.to_string(), &expected.to_string()]),
        actor: Actor::service("scheduler"),
        correlation: "somewhere".to_owned(),
        causation: None,
        trace_parent: None,
    };
    broker.append(&NewEvent { aggregate, event, time: now(), origin }, expected).await.unwrap();
}

async fn connect(server: &Server, user: &str) -> Broker {
    let config = server.client(user, Duration::from_secs(10)).unwrap();
    Broker::connect(&config).await.unwrap()
}
