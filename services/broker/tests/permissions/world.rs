//! A server with the project's `nats.conf`, two runners, something of worth in every stream, and users for the controls.
//!
//! The controls are additions: no user of `nats.conf` is changed by them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::{ConnectOptions, jetstream};
use broker::door::{Claim, Door, DoorKeys};
use broker::server::{Passwords, Rights, ServerConfig, Sync, locate, render, runner_rights};
use broker::{Broker, MachineKey, Proof, Start, Subscribe, SubscriptionName};

use crate::raw::{PATIENCE, Raw};

/// May do everything in the services' account: shows what an attempt does when nothing stands in its way.
const ANYTHING: &str = "anything";
/// May do everything in the runners' account.
const ANYTHING_THERE: &str = "anything-there";
/// Has a runner's rights to the letter, but inside the services' account: without the border.
const INSIDE: &str = "inside";

/// Has the rights of the subscribers to the letter, but inside the services' account.
const INSIDE_SUBSCRIBER: &str = "inside-subscriber";

/// The subscribers: to one comes every event of executions, to one none, and one is another's.
pub(crate) const SUBSCRIBERS: [(&str, &str); 3] =
    [("audit", "ev.execution.>"), ("idle", "ev.nothing.>"), ("other", "ev.execution.>")];

/// What the streams hold at first.
pub(crate) const STORED: [(&str, &str); 16] = [
    ("ev.execution.one.requested", "an event"),
    ("work.north.ticket", "a ticket of north"),
    ("work.south.ticket", "a ticket of south"),
    ("report.south.job.1", "a report of south"),
    ("log.north.job.1", "a line of north"),
    ("log.south.job.1", "a line of south"),
    // As the border finds it, and as a request without the border would.
    ("blob.source.1290481081.aaaa.0", "a source"),
    ("blob.source.aaaa.0", "a source"),
    ("blob.patch.bbbb.0", "a patch of south"),
    ("blob.log.cccc.0", "a sealed log"),
    ("blob.plan.dddd.0", "a plan"),
    ("blob.scope.eeee.0", "a scope"),
    ("cache.step.ffff0", "what is known of a key"),
    ("cache.result.1.ffff0.0", "what a step came to"),
    ("beat.runner.south", "a beat of south"),
    ("dead.scheduler", "a dead letter"),
];

/// The streams.
pub(crate) const STREAMS: [&str; 8] =
    ["EVENTS", "WORK", "REPORTS", "LOGS", "BLOBS", "CACHE", "BEATS", "DEAD"];

pub(crate) struct World {
    url: String,
    passwords: Passwords,
    _process: Process,
    /// Sees everything, for the questions that a test asks.
    pub(crate) eye: jetstream::Context,
    scheduler: Broker,
    provisioner: Broker,
    operator: Broker,
    folder: tempfile::TempDir,
}

/// A message that is stored, or a queue that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) stream: &'static str,
    pub(crate) subject: String,
    pub(crate) payload: Vec<u8>,
}

