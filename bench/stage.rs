//! A stage: a broker of its own in a folder of its own, and the roles that a benchmark puts on it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use broker::Broker;
use broker::server::{Server, ServerConfig, Sync};
use events::action::Definition;
use events::blob::{BlobKind, BlobRef};
use events::document::Scope;
use events::envelope::{Actor, NewEvent, Origin};
use events::execution::{Reason, Requested, Resolved};
use events::id::{ActionId, CommandId, ExecutionId, RunnerId};
use events::ticket::Workspace;
use events::{Aggregate, Event};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::null_engine::NullEngine;
use crate::world::git::{self, Repository};
use crate::world::script_definition;

/// A broker, a folder, and what works there.
pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    /// Where the runner works.
    pub(crate) workspaces: tempfile::TempDir,
    pub(crate) server: Server,
    stop: CancellationToken,
    roles: JoinSet<anyhow::Result<()>>,
}

impl Stage {
    /// A stage for these runners, which work on a disk.
    pub(crate) async fn open(sync: Sync, runners: &[RunnerId]) -> Self {
        Self::open_in(sync, runners, tempfile::tempdir().expect("a folder")).await
    }

    /// The same, but the runners work in this folder.
    pub(crate) async fn open_in(sync: Sync, runners: &[RunnerId], workspaces: tempfile::TempDir) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = broker::server::locate(None).expect("a nats-server");
        let config = ServerConfig {
            folder: folder.path().join("broker"),
            port: None,
            runners: runners.to_vec(),
            sync,
        };
        let server = Server::start(program, config).await.expect("nats-server starts");
        let stage =
            Self { folder, workspaces, server, stop: CancellationToken::new(), roles: JoinSet::new() };
        stage
            .connect("provisioner")
            .await
            .provision(&broker::CacheLimits::default())
            .await
            .expect("the streams");
        stage
    }

    /// Connects as one of the broker's users.
    pub(crate) async fn connect(&self, user: &str) -> Broker {
        let config = self.server.client(user, Duration::from_secs(10)).expect("a user of the broker");
        Broker::connect(&config).await.expect("the broker answers")
    }

    /// Where the projection is.
    pub(crate) fn database(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("projection.sqlite").display())
    }

    /// Starts a projector.
    pub(crate) async fn project(&mut self) {
        let config = projector::Config { database_url: self.database() };
        let broker = self.connect("projector").await;
        self.roles.spawn(projector::run(config, broker, self.stop.clone()));
    }

    /// Starts a scheduler.
    pub(crate) async fn schedule(&mut self) {
        let config = scheduler::Config {
            snapshot_dir: self.folder.path().join("scheduler"),
            secrets_key: self.folder.path().join("secrets.key"),
            default_timeout: scheduler::DEFAULT_TIMEOUT,
            max_timeout: scheduler::MAX_TIMEOUT,
            default_queue_timeout: scheduler::DEFAULT_QUEUE_TIMEOUT,
            job_limits: scheduler::JobLimits::default(),
        };
        let broker = self.connect("scheduler").await;
        self.roles.spawn(scheduler::run(config, broker, self.stop.clone()));
    }

    /// Starts a runner whose containers are those of a null engine.
    pub(crate) async fn run_jobs(&mut self, id: &RunnerId, slots: u32, engine: &NullEngine) {
        let config = runner::Config {
            id: id.clone(),
            dir: self.workspaces.path().join("runner"),
            slots,
            pool: events::runner::DEFAULT_POOL.to_owned(),
            labels: Default::default(),
            docker_host: Some(engine.address().to_owned()),
            runtime: None,
            // The engine that is not there has no networks to close.
            networks: runner::NetworkSettings { most: runner::Reach::None, ..Default::default() },
            command_image: spec::DEFAULT_COMMAND_IMAGE.to_owned(),
            tree_cache_bytes: runner::DEFAULT_TREE_CACHE_BYTES,
            kept_bytes: u64::MAX,
            default_limits: spec::Limits::default(),
            max_limits: spec::Limits::default(),
            reserve: runner::Reserve { disk_bytes: 0, memory_bytes: 0 },
            drain_timeout: None,
            grace: runner::DEFAULT_GRACE,
        };
        let broker = self.connect(&broker::server::runner_user(id)).await;
        self.roles.spawn(runner::run(config, broker, self.stop.clone()));
    }

    /// Ends everything.
    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.roles.join_next().await {
            ended.expect("a role ends").expect("a role ends well");
        }
        self.server.stop().await;
    }
}

