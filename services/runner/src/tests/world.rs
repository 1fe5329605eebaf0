//! The world of a test: a broker, a repository, and the scheduler's side of the queues.
//!
//! Owns the folder and the broker; dropping it takes both away. The runner under test runs in the test's own process.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::server::{self, Server, ServerConfig, Sync};
use broker::{Broker, Reports};
use events::action::{Definition, Given};
use events::beat::Running;
use events::blob::{BlobKind, BlobRef};
use events::id::{ExecutionId, JobId, RunnerId};
use events::log::{Chunk, LogEnd, Stream};
use events::report::{Report, What};
use events::ticket::{Ticket, Workspace};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::fixture::Fixture;
use crate::journal::attempt_of;
use crate::outbox::is_final;
use crate::{Config, NetworkSettings};

pub(crate) const IMAGE: &str = "patchwave-example:busybox";

/// Reached only when something is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// A broker and one side of it.
pub(crate) struct World {
    server: Server,
    pub(crate) fixture: Fixture,
    pub(crate) scheduler: Broker,
    pub(crate) reader: Broker,
    source: BlobRef,
    reports: Reports,
    heard: HashMap<Running, Vec<Report>>,
}

/// A runner that works.
pub(crate) struct Started {
    pub(crate) task: JoinHandle<anyhow::Result<()>>,
    pub(crate) stop: CancellationToken,
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} does not happen"),
    }
}

pub(crate) fn runner_id() -> RunnerId {
    "local".parse().unwrap()
}

fn nats_server() -> PathBuf {
    // Where the build is elsewhere, set-up's own is not found from it.
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nats-server");
    server::locate(None).or_else(|_| server::locate(Some(&fetched))).unwrap()
}

async fn connect(server: &Server, user: &str) -> Broker {
    let config = server.client(user, Duration::from_secs(20)).unwrap();
    Broker::connect(&config).await.unwrap()
}

impl World {
    /// A world whose repository holds `file` and `sub/inner`.
    pub(crate) async fn new() -> Self {
        let fixture = Fixture::new(|dir| {
            std::fs::create_dir(dir.join("sub")).unwrap();
            std::fs::write(dir.join("sub/inner"), "inside\n").unwrap();
            std::fs::write(dir.join("file"), "as it was\n").unwrap();
        });
        let config = ServerConfig {
            folder: fixture.dir.path().join("broker"),
            port: None,
            runners: vec![runner_id()],
            sync: Sync::Always,
        };
        let server = Server::start(nats_server(), config).await.unwrap();
        connect(&server, "provisioner").await.provision(&broker::CacheLimits::default()).await.unwrap();
        let scheduler = connect(&server, "scheduler").await;
        scheduler.open_queues(&runner_id()).await.unwrap();
        let catalog = connect(&server, "catalog").await;
        let source = catalog.put_blob_file(BlobKind::Source, &fixture.pack).await.unwrap();
        let reader = connect(&server, "gateway").await;
        let reports = scheduler.reports().await.unwrap();
        Self { server, fixture, scheduler, reader, source, reports, heard: HashMap::new() }
    }

    pub(crate) fn config(&self, slots: u32) -> Config {
        Config {
            id: runner_id(),
            dir: self.fixture.dir.path().join("runner"),
            slots,
            pool: "default".to_owned(),
            labels: [("where".to_owned(), "here".to_owned())].into(),
            docker_host: None,
            runtime: None,
            networks: NetworkSettings::default(),
            command_image: spec::DEFAULT_COMMAND_IMAGE.to_owned(),
            tree_cache_bytes: u64::MAX,
            reserve: crate::Reserve { disk_bytes: 0, memory_bytes: 0 },
            drain_timeout: Some(Duration::from_secs(1)),
            kept_bytes: u64::MAX,
            default_limits: spec::Limits::default(),
            max_limits: spec::Limits::default(),
            grace: Duration::from_secs(5),
        }
    }

