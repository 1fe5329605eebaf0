//! One broker, the scheduler, and runners that a test speaks for.

use std::time::Duration;

use broker::server::{Server, ServerConfig, Sync, locate};
use broker::{Broker, Follower, Queue, Start};
use events::action::{Definition, Given};
use events::beat::{RunnerBeat, Running, Stage};
use events::blob::BlobKind;
use events::document::Scope;
use events::enrollment::{self, Enrolled, TokenIssued};
use events::envelope::{Actor, NewEvent, Origin, Recorded};
use events::execution::{Reason, Requested, Resolved};
use events::id::{ActionId, CommandId, ExecutionId, RunnerId};
use events::image::ImagePin;
use events::job::{self, DiffStat};
use events::log::LogEnd;
use events::report::{Report, What};
use events::step_cache::StepResult;
use events::ticket::{Control, Ticket, Workspace};
use events::{Aggregate, Event, runner};
use scheduler::{Config, JobLimits};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

/// Nothing here takes longer unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    server: Server,
    gateway: Broker,
    catalog: Broker,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    story: Follower,
    pub(crate) events: Vec<Recorded>,
    _folder: tempfile::TempDir,
}

/// A runner that does what a test says.
pub(crate) struct Fake {
    broker: Broker,
    id: RunnerId,
    pub(crate) incarnation: Uuid,
    beat: watch::Sender<RunnerBeat>,
    tickets: Queue<Ticket>,
    controls: Queue<Control>,
    _heart: AbortOnDropHandle<()>,
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} does not happen"))
}

