//! Subscribers: services of others follow the log with rights of their own, and miss nothing whatever dies.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::world::{PATCHWAVE, Process, Role, World, git, kill, wait_for};

/// What the examples are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Rust,
    Python,
}

impl Language {
    const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
        }
    }

    /// The example of this language, as `docs/subscribing.md` has it run.
    fn command(self, subscription: &Path) -> Command {
        let mut command = match self {
            Self::Rust => {
                let program = Path::new(PATCHWAVE).with_file_name("examples").join("subscriber");
                assert!(program.exists(), "cargo build -p cli --example subscriber makes what is missing");
                Command::new(program)
            }
            Self::Python => {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
                let tools = std::env::var_os("PATCHWAVE_TOOLS").map_or(root.join(".tools"), PathBuf::from);
                let packages = tools.join("python");
                assert!(packages.join("nats").exists(), "scripts/python.sh installs what is missing");
                let mut command = Command::new("python3");
                command.env("PYTHONPATH", packages).arg(root.join("examples/subscribers/subscriber.py"));
                command
            }
        };
        command.arg(subscription);
        command
    }
}

/// Makes a subscription, and keeps what its subscriber needs in a file.
fn subscribe(world: &World, name: &str) -> PathBuf {
    let options = [
        "events",
        "subscribe",
        name,
        "ev.execution.*.completed",
        "--from",
        "1",
        "--ack-wait",
        "1s",
        "--json",
    ];
    let file = world.folder().join(format!("{name}.json"));
    std::fs::write(&file, world.bytes(&options)).unwrap();
    file
}

fn start(world: &World, language: Language, subscription: &Path) -> Process {
    let log = world.folder().join(format!("{}.lines", language.name()));
    let subscription = subscription.to_owned();
    Process::start(Role::Subscriber, log, move || language.command(&subscription))
}

/// The ids of the events that it has printed, in order.
fn printed(subscriber: &Process) -> Vec<String> {
    let text = subscriber.log_text();
    let lines = text.lines().filter(|line| line.starts_with("event_"));
    lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// The same, each once.
fn once(ids: &[String]) -> Vec<String> {
    let mut seen = Vec::new();
    for id in ids {
        if !seen.contains(id) {
            seen.push(id.clone());
        }
    }
    seen
}

/// What stands in the log.
fn logged(world: &World) -> Vec<String> {
    let events = world.documents(&["events", "show", "--json", "ev.execution.*.completed"]);
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn execute(world: &World, repository: &git::Repository, number: u32) {
    world.run_script(&format!("echo {number} >a"), &[repository]).expect(0);
}

fn subscription(world: &World, name: &str) -> Value {
    let all = world.documents(&["events", "subscriptions", "--json"]);
    all.into_iter().find(|one| one["name"] == name).unwrap()
}

#[test]
fn a_subscriber_that_is_killed_again_and_again_misses_nothing() {
    let mut world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    execute(&world, &repository, 2);
    let languages = [Language::Rust, Language::Python];
    let mut subscribers =
        languages.map(|language| start(&world, language, &subscribe(&world, language.name())));

    // It begins before it was there, dies as soon as it has printed something, and is dead while more happens.
    for number in 3..6 {
        for subscriber in &mut subscribers {
            let wanted = logged(&world);
            wait_for("what happened so far", || once(&printed(subscriber)) == wanted);
            subscriber.kill();
        }
        execute(&world, &repository, number);
        subscribers.iter_mut().for_each(Process::restart);
    }
    // The broker dies under it as well, and lets it in again.
    for subscriber in &subscribers {
        let wanted = logged(&world);
        wait_for("what happened so far", || once(&printed(subscriber)) == wanted);
    }
    let server = world.process(Role::Up).nats_server().expect("nats-server runs");
    kill(server);
    execute(&world, &repository, 6);
    let wanted = logged(&world);
    assert_eq!(wanted.len(), 5);
    for (language, subscriber) in languages.iter().zip(&subscribers) {
        wait_for("all that happened", || {
            assert!(!subscriber.has_ended(), "{language:?} ended:\n{}", subscriber.log_text());
            once(&printed(subscriber)) == wanted
        });
        let name = language.name();
        wait_for("all to be acknowledged", || {
            let now = subscription(&world, name);
            (now["pending"].as_u64(), now["in_flight"].as_u64()) == (Some(0), Some(0))
        });
    }
    let listed = world.ok(&["events", "subscriptions"]);
    assert!(listed.contains("rust") && listed.contains("ev.execution.*.completed"), "{listed}");
    drop(subscribers);
    world.end();
}

#[test]
fn a_subscription_is_replayed_and_ended() {
    let world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    execute(&world, &repository, 2);
    let file = subscribe(&world, "rust");
    let mut subscriber = start(&world, Language::Rust, &file);
    let wanted = logged(&world);
    wait_for("the event", || printed(&subscriber) == wanted);

    // A name is given once, and the one who has it keeps it.
    let refused = world.refused(&["events", "subscribe", "rust"]);
    assert!(refused.contains("there is a subscription `rust` already"), "{refused}");

    // Made anew from the beginning, everything comes again, and is known by its id.
    world.ok(&["events", "unsubscribe", "rust"]);
    let before = std::fs::read_to_string(&file).unwrap();
    let file = subscribe(&world, "rust");
    subscriber.restart();
    wait_for("the event once more", || printed(&subscriber).len() == 2);
    assert_eq!(once(&printed(&subscriber)), wanted);

    // The password of the first is worth nothing any more, and in the end that of the second.
    std::fs::write(&file, before).unwrap();
    subscriber.restart();
    assert_eq!(subscriber.wait(), Some(1));
    assert!(subscriber.log_text().contains("AuthorizationViolation"), "{}", subscriber.log_text());
    world.ok(&["events", "unsubscribe", "rust"]);
    let refused = world.refused(&["events", "unsubscribe", "rust"]);
    assert!(refused.contains("there is no subscription `rust`"), "{refused}");
    assert_eq!(world.ok(&["events", "subscriptions", "--json"]), "");
    drop(subscriber);
    world.end();
}