    pub(crate) async fn start(&self, config: Config) -> Started {
        let broker = connect(&self.server, "runner-local").await;
        let stop = CancellationToken::new();
        let task = tokio::spawn(crate::run(config, broker, stop.clone()));
        Started { task, stop }
    }

    /// A ticket for a definition with these steps, each a line of YAML.
    pub(crate) fn ticket(&self, steps: &str) -> Ticket {
        let indented = steps.lines().map(|line| format!("  {line}\n")).collect::<String>();
        let source = format!(
            "name: test\ndescription: A test\nsteps:\n{indented}changesetTemplate:\n  title: T\n  body: B\n  branch: b\n  \
             commit:\n    message: M\n"
        );
        let commit = &self.fixture.commit;
        Ticket {
            execution: ExecutionId::from_uuid(Uuid::now_v7()),
            job: JobId::from_uuid(Uuid::now_v7()),
            attempt: 1,
            definition: Definition {
                file_name: "t.batch.yaml".to_owned(),
                source,
                given: Given::default(),
                files: None,
            },
            workspace: Workspace {
                repository: commit.repository.clone(),
                url: "/nowhere".to_owned(),
                base_ref: commit.base_ref.clone(),
                base_oid: commit.base_oid.clone(),
                path: String::new(),
                source: self.source.clone(),
            },
            timeout_ms: 60_000,
            secrets: Vec::new(),
            images: Vec::new(),
            reuse: None,
        }
    }

    /// Stores a blob.
    pub(crate) async fn store(&self, kind: BlobKind, bytes: &[u8]) {
        connect(&self.server, "catalog").await.put_blob(kind, bytes).await.unwrap();
    }

    /// Stores what is to pass for what steps came to, as a runner may.
    pub(crate) async fn store_result(&self, bytes: &[u8]) -> BlobRef {
        connect(&self.server, "runner-local").await.put_blob(BlobKind::Result, bytes).await.unwrap()
    }

    /// A ticket for scripts, a step each.
    pub(crate) fn scripts(&self, scripts: &[&str]) -> Ticket {
        let step = |script: &&str| {
            let indented = script.lines().map(|line| format!("    {line}\n")).collect::<String>();
            format!("- container: {IMAGE}\n  run: |\n{indented}")
        };
        self.ticket(&scripts.iter().map(step).collect::<String>())
    }

    /// Stores what is to pass for an action's files.
    pub(crate) async fn store_files(&self, bytes: &[u8]) -> BlobRef {
        connect(&self.server, "gateway").await.put_blob(BlobKind::Files, bytes).await.unwrap()
    }

    /// Stops the runner in good order, and then the broker.
    pub(crate) async fn close(self, runner: Started) {
        runner.end().await;
        self.close_broker().await;
    }

    /// Stops the broker, so that nobody writes into the folder while it is removed.
    pub(crate) async fn close_broker(self) {
        let Self { server, fixture, .. } = self;
        server.stop().await;
        drop(fixture);
    }

    /// Gives a ticket to the runner.
    pub(crate) async fn send(&self, ticket: &Ticket) -> Running {
        self.scheduler.put_ticket(&runner_id(), ticket).await.unwrap();
        attempt_of(ticket)
    }

    /// Waits for a report of an attempt.
    pub(crate) async fn report(&mut self, attempt: &Running, is: impl Fn(&What) -> bool) -> What {
        soon("a report", async {
            loop {
                let found = self.heard(attempt).iter().find(|report| is(&report.what));
                if let Some(report) = found {
                    return report.what.clone();
                }
                for delivery in self.reports.next_batch().await {
                    delivery.ack_up_to().await.unwrap();
                    for report in delivery.reports.as_ref().unwrap() {
                        let attempt = Running { job: report.job, attempt: report.attempt };
                        self.heard.entry(attempt).or_default().push(report.clone());
                    }
                }
            }
        })
        .await
    }