async fn connect(server: &Server, user: &str) -> Broker {
    Broker::connect(&server.client(user, Duration::from_secs(20)).unwrap()).await.unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ServerConfig {
            folder: folder.path().join("broker"),
            port: None,
            runners: ["one", "two"].map(|name| name.parse().unwrap()).into(),
            sync: Sync::EverySecond,
        };
        let server = Server::start(locate(None).unwrap(), config).await.unwrap();
        connect(&server, "provisioner").await.provision(&broker::CacheLimits::default()).await.unwrap();
        let gateway = connect(&server, "gateway").await;
        let stop = CancellationToken::new();
        let config = Config {
            snapshot_dir: folder.path().join("snapshot"),
            secrets_key: folder.path().join("secrets.key"),
            default_timeout: Duration::from_secs(60),
            max_timeout: Duration::from_secs(600),
            default_queue_timeout: Duration::from_secs(600),
            job_limits: JobLimits::default(),
        };
        let task = tokio::spawn(scheduler::run(config, connect(&server, "scheduler").await, stop.clone()));
        let story = gateway.follow_events(&["ev.>".to_owned()], Start::After(0));
        let catalog = connect(&server, "catalog").await;
        Self { server, gateway, catalog, stop, task, story, events: Vec::new(), _folder: folder }
    }

    /// A runner that lives.
    pub(crate) async fn runner(&self, name: &str, slots: u32) -> Fake {
        self.runner_with(name, slots, &[]).await
    }

    /// A runner that lives and has these labels.
    pub(crate) async fn runner_with(&self, name: &str, slots: u32, labels: &[(&str, &str)]) -> Fake {
        let broker = connect(&self.server, &format!("runner-{name}")).await;
        let id: RunnerId = name.parse().unwrap();
        let incarnation = Uuid::now_v7();
        let (beat, mut beats) = watch::channel(RunnerBeat {
            incarnation,
            slots,
            running: Vec::new(),
            pool: runner::DEFAULT_POOL.to_owned(),
            stage: Stage::Working,
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            version: "0".to_owned(),
            trouble: None,
            sealing_key: None,
        });
        let (sender, name) = (broker.clone(), id.clone());
        let heart = tokio::spawn(async move {
            loop {
                let beat = beats.borrow_and_update().clone();
                sender.beat_runner(&name, &beat).await.unwrap();
                let _ = tokio::time::timeout(Duration::from_secs(1), beats.changed()).await;
            }
        });
        let (tickets, controls) = (broker.tickets(&id), broker.controls(&id));
        let _heart = AbortOnDropHandle::new(heart);
        Fake { broker, id, incarnation, beat, tickets, controls, _heart }
    }

    async fn append(
        broker: &Broker,
        execution: ExecutionId,
        expected: u64,
        (by, event): (Actor, Event),
    ) -> u64 {
        let origin = Origin {
            command: CommandId::from_uuid(Uuid::now_v7()),
            actor: by,
            correlation: execution.to_string(),
            causation: None,
            trace_parent: None,
        };
        let aggregate = Aggregate::Execution(execution);
        let event = NewEvent { aggregate, event, time: chrono::Utc::now(), origin };
        broker.append(&event, expected).await.unwrap().sequence
    }

    /// An execution of a user, with so many jobs and these lines below `patchwave`.
    pub(crate) async fn request(&self, user: &str, jobs: usize, settings: &str) -> ExecutionId {
        let id = ExecutionId::from_uuid(Uuid::now_v7());
        let source = format!(
            "name: a\nsteps:\n  - run: x\n    container: y\nchangesetTemplate:\n  title: t\n  branch: b\n  commit:\n    \
             message: m\n{settings}"
        );
        let definition =
            Definition { file_name: "a.batch.yaml".to_owned(), source, given: Given::default(), files: None };
        let requested = Requested {
            action: ActionId::named("a"),
            action_name: "a".to_owned(),
            revision: 1,
            definition,
            repositories: Vec::new(),
            reason: Reason::Manual,
            no_cache: false,
            pool: None,
        };
        let event = Event::Execution(requested.into());
        let sequence = Self::append(&self.gateway, id, 0, (Actor::user(user), event)).await;
        let workspaces = (0..jobs).map(workspace).collect();
        let scope = Scope { workspaces, skipped: Vec::new() };
        let scope = self.catalog.put_document(BlobKind::Scope, &scope).await.unwrap();
        let workspaces = u32::try_from(jobs).unwrap();
        let resolved = Resolved { scope, workspaces, skipped: 0, unreachable: 0 };
        let event = Event::Execution(resolved.into());
        Self::append(&self.catalog, id, sequence, (Actor::service("catalog"), event)).await;
        id
    }

    /// Lets a machine enroll as a runner with a token that says this of it.
    pub(crate) async fn enroll(&self, runner: &str, pool: &str, labels: &[(&str, &str)]) {
        let digest = |letter: &str| serde_json::from_value(serde_json::json!(letter.repeat(64))).unwrap();
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let issued = TokenIssued {
            token_sha256: digest("d"),
            expires_at: chrono::Utc::now() + chrono::Duration::hours(1),
            pool: Some(pool.to_owned()),
            labels: Some(labels),
        };
        let enrolled = Enrolled { token_sha256: digest("d"), public_key: "U".to_owned() };
        let registrar = connect(&self.server, "registrar").await;
        let mut sequence = 0;
        for (broker, event) in [
            (&self.gateway, enrollment::Event::from(issued)),
            (&registrar, enrollment::Event::from(enrolled)),
        ] {
            let origin = Origin {
                command: CommandId::from_uuid(Uuid::now_v7()),
                actor: Actor::user("anna"),
                correlation: runner.to_owned(),
                causation: None,
                trace_parent: None,
            };
            let aggregate = Aggregate::Enrollment(runner.parse().unwrap());
            let event =
                NewEvent { aggregate, event: Event::Enrollment(event), time: chrono::Utc::now(), origin };
            sequence = broker.append(&event, sequence).await.unwrap().sequence;
        }
    }

    /// Asks a runner to leave, as the gateway does.
    pub(crate) async fn ask_to_drain(&self, runner: &Fake) {
        let origin = Origin {
            command: CommandId::from_uuid(Uuid::now_v7()),
            actor: Actor::user("anna"),
            correlation: runner.id.to_string(),
            causation: None,
            trace_parent: None,
        };
        let aggregate = Aggregate::Runner(runner.id.clone());
        let decided = self.gateway.decide(&aggregate, &origin, chrono::Utc::now(), |history| {
            let state = history.iter().fold(runner::Runner::default(), |state, one| match &one.event {
                Event::Runner(event) => runner::evolve(state, event),
                _ => state,
            });
            Ok(runner::decide(&state, runner::Command::Drain)?.map(Event::Runner))
        });
        decided.await.unwrap();
    }

    /// Reads the log until so many events of a type have come; returns the last of them.
    pub(crate) async fn until(&mut self, count: usize, name: &str) -> Recorded {
        let is = |one: &Recorded| format!("{}.{}", one.aggregate.kind().name(), one.event.name()) == name;
        soon(name, async {
            while self.events.iter().filter(|one| is(one)).count() < count {
                for message in self.story.next().await.unwrap().messages {
                    self.events.push(message.event().unwrap());
                }
            }
        })
        .await;
        self.events.iter().rfind(|one| is(one)).unwrap().clone()
    }

    /// The executions of the jobs that were given out, in order.
    pub(crate) fn assigned(&self) -> Vec<ExecutionId> {
        let execution = |one: &Recorded| match (&one.aggregate, &one.event) {
            (Aggregate::Job(execution, _), Event::Job(job::Event::Assigned(_))) => Some(*execution),
            _ => None,
        };
        self.events.iter().filter_map(execution).collect()
    }

    pub(crate) async fn end(self) {
        self.stop.cancel();
        soon("the scheduler's end", self.task).await.unwrap().unwrap();
        self.server.stop().await;
    }
}