/// A process that ends with its test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runners = vec!["north".parse().unwrap(), "south".parse().unwrap()];
        let passwords = Passwords::load_or_create(folder.path(), &runners).unwrap();
        let config =
            ServerConfig { folder: folder.path().to_owned(), port: None, runners, sync: Sync::EverySecond };
        let file = folder.path().join("nats.conf");
        std::fs::write(&file, with_controls(&render(&config))).unwrap();
        let process = start(&file, &passwords);
        let url = listening(folder.path(), &process);
        let eye = Raw::connect(&url, (ANYTHING, ANYTHING), "_INBOX_eye").await;
        let service = async |user: &str| connect(&url, &passwords, user).await;
        let (scheduler, provisioner) = (service("scheduler").await, service("provisioner").await);
        let eye = jetstream::new(eye.client);
        let operator = service("operator").await;
        let world = Self { url, passwords, _process: process, eye, scheduler, provisioner, operator, folder };
        world.fill().await;
        world
    }

    /// Makes whatever a control destroyed, and stores everything anew.
    pub(crate) async fn fill(&self) {
        self.provisioner.provision(&broker::CacheLimits::default()).await.unwrap();
        for stream in STREAMS {
            if stream != "EVENTS" {
                self.eye.get_stream_no_info(stream).await.unwrap().purge().await.unwrap();
            }
        }
        for runner in ["north", "south"] {
            self.scheduler.open_queues(&runner.parse().unwrap()).await.unwrap();
        }
        for (subject, payload) in STORED {
            self.eye.publish(subject, payload.into()).await.unwrap().await.unwrap();
        }
    }

    /// Makes a subscription and lets its subscriber in, as a hostile client.
    pub(crate) async fn subscriber(&self, name: &str, filter: &str) -> Raw {
        let name: SubscriptionName = name.parse().unwrap();
        let subscribe = Subscribe {
            name: name.clone(),
            filters: vec![filter.to_owned()],
            start: Some(Start::After(0)),
            ack_wait: Duration::from_secs(30),
            in_flight: 1_000,
        };
        let credentials = self.operator.subscribe(&subscribe).await.unwrap();
        let registrar = config(&self.url, &self.passwords, "registrar");
        let keys = DoorKeys::load_or_create(self.folder.path()).unwrap();
        let mut door = Door::open(&registrar, keys).await.unwrap();
        let admit = async {
            let knock = door.next().await.unwrap();
            assert_eq!(knock.claim, Claim::Subscriber(name.clone(), credentials.password.clone()));
            door.admit_subscriber(&knock, &name).await.unwrap();
        };
        let user = (credentials.user.as_str(), credentials.password.as_str());
        tokio::join!(Raw::connect(&self.url, user, &credentials.inbox_prefix), admit).0
    }

    /// Every subscriber, with what it follows.
    pub(crate) async fn subscribers(&self) -> [Raw; 3] {
        let [audit, idle, other] = SUBSCRIBERS;
        [
            self.subscriber(audit.0, audit.1).await,
            self.subscriber(idle.0, idle.1).await,
            self.subscriber(other.0, other.1).await,
        ]
    }

    /// The runner north as a hostile client, twice: as `nats.conf` has it, and with a key that was enrolled.
    pub(crate) async fn norths(&self) -> [Raw; 2] {
        [self.north().await, self.enrolled_north().await]
    }

    async fn enrolled_north(&self) -> Raw {
        let folder = self.folder.path();
        let key = MachineKey::load_or_create(&folder.join("north")).unwrap();
        let registrar = config(&self.url, &self.passwords, "registrar");
        let mut door = Door::open(&registrar, DoorKeys::load_or_create(folder).unwrap()).await.unwrap();
        let admit = async {
            let knock = door.next().await.unwrap();
            assert_eq!(knock.claim, Claim::Key(key.public_key.clone()));
            door.admit(&knock, &"north".parse().unwrap()).await.unwrap();
        };
        let Proof::Key(seed) = key.proof() else { panic!("a machine proves itself by its key") };
        let connect = Raw::connect_with(&self.url, ConnectOptions::with_nkey(seed), "_INBOX_runner_north");
        tokio::join!(connect, admit).0
    }

    /// The runner north, as `nats.conf` has it, as a hostile client.
    pub(crate) async fn north(&self) -> Raw {
        self.user("runner-north", "_INBOX_runner_north").await
    }

    /// A user of `nats.conf`, as a hostile client.
    pub(crate) async fn user(&self, user: &str, inbox: &str) -> Raw {
        Raw::connect(&self.url, (user, self.passwords.get(user).unwrap()), inbox).await
    }

    /// A service, as itself.
    pub(crate) async fn service(&self, user: &str) -> Broker {
        connect(&self.url, &self.passwords, user).await
    }

    /// A runner, as itself.
    pub(crate) async fn runner(&self, name: &str) -> Broker {
        connect(&self.url, &self.passwords, &format!("runner-{name}")).await
    }

    /// The control with every right among the services.
    pub(crate) async fn anything(&self) -> Raw {
        Raw::connect(&self.url, (ANYTHING, ANYTHING), "_INBOX_anything").await
    }

    /// The control with every right among the runners.
    pub(crate) async fn anything_there(&self) -> Raw {
        Raw::connect(&self.url, (ANYTHING_THERE, ANYTHING_THERE), "_INBOX_anything").await
    }

    /// The control with north's rights and no border.
    pub(crate) async fn inside(&self) -> Raw {
        Raw::connect(&self.url, (INSIDE, INSIDE), "_INBOX_runner_north").await
    }

    /// The control with the subscribers' rights and no border.
    pub(crate) async fn inside_subscriber(&self) -> Raw {
        Raw::connect(&self.url, (INSIDE_SUBSCRIBER, INSIDE_SUBSCRIBER), "_INBOX_subscriber_audit").await
    }

    /// The ids by which the broker knows the messages of a stream again.
    pub(crate) async fn message_ids(&self, stream: &str) -> Vec<String> {
        let stream = self.eye.get_stream(stream).await.unwrap();
        let mut ids = Vec::new();
        for sequence in stream.cached_info().state.first_sequence..=stream.cached_info().state.last_sequence {
            let message = stream.direct_get(sequence).await.unwrap();
            ids.extend(message.headers.get("Nats-Msg-Id").map(ToString::to_string));
        }
        ids
    }

    /// Everything that is stored, and the queues: what an attack may have changed.
    pub(crate) async fn contents(&self) -> Vec<Stored> {
        let mut contents = Vec::new();
        for name in STREAMS {
            let Ok(stream) = self.eye.get_stream(name).await else { continue };
            let state = &stream.cached_info().state;
            for sequence in state.first_sequence..=state.last_sequence {
                if let Ok(message) = stream.direct_get(sequence).await {
                    contents.push(Stored {
                        stream: name,
                        subject: message.subject.to_string(),
                        payload: message.payload.to_vec(),
                    });
                }
            }
            let mut consumers = stream.consumer_names();
            while let Some(Ok(consumer)) = futures::StreamExt::next(&mut consumers).await {
                // Followers have consumers of their own, which come and go.
                if name == "WORK" || consumer.starts_with("sub-") {
                    let subject = format!("consumer {consumer}");
                    contents.push(Stored { stream: name, subject, payload: Vec::new() });
                }
            }
        }
        let mut names = self.eye.stream_names();
        while let Some(Ok(name)) = futures::StreamExt::next(&mut names).await {
            if !STREAMS.contains(&name.as_str()) {
                contents.push(Stored { stream: "another", subject: name, payload: Vec::new() });
            }
        }
        contents
    }
}

