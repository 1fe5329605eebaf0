//! Enrolling on a real broker: one token, one machine, whatever dies on the way.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use broker::door::DoorKeys;
use broker::server::{Server, ServerConfig, Sync, locate};
use broker::{Broker, Config, ConnectError, MachineKey, enroll};
use chrono::{SubsecRound as _, Utc};
use events::blob::Sha256;
use events::enrollment::{self, Answer, Command, Enrolled, Enrollment, Request, TokenIssued};
use events::envelope::{Actor, Origin};
use events::id::{CommandId, RunnerId};
use events::rejection::Code;
use events::{Aggregate, Event};
use futures::future::join_all;
use sha2::Digest as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

struct World {
    server: Server,
    gateway: Broker,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let config = ServerConfig { folder: path, port: None, runners: Vec::new(), sync: Sync::EverySecond };
        let server = Server::start(locate(None).unwrap(), config).await.unwrap();
        let provisioner = server.client("provisioner", PATIENCE).unwrap();
        Broker::connect(&provisioner)
            .await
            .unwrap()
            .provision(&broker::CacheLimits::default())
            .await
            .unwrap();
        let gateway = Broker::connect(&server.client("gateway", PATIENCE).unwrap()).await.unwrap();
        Self { server, gateway, folder }
    }

    /// Starts a registrar; aborting it is its sudden death.
    async fn registrar(&self) -> JoinHandle<anyhow::Result<()>> {
        let connection = self.server.client("registrar", PATIENCE).unwrap();
        let keys = DoorKeys::load_or_create(self.folder.path()).unwrap();
        let broker = Broker::connect(&connection).await.unwrap();
        let config = registrar::Config { connection, keys };
        tokio::spawn(registrar::run(config, broker, CancellationToken::new()))
    }

    /// The key of a machine that is north, and the token that made it so.
    async fn enrolled(&self) -> (String, MachineKey) {
        let key = self.key("machine");
        let token = self.token(&north(), "secret", 3_600).await;
        assert_eq!(code(&self.redeem(&token, &key).await), None);
        (token, key)
    }

    async fn decide(&self, runner: &RunnerId, command: Command) {
        decide(&self.gateway, runner, command).await;
    }
}

async fn decide(broker: &Broker, runner: &RunnerId, command: Command) {
    let aggregate = Aggregate::Enrollment(runner.clone());
    let origin = Origin {
        command: CommandId::derived(&[&format!("{command:?}")]),
        actor: Actor::user("test"),
        correlation: runner.to_string(),
        causation: None,
        trace_parent: None,
    };
    let now = Utc::now().trunc_subsecs(6);
    let decided = broker.decide(&aggregate, &origin, now, |history| {
        let state = history.iter().fold(Enrollment::default(), |state, recorded| match &recorded.event {
            Event::Enrollment(event) => enrollment::evolve(state, event),
            _ => state,
        });
        Ok(enrollment::decide(&state, command.clone(), now)?.map(Event::Enrollment))
    });
    decided.await.unwrap();
}

impl World {
    async fn token(&self, runner: &RunnerId, secret: &str, seconds: i64) -> String {
        let token = format!("{runner}.{secret}");
        let token_sha256 = Sha256::from_bytes(&sha2::Sha256::digest(&token).into());
        let expires_at = Utc::now().trunc_subsecs(6) + chrono::Duration::seconds(seconds);
        self.decide(
            runner,
            Command::IssueToken(TokenIssued { token_sha256, expires_at, pool: None, labels: None }),
        )
        .await;
        token
    }

    fn key(&self, name: &str) -> MachineKey {
        MachineKey::load_or_create(&Path::new(self.folder.path()).join("machines").join(name)).unwrap()
    }

    async fn redeem(&self, token: &str, key: &MachineKey) -> Answer {
        let request = Request { token: token.to_owned(), public_key: key.public_key.clone() };
        enroll(self.server.url(), &request, PATIENCE).await.unwrap()
    }

    async fn connect(
        &self,
        runner: &RunnerId,
        key: &MachineKey,
        wait: Duration,
    ) -> Result<Broker, ConnectError> {
        let config = Config {
            url: self.server.url().to_owned(),
            user: format!("runner-{runner}"),
            proof: key.proof(),
            role: "runner".to_owned(),
            runner: Some(runner.clone()),
            connect_timeout: wait,
        };
        Broker::connect(&config).await
    }
}

fn north() -> RunnerId {
    "north".parse().unwrap()
}

