//! One broker, one runner that sends logs, and the collector when a test wants it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use broker::sealed_log::SealedLogWriter;
use broker::server::{Server, ServerConfig, Sync, locate};
use broker::{Broker, DeadLetter, Start};
use events::beat::Running;
use events::blob::{BlobKind, Sha256};
use events::envelope::{Actor, NewEvent, Origin};
use events::id::{CommandId, ExecutionId, JobId, RunnerId};
use events::job::{self, Assigned, DiffStat, LogSealed, Queued, Started, Succeeded};
use events::log::{Chunk, LogEnd, Stream};
use events::{Aggregate, Event, Timestamp};
use sha2::Digest as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer unless it never comes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    server: Server,
    pub(crate) broker: Broker,
    pub(crate) operator: Broker,
    scheduler: Broker,
    sender: Broker,
    folder: tempfile::TempDir,
    jobs: AtomicU64,
}

pub(crate) struct Job<'a> {
    world: &'a World,
    pub(crate) id: JobId,
    execution: ExecutionId,
}

pub(crate) struct Collector {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Collector {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// What a log of these pieces, a chunk each, amounts to.
pub(crate) fn end_of(pieces: &[Vec<u8>]) -> LogEnd {
    let plain = pieces.concat();
    LogEnd {
        chunks: pieces.len() as u64,
        bytes: plain.len() as u64,
        lines: plain.split_inclusive(|byte| *byte == b'\n').count() as u64,
        sha256: Sha256::from_bytes(&sha2::Sha256::digest(&plain).into()),
    }
}

/// Long enough ago that no grace is left.
fn long_ago() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runner: RunnerId = "local".parse().unwrap();
        let config = ServerConfig {
            folder: folder.path().join("broker"),
            port: None,
            runners: vec![runner.clone()],
            sync: Sync::EverySecond,
        };
        let server = Server::start(locate(None).unwrap(), config).await.unwrap();
        connect(&server, "provisioner").await.provision(&broker::CacheLimits::default()).await.unwrap();
        Self {
            broker: connect(&server, "log-collector").await,
            operator: connect(&server, "operator").await,
            scheduler: connect(&server, "scheduler").await,
            sender: connect(&server, "runner-local").await,
            server,
            folder,
            jobs: AtomicU64::new(0),
        }
    }

    pub(crate) fn runner(&self) -> RunnerId {
        "local".parse().unwrap()
    }

    pub(crate) async fn collect(&self) -> Collector {
        let config = log_collector::Config {
            snapshot_dir: self.folder.path().join("snapshot"),
            scratch_dir: self.folder.path().join("scratch"),
        };
        let broker = connect(&self.server, "log-collector").await;
        let stop = CancellationToken::new();
        Collector { task: tokio::spawn(log_collector::run(config, broker, stop.clone())), stop }
    }

    pub(crate) fn forget_snapshot(&self) {
        std::fs::remove_dir_all(self.folder.path().join("snapshot")).unwrap();
    }

    pub(crate) async fn end(self) {
        let left = std::fs::read_dir(self.folder.path().join("scratch")).unwrap().count();
        assert_eq!(left, 0, "the scratch folder is empty");
        self.server.stop().await;
    }

    /// A job that waits.
    pub(crate) async fn job(&self) -> Job<'_> {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed).to_string();
        let job = Job {
            world: self,
            id: JobId::derived(&["job", &number]),
            execution: ExecutionId::derived(&["execution", &number]),
        };
        let workspace = serde_json::from_value(serde_json::json!({
            "repository": "r", "url": "/r", "base_ref": "refs/heads/main", "base_oid": "a".repeat(40), "path": "",
            "source": {"kind": "source", "sha256": "b".repeat(64), "size": 1},
        }));
        job.append(Queued { workspace: workspace.unwrap() }).await;
        job
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

impl Job<'_> {
    pub(crate) async fn append(&self, event: impl Into<job::Event>) {
        let aggregate = Aggregate::Job(self.execution, self.id);
        let history = self.world.scheduler.history(&aggregate).await.unwrap();
        let expected = history.last().map_or(0, |last| last.sequence);
        let event = Event::Job(event.into());
        let origin = Origin {
            command: CommandId::derived(&[&self.id.to_string(), &expected.to_string()]),
            actor: Actor::service("scheduler"),
            correlation: self.execution.to_string(),
            causation: None,
            trace_parent: None,
        };
        let event = NewEvent { aggregate, event, time: long_ago(), origin };
        self.world.scheduler.append(&event, expected).await.unwrap();
    }