async fn connect(url: &str, passwords: &Passwords, user: &str) -> Broker {
    Broker::connect(&config(url, passwords, user)).await.unwrap()
}

fn config(url: &str, passwords: &Passwords, user: &str) -> broker::Config {
    broker::Config {
        url: url.to_owned(),
        user: user.to_owned(),
        proof: Proof::Password(passwords.get(user).unwrap().to_owned()),
        role: user.to_owned(),
        runner: user.strip_prefix("runner-").map(|name| name.parse().unwrap()),
        connect_timeout: PATIENCE,
    }
}

/// The project's configuration, and the users for the controls beside its own.
fn with_controls(conf: &str) -> String {
    let Rights { publish, subscribe } = runner_rights(&"north".parse().unwrap());
    let publish = format!("{publish:?}").replace("WORKJS.", "$JS.API.");
    let subscribers = SUBSCRIBERS.map(|(name, _)| name.parse::<SubscriptionName>().unwrap().rights());
    let follow: Vec<String> = subscribers[..2].iter().flat_map(|rights| rights.publish.clone()).collect();
    let follow = format!("{follow:?}").replace("EVENTSJS.", "$JS.API.");
    let inbox = &subscribers[0].subscribe;
    let services = format!(
        "users: [
         {{ user: {ANYTHING}, password: {ANYTHING} }}
         {{ user: {INSIDE}, password: {INSIDE}, permissions {{ publish: {publish}, subscribe: {subscribe:?} }} }}
         {{ user: {INSIDE_SUBSCRIBER}, password: {INSIDE_SUBSCRIBER}, permissions {{ publish: {follow}, subscribe: {inbox:?} }} }}"
    );
    let runners = format!("users: [\n{{ user: {ANYTHING_THERE}, password: {ANYTHING_THERE} }}");
    let (services_part, runners_part) = conf.split_once("\n  RUNNERS {").unwrap();
    let services_part = services_part.replacen("users: [", &services, 1);
    let runners_part = runners_part.replacen("users: [", &runners, 1);
    let known = format!(
        "auth_users: [\n\"{ANYTHING}\", \"{ANYTHING_THERE}\", \"{INSIDE}\", \"{INSIDE_SUBSCRIBER}\","
    );
    format!("{services_part}\n  RUNNERS {{{runners_part}").replacen("auth_users: [", &known, 1)
}

fn start(file: &Path, passwords: &Passwords) -> Process {
    let folder = file.parent().unwrap();
    let mut command = Command::new(locate(None).unwrap());
    command.arg("--config").arg(file).arg("--ports_file_dir").arg(folder);
    command.arg("--log").arg(folder.join("log"));
    let keys = DoorKeys::load_or_create(folder).unwrap();
    command.envs(passwords.variables()).envs(keys.variables());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process(command.spawn().unwrap())
}

fn listening(folder: &Path, process: &Process) -> String {
    let ports: PathBuf = folder.join(format!("nats-server_{}.ports", process.0.id()));
    let start = Instant::now();
    loop {
        let text = std::fs::read(&ports).unwrap_or_default();
        if let Ok(serde_json::Value::Object(ports)) = serde_json::from_slice(&text) {
            return ports["nats"][0].as_str().unwrap().to_owned();
        }
        let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(start.elapsed() < PATIENCE, "nats-server does not listen:\n{log}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