    /// Waits for the end of an attempt.
    pub(crate) async fn end(&mut self, attempt: &Running) -> What {
        self.report(attempt, is_final).await
    }

    /// What was reported of an attempt so far.
    pub(crate) fn heard(&self, attempt: &Running) -> &[Report] {
        self.heard.get(attempt).map_or(&[], Vec::as_slice)
    }

    /// Reads an attempt's log as its end describes it, and checks that it is that.
    pub(crate) async fn log(&self, attempt: &Running, end: &LogEnd) -> Vec<Chunk> {
        let mut follower = self.reader.follow_log(attempt, 0);
        let mut chunks: Vec<Chunk> = Vec::new();
        soon("the log", async {
            while (chunks.len() as u64) < end.chunks {
                chunks.extend(follower.next().await.unwrap().chunks);
            }
        })
        .await;
        let mut line = 1;
        let (mut bytes, mut hasher) = (0, Sha256::new());
        for chunk in &chunks {
            assert_eq!(chunk.first_line, line);
            line += chunk.line_feeds();
            bytes += chunk.bytes.len() as u64;
            hasher.update(&chunk.bytes);
        }
        assert_eq!(bytes, end.bytes);
        assert_eq!(hex::encode(hasher.finalize()), end.sha256.as_str());
        chunks
    }

    /// Whether the runner's folder holds nothing of an attempt, and the engine none of its containers.
    pub(crate) async fn is_clean(&self) -> bool {
        let attempts = self.fixture.dir.path().join("runner/attempts");
        self.containers(None).await == 0 && std::fs::read_dir(attempts).unwrap().count() == 0
    }

    /// Waits until nothing is left of any attempt. Each heartbeat is a reason to look again.
    pub(crate) async fn clean(&self) {
        let mut beats = self.scheduler.follow_runner_beats();
        let clean =
            async { while !(beats.next().await.unwrap().1.running.is_empty() && self.is_clean().await) {} };
        soon("the end of all attempts", clean).await;
    }

    /// Waits until the runner says so of itself.
    pub(crate) async fn beat(&self, is: impl Fn(&events::beat::RunnerBeat) -> bool) {
        let mut beats = self.scheduler.follow_runner_beats();
        soon("a heartbeat", async { while !is(&beats.next().await.unwrap().1) {} }).await;
    }
}

/// The bytes of one stream.
pub(crate) fn stream(chunks: &[Chunk], stream: Stream) -> String {
    let of = chunks.iter().filter(|chunk| chunk.stream == stream);
    String::from_utf8(of.flat_map(|chunk| chunk.bytes.clone()).collect()).unwrap()
}

impl Started {
    /// Kills the runner: its task ends where it is.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Stops the runner in good order.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        soon("the runner's end", self.task).await.unwrap().unwrap();
    }
}

impl World {
    /// Sends a signal to the broker's process. One that was killed is started again by whoever watches it.
    pub(crate) fn signal_broker(&self, signal: Signal) {
        let folder = self.fixture.dir.path().join("broker");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let pid = names
            .filter_map(|name| {
                name.to_str()?.strip_prefix("nats-server_")?.strip_suffix(".ports")?.parse().ok()
            })
            .max()
            .unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// How many containers of the runner's attempts there are, in any state or in this one.
    pub(crate) async fn containers(&self, status: Option<&str>) -> usize {
        let dir = self.fixture.dir.path().join("runner").canonicalize().unwrap();
        let mut command = tokio::process::Command::new("docker");
        command.args(["ps", "-aq", "--filter", &format!("label=patchwave.home={}", dir.display())]);
        command.args(["--filter", "label=patchwave.attempt"]);
        if let Some(status) = status {
            command.args(["--filter", &format!("status={status}")]);
        }
        let listed = command.output().await.unwrap().stdout;
        listed.iter().filter(|byte| **byte == b'\n').count()
    }
}