fn code(answer: &Answer) -> Option<Code> {
    match answer {
        Answer::Enrolled => None,
        Answer::Rejected(rejection) => Some(rejection.code),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_machines_with_one_token_one_is_enrolled_though_the_registrar_dies() {
    let world = World::new().await;
    let token = world.token(&north(), "secret", 3_600).await;
    let keys: Vec<MachineKey> = (0..10).map(|n| world.key(&format!("machine-{n}"))).collect();
    // The machines ask while nobody answers, then one answers and dies in the middle, then another.
    let race = join_all(keys.iter().map(|key| world.redeem(&token, key)));
    let registrars = async {
        let first = world.registrar().await;
        let aggregate = Aggregate::Enrollment(north());
        while world.gateway.history(&aggregate).await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
        first.abort();
        (world.registrar().await,)
    };
    let (answers, _registrar) = tokio::join!(race, registrars);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for answer in &answers {
        *counts.entry(format!("{:?}", code(answer))).or_default() += 1;
    }
    let expected = [("None".to_owned(), 1), ("Some(TokenUsed)".to_owned(), 9)];
    assert_eq!(counts, BTreeMap::from(expected));
    for (key, answer) in keys.iter().zip(&answers) {
        let wait = if code(answer).is_none() { PATIENCE } else { Duration::from_millis(1) };
        let connected = world.connect(&north(), key, wait).await;
        assert_eq!(connected.is_ok(), code(answer).is_none(), "{connected:?}");
    }
    // Whoever did not hear the answer may ask again.
    let winner = answers.iter().position(|answer| code(answer).is_none()).unwrap();
    assert_eq!(code(&world.redeem(&token, &keys[winner]).await), None);
    world.server.stop().await;
}

/// No process can be killed at this very moment by its clock, so the moment is made: this is what the log holds then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registrar_that_dies_between_its_append_and_its_answer_leaves_an_enrolled_machine() {
    let world = World::new().await;
    let (key, other) = (world.key("machine"), world.key("other"));
    let token = world.token(&north(), "secret", 3_600).await;
    let token_sha256 = Sha256::from_bytes(&sha2::Sha256::digest(&token).into());
    let dead = Broker::connect(&world.server.client("registrar", PATIENCE).unwrap()).await.unwrap();
    let enrolled = Enrolled { token_sha256, public_key: key.public_key.clone() };
    decide(&dead, &north(), Command::Enroll(enrolled)).await;
    drop(dead);
    // The machine heard nothing and asks again, as long as it has to.
    let (answer, _registrar) = tokio::join!(world.redeem(&token, &key), world.registrar());
    assert_eq!(code(&answer), None);
    assert_eq!(code(&world.redeem(&token, &other).await), Some(Code::TokenUsed));
    world.connect(&north(), &key, PATIENCE).await.unwrap();
    let history = world.gateway.history(&Aggregate::Enrollment(north())).await.unwrap();
    assert_eq!(history.len(), 2, "it is enrolled once");
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_none_says_why() {
    let world = World::new().await;
    let _registrar = world.registrar().await;
    let key = world.key("machine");
    let expired = world.token(&north(), "late", 0).await;
    assert_eq!(code(&world.redeem(&expired, &key).await), Some(Code::TokenExpired));
    assert_eq!(code(&world.redeem("north.guess", &key).await), Some(Code::TokenUnknown));
    assert_eq!(code(&world.redeem("nonsense", &key).await), Some(Code::TokenUnknown));
    let replaced = world.token(&north(), "first", 3_600).await;
    let token = world.token(&north(), "second", 3_600).await;
    assert_eq!(code(&world.redeem(&replaced, &key).await), Some(Code::TokenUnknown));
    let forged = Request { token: token.clone(), public_key: "UNONSENSE".to_owned() };
    let answer = enroll(world.server.url(), &forged, PATIENCE).await.unwrap();
    assert_eq!(code(&answer), Some(Code::TokenUnknown));
    assert_eq!(code(&world.redeem(&token, &key).await), None);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_runner_is_cut_within_a_second_and_stays_out_over_restarts() {
    let world = World::new().await;
    let registrar = world.registrar().await;
    let (token, key) = world.enrolled().await;
    let runner = world.connect(&north(), &key, PATIENCE).await.unwrap();
    let mut connection = runner.connection();

    // A connection outlives the registrar, and a new one does not need the old.
    registrar.abort();
    assert!(connection.borrow_and_update().up);
    let registrar = world.registrar().await;
    drop(world.connect(&north(), &key, PATIENCE).await.unwrap());
    assert!(!connection.has_changed().unwrap());

    world.decide(&north(), Command::Revoke).await;
    let start = Instant::now();
    tokio::time::timeout(PATIENCE, connection.wait_for(|now| !now.up)).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "cut after {:?}", start.elapsed());
    let refused = world.connect(&north(), &key, Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(refused, ConnectError::NotEnrolled { .. }), "{refused:?}");

    registrar.abort();
    let _registrar = world.registrar().await;
    let refused = world.connect(&north(), &key, Duration::from_millis(500)).await.unwrap_err();
    assert!(matches!(refused, ConnectError::NotEnrolled { .. }), "{refused:?}");
    assert!(!runner.connection().borrow().up);
    assert_eq!(code(&world.redeem(&token, &key).await), Some(Code::RunnerRevoked));
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_was_revoked_while_nobody_stood_at_the_door_is_cut_at_the_next_start() {
    let world = World::new().await;
    let registrar = world.registrar().await;
    let (_, key) = world.enrolled().await;
    let runner = world.connect(&north(), &key, PATIENCE).await.unwrap();
    registrar.abort();
    world.decide(&north(), Command::Revoke).await;
    let mut connection = runner.connection();
    assert!(connection.borrow_and_update().up);
    let _registrar = world.registrar().await;
    tokio::time::timeout(PATIENCE, connection.wait_for(|now| !now.up)).await.unwrap().unwrap();
    world.server.stop().await;
}
