//! A broker, a catalog, and what a user would ask of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use broker::server::{Server, ServerConfig, Sync, locate};
use broker::{Broker, DeadLetter, Start};
use chrono::Utc;
use events::action::{Definition, Given};
use events::document::{Scope, SkipReason};
use events::envelope::{Actor, NewEvent, Origin, Recorded};
use events::execution::{self, Reason, Requested, Resolved};
use events::id::{ActionId, CommandId, ExecutionId};
use events::subject;
use events::{Aggregate, Event};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Longer than anything here takes on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    server: Server,
    /// Who asks and reads.
    pub(crate) gateway: Broker,
    catalog: Option<(CancellationToken, JoinHandle<anyhow::Result<()>>)>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("broker");
        let config = ServerConfig { folder, port: None, runners: Vec::new(), sync: Sync::EverySecond };
        let server = Server::start(nats_server(), config).await.unwrap();
        connect(&server, "provisioner").await.provision(&broker::CacheLimits::default()).await.unwrap();
        let gateway = connect(&server, "gateway").await;
        let mut world = Self { dir, server, gateway, catalog: None };
        world.start().await;
        world
    }

    pub(crate) fn catalog_dir(&self) -> PathBuf {
        self.dir.path().join("catalog")
    }

    pub(crate) async fn start(&mut self) {
        let stop = CancellationToken::new();
        let broker = connect(&self.server, "catalog").await;
        let config = catalog::Config { dir: self.catalog_dir() };
        let task = tokio::spawn(catalog::run(config, broker, stop.clone()));
        self.catalog = Some((stop, task));
    }

    /// Ends the catalog in the middle of whatever it does.
    pub(crate) async fn kill(&mut self) {
        let (_, task) = self.catalog.take().unwrap();
        task.abort();
        assert!(task.await.is_err_and(|error| error.is_cancelled()), "the catalog ended by itself");
    }

    /// Ends the catalog in an orderly way.
    pub(crate) async fn stop(&mut self) {
        let (stop, task) = self.catalog.take().unwrap();
        stop.cancel();
        tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    }

    pub(crate) async fn end(self) {
        self.end_with_letters(0).await;
    }

    /// Ends when this many messages are expected to be set aside.
    pub(crate) async fn end_with_letters(mut self, letters: usize) {
        if self.catalog.is_some() {
            self.stop().await;
        }
        assert_eq!(self.operator().await.dead_letters().await.unwrap().len(), letters);
        self.server.stop().await;
    }

    pub(crate) async fn operator(&self) -> Broker {
        connect(&self.server, "operator").await
    }

    /// Waits for a message that is set aside, and was not before.
    pub(crate) async fn letter_after(&self, known: u64) -> DeadLetter {
        let operator = self.operator().await;
        let wait = async {
            loop {
                let letters = operator.dead_letters().await.unwrap();
                if let Some(letter) = letters.into_iter().find(|letter| letter.id > known) {
                    return letter;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("nothing is set aside")
    }

    /// Puts bytes into the log that are no event.
    pub(crate) async fn append_nonsense(&self) {
        let address = self.server.url().strip_prefix("nats://").unwrap().to_owned();
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let connect = serde_json::json!({
            "verbose": true, "pedantic": false,
            "user": "gateway", "pass": self.server.passwords().get("gateway").unwrap(),
        });
        let subject = format!("ev.execution.{}.requested", ExecutionId::from_uuid(Uuid::now_v7()).token());
        let request = format!("CONNECT {connect}\r\nPUB {subject} 8\r\nnonsense\r\nPING\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = String::new();
        while line != "PONG\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            assert!(!line.is_empty() && !line.starts_with("-ERR"), "{line}");
        }
    }

    /// Asks for an execution over these repositories.
    pub(crate) async fn request(&self, repositories: &[impl AsRef<str>]) -> ExecutionId {
        self.request_as("name: tidy\n", repositories).await
    }

    /// Asks for an execution of this definition.
    pub(crate) async fn request_as(&self, source: &str, repositories: &[impl AsRef<str>]) -> ExecutionId {
        let id = ExecutionId::from_uuid(Uuid::now_v7());
        let requested = Requested {
            action: ActionId::named("tidy"),
            action_name: "tidy".to_owned(),
            revision: 1,
            definition: Definition {
                file_name: "tidy.batch.yaml".to_owned(),
                source: source.to_owned(),
                given: Given::default(),
                files: None,
            },
            repositories: repositories.iter().map(|text| text.as_ref().to_owned()).collect(),
            reason: Reason::Manual,
            no_cache: false,
            pool: None,
        };
        let event = NewEvent {
            aggregate: Aggregate::Execution(id),
            event: Event::Execution(requested.into()),
            time: Utc::now(),
            origin: Origin {
                command: CommandId::from_uuid(Uuid::now_v7()),
                actor: Actor::user("anna"),
                correlation: id.to_string(),
                causation: None,
                trace_parent: None,
            },
        };
        self.gateway.append(&event, 0).await.unwrap();
        id
    }

    /// Waits until an execution is resolved.
    pub(crate) async fn resolved(&self, id: ExecutionId) -> (Resolved, Scope) {
        let mut events = self.gateway.follow_events(&[subject::execution_story(id)], Start::After(0));
        let wait = async {
            loop {
                for message in events.next().await.unwrap().messages {
                    if let Event::Execution(execution::Event::Resolved(resolved)) =
                        message.event().unwrap().event
                    {
                        return resolved;
                    }
                }
            }
        };
        let resolved = tokio::time::timeout(PATIENCE, wait).await.expect("the execution is not resolved");
        let scope: Scope = self.gateway.get_document(&resolved.scope).await.unwrap();
        assert_eq!(resolved.workspaces as usize, scope.workspaces.len());
        assert_eq!((resolved.skipped + resolved.unreachable) as usize, scope.skipped.len());
        (resolved, scope)
    }

    pub(crate) async fn run(&self, repositories: &[impl AsRef<str>]) -> Scope {
        let id = self.request(repositories).await;
        self.resolved(id).await.1
    }

    /// The one repository's reason not to be in the execution.
    pub(crate) async fn skip(&self, repository: &str) -> (SkipReason, String) {
        let scope = self.run(&[repository]).await;
        assert_eq!(scope.workspaces, []);
        let [skipped] = scope.skipped.as_slice() else { panic!("{:?}", scope.skipped) };
        (skipped.reason, skipped.message.clone())
    }

    /// The whole log of a kind.
    pub(crate) async fn events(&self, filter: &str) -> Vec<Recorded> {
        let mut events = self.gateway.follow_events(&[filter.to_owned()], Start::After(0));
        let mut all = Vec::new();
        while !events.caught_up() {
            let batch = events.next().await.unwrap();
            all.extend(batch.messages.iter().map(|message| message.event().unwrap()));
        }
        all
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The one that operators would use, or else the one that set-up keeps at the root.
fn nats_server() -> PathBuf {
    let cached = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/nats-server");
    locate(None).or_else(|_| locate(Some(&cached))).unwrap()
}

async fn connect(server: &Server, user: &str) -> Broker {
    let config = server.client(user, PATIENCE).unwrap();
    Broker::connect(&config).await.unwrap()
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