fn workspace(number: usize) -> Workspace {
    let source = serde_json::json!({ "kind": "source", "sha256": "b".repeat(64), "size": 1 });
    Workspace {
        repository: format!("r{number}"),
        url: "/r".to_owned(),
        base_ref: "refs/heads/main".parse().unwrap(),
        base_oid: "a".repeat(40).parse().unwrap(),
        path: String::new(),
        source: serde_json::from_value(source).unwrap(),
    }
}

impl Fake {
    /// Takes the next ticket, begins, and says what its image is.
    pub(crate) async fn begin(&mut self) -> Ticket {
        let ticket = self.ticket().await;
        self.report(&ticket, 1, What::Started).await;
        let digest = format!("y@sha256:{}", "d".repeat(64));
        let images = vec![ImagePin { reference: "y".to_owned(), digest }];
        self.report(&ticket, 2, What::Images { images }).await;
        let running = Running { job: ticket.job, attempt: ticket.attempt };
        self.beat.send_modify(|beat| beat.running.push(running));
        ticket
    }

    /// Takes the next ticket.
    pub(crate) async fn ticket(&mut self) -> Ticket {
        let delivery = soon("a ticket", self.tickets.next()).await;
        delivery.ack().await.unwrap();
        delivery.value.unwrap()
    }

    /// Ends an attempt that began.
    pub(crate) async fn succeed(&self, ticket: &Ticket) {
        self.succeed_with(ticket, Vec::new()).await;
    }

    /// The same, with what its steps came to.
    pub(crate) async fn succeed_with(&self, ticket: &Ticket, results: Vec<StepResult>) {
        let sha256 = serde_json::from_value(serde_json::json!("c".repeat(64))).unwrap();
        let log = LogEnd { chunks: 0, bytes: 0, lines: 0, sha256 };
        self.report(
            ticket,
            3,
            What::Succeeded {
                patch: None,
                diff_stat: DiffStat::default(),
                outputs: Default::default(),
                results,
                log,
            },
        )
        .await;
        self.beat.send_modify(|beat| beat.running.retain(|one| one.job != ticket.job));
    }

    pub(crate) async fn report(&self, ticket: &Ticket, number: u32, what: What) {
        let (execution, job, attempt) = (ticket.execution, ticket.job, ticket.attempt);
        let report = Report { execution, job, attempt, number, time: chrono::Utc::now(), what };
        self.broker.report(&self.id, &[report]).await.unwrap();
    }

    pub(crate) async fn control(&mut self) -> Control {
        let delivery = soon("a control message", self.controls.next()).await;
        delivery.ack().await.unwrap();
        delivery.value.unwrap()
    }

    pub(crate) async fn tickets_left(&self) -> u64 {
        self.broker.tickets_left(&self.id).await
    }

    /// Says from now on that it is so.
    pub(crate) fn say(&self, stage: Stage, slots: u32) {
        self.beat.send_modify(|beat| {
            beat.stage = stage;
            beat.slots = slots;
        });
    }
}