    pub(crate) async fn start(&self, attempt: u32) {
        self.append(Assigned { attempt, runner: self.world.runner(), secrets: Vec::new() }).await;
        self.append(Started { attempt }).await;
    }

    pub(crate) async fn succeed(&self, attempt: u32, log: LogEnd) {
        self.append(Succeeded {
            attempt,
            patch: None,
            diff_stat: DiffStat::default(),
            outputs: Default::default(),
            log,
        })
        .await;
    }

    /// Sends pieces as chunks, numbered from `first` on.
    pub(crate) async fn send(&self, attempt: u32, first: u64, pieces: &[Vec<u8>]) {
        let attempt = Running { job: self.id, attempt };
        for (number, bytes) in (first..).zip(pieces) {
            let chunk = chunk(number, bytes.clone());
            let sending = self.world.sender.send_chunk(&self.world.runner(), &attempt, &chunk).await;
            sending.stored().await.unwrap();
        }
    }

    /// Seals an attempt's log as a collector does that dies before the purge.
    pub(crate) async fn seal_and_die(&self, attempt: u32, pieces: &[Vec<u8>]) -> LogSealed {
        let mut writer = SealedLogWriter::new(Vec::new()).unwrap();
        for (number, bytes) in (1..).zip(pieces) {
            writer.write(&chunk(number, bytes.clone())).unwrap();
        }
        let (bytes, log) = writer.finish().unwrap();
        let blob = self.world.broker.put_blob(BlobKind::Log, &bytes).await.unwrap();
        let sealed = LogSealed { attempt, blob, log };
        self.append(sealed.clone()).await;
        sealed
    }

    /// Every seal of an attempt.
    pub(crate) async fn seals(&self, attempt: u32) -> Vec<LogSealed> {
        let history = self.world.broker.history(&Aggregate::Job(self.execution, self.id)).await.unwrap();
        let seals = history.into_iter().filter_map(|recorded| match recorded.event {
            Event::Job(job::Event::LogSealed(sealed)) if sealed.attempt == attempt => {
                Some((sealed, recorded.correlation))
            }
            _ => None,
        });
        let seals: Vec<_> = seals.collect();
        assert!(seals.iter().all(|(_, correlation)| *correlation == self.execution.to_string()));
        seals.into_iter().map(|(sealed, _)| sealed).collect()
    }

    /// Waits for an attempt's first seal.
    pub(crate) async fn sealed(&self, attempt: u32) -> LogSealed {
        self.seal_number(attempt, 0).await
    }

    /// Waits for the seal that comes after another.
    pub(crate) async fn sealed_after(&self, attempt: u32, before: &LogSealed) -> LogSealed {
        let known = self.seals(attempt).await.iter().position(|seal| seal == before).unwrap();
        self.seal_number(attempt, known + 1).await
    }

    async fn seal_number(&self, attempt: u32, number: usize) -> LogSealed {
        let filter = events::subject::every(events::AggregateKind::Job, "log_sealed");
        let mut events = self.world.broker.follow_events(&[filter], Start::After(0));
        let wait = async {
            loop {
                if let Some(sealed) = self.seals(attempt).await.into_iter().nth(number) {
                    return sealed;
                }
                events.next().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap()
    }

    /// What a seal holds, read as anybody would.
    pub(crate) async fn plain(&self, sealed: &LogSealed) -> Vec<u8> {
        let blob = self.world.broker.get_blob(&sealed.blob).await.unwrap();
        let plain = zstd::decode_all(&blob[..]).unwrap();
        assert_eq!(sealed.log.bytes, plain.len() as u64);
        plain
    }

    /// Waits until there is no live log any more.
    pub(crate) async fn purged(&self, attempt: u32) {
        let attempt = Running { job: self.id, attempt };
        let wait = async {
            loop {
                let logs = self.world.broker.live_logs().await.unwrap();
                if logs.iter().all(|log| log.attempt != attempt) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.unwrap();
    }
}

fn chunk(number: u64, bytes: Vec<u8>) -> Chunk {
    Chunk { number, first_line: 1, step: 1, stream: Stream::Stdout, time: long_ago(), bytes }
}

async fn connect(server: &Server, user: &str) -> Broker {
    let config = server.client(user, Duration::from_secs(10)).unwrap();
    Broker::connect(&config).await.unwrap()
}
