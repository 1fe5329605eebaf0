//! The door of a real nats-server: a key that is let in has a runner's rights, and one that is cut is gone.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

use std::time::Duration;

use broker::door::{Claim, Door, DoorKeys};
use broker::server::{Server, ServerConfig, Sync, locate};
use broker::{Broker, Config, ConnectError, MachineKey, Proof};
use events::id::RunnerId;

const PATIENCE: Duration = Duration::from_secs(10);

struct World {
    server: Server,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let config = ServerConfig { folder: path, port: None, runners: Vec::new(), sync: Sync::EverySecond };
        let server = Server::start(locate(None).unwrap(), config).await.unwrap();
        Broker::connect(&server.client("provisioner", PATIENCE).unwrap())
            .await
            .unwrap()
            .provision(&broker::CacheLimits::default())
            .await
            .unwrap();
        Self { server, folder }
    }

    async fn door(&self) -> Door {
        let keys = DoorKeys::load_or_create(self.folder.path()).unwrap();
        Door::open(&self.server.client("registrar", PATIENCE).unwrap(), keys).await.unwrap()
    }

    fn key(&self, name: &str) -> MachineKey {
        MachineKey::load_or_create(&self.folder.path().join(name)).unwrap()
    }

    fn runner(&self, proof: Proof, connect_timeout: Duration) -> Config {
        let north: RunnerId = "north".parse().unwrap();
        let url = self.server.url().to_owned();
        Config {
            url,
            user: "runner-north".into(),
            proof,
            role: "runner".into(),
            runner: Some(north),
            connect_timeout,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_let_in_and_cut_off() {
    let world = World::new().await;
    let mut door = world.door().await;
    let north: RunnerId = "north".parse().unwrap();
    let key = world.key("key");
    let config = world.runner(key.proof(), PATIENCE);
    let (connected, knock) = tokio::join!(Broker::connect(&config), async {
        let knock = door.next().await.unwrap();
        door.admit(&knock, &north).await.unwrap();
        knock
    });
    assert_eq!(knock.claim, Claim::Key(key.public_key.clone()));
    let runner = connected.unwrap();
    let mut connection = runner.connection();
    assert!(connection.borrow_and_update().up);

    let start = std::time::Instant::now();
    assert_eq!(door.cut(&north).await.unwrap(), 1);
    tokio::time::timeout(PATIENCE, connection.wait_for(|now| !now.up)).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "cut after {:?}", start.elapsed());
    // It knocks again, by itself, and is turned away.
    let again = tokio::time::timeout(PATIENCE, door.next()).await.unwrap().unwrap();
    assert_eq!(again.claim, Claim::Key(key.public_key.clone()));
    door.refuse(&again, "it was revoked").await.unwrap();
    assert!(!connection.borrow().up);
    world.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_proves_nothing_is_turned_away_before_anybody_is_asked() {
    let world = World::new().await;
    let mut door = world.door().await;
    let guess = world.runner(Proof::Password("guess".into()), PATIENCE);
    let refused = tokio::select! {
        knock = door.next() => panic!("a password is no key: {knock:?}"),
        connected = Broker::connect(&guess) => connected.unwrap_err(),
    };
    assert!(matches!(refused, ConnectError::Refused { .. }), "{refused:?}");
    world.server.stop().await;
}