/// Whoever asks for executions: the gateway and the catalog in one.
pub(crate) struct People {
    gateway: Broker,
    catalog: Broker,
    workspace: Workspace,
}

impl People {
    pub(crate) async fn of(stage: &Stage) -> Self {
        let (gateway, catalog) = (stage.connect("gateway").await, stage.connect("catalog").await);
        let repository =
            Repository::empty(stage.folder.path().join("repository")).file("file", "text\n").commit();
        let source =
            catalog.put_blob(BlobKind::Source, &pack(&repository.path)).await.expect("a source is stored");
        let workspace = Workspace {
            repository: "example.org/repository".to_owned(),
            url: "https://example.org/repository.git".to_owned(),
            base_ref: "refs/heads/main".parse().expect("a branch"),
            base_oid: repository.head().parse().expect("an object id"),
            path: String::new(),
            source,
        };
        Self { gateway, catalog, workspace }
    }

    /// Asks for so many jobs that do nothing; returns the execution.
    pub(crate) async fn ask_for(&self, name: &str, jobs: usize) -> ExecutionId {
        let id = ExecutionId::derived(&["bench", name]);
        let requested = Requested {
            action: ActionId::derived(&["bench"]),
            action_name: "bench".to_owned(),
            revision: 1,
            definition: Definition {
                file_name: "bench.batch.yaml".to_owned(),
                source: script_definition("bench", "true"),
                given: Default::default(),
                files: None,
            },
            repositories: Vec::new(),
            reason: Reason::Manual,
            no_cache: false,
            pool: None,
        };
        let sequence = append(&self.gateway, id, requested.into(), 0).await;
        // No two jobs are the same: what ran before would not run again.
        let place = |number: usize| Workspace { path: format!("{name}-{number}"), ..self.workspace.clone() };
        let scope = Scope { workspaces: (0..jobs).map(place).collect(), skipped: Vec::new() };
        let scope: BlobRef =
            self.catalog.put_document(BlobKind::Scope, &scope).await.expect("a scope is stored");
        let resolved = Resolved { scope, workspaces: jobs as u32, skipped: 0, unreachable: 0 };
        append(&self.catalog, id, resolved.into(), sequence).await;
        id
    }
}

async fn append(broker: &Broker, id: ExecutionId, event: events::execution::Event, expected: u64) -> u64 {
    let origin = Origin {
        command: CommandId::derived(&["bench", event.name(), &id.to_string()]),
        actor: Actor::user("bench"),
        correlation: id.to_string(),
        causation: None,
        trace_parent: None,
    };
    let event = NewEvent {
        aggregate: Aggregate::Execution(id),
        event: Event::Execution(event),
        time: chrono::Utc::now(),
        origin,
    };
    broker.append(&event, expected).await.expect("it is appended").sequence
}

/// The commit that a repository stands on, as runners get it.
fn pack(repository: &Path) -> Vec<u8> {
    let mut command = git::command(repository);
    command.args(["pack-objects", "-q", "--revs", "--stdout"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("git is installed");
    let mut stdin = child.stdin.take().expect("git's input");
    std::io::Write::write_all(&mut stdin, b"HEAD\n").expect("git reads");
    drop(stdin);
    child.wait_with_output().expect("git ends").stdout
}
