//! Followers: a GraphQL client that is not ours follows a live system, over a WebSocket and over server-sent events.

use std::path::{Path, PathBuf};
use std::process::Command;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::world::{Followed, Process, Role, World, engine, script_definition, wait_for};

/// How a client is told.
#[derive(Clone, Copy, Debug)]
enum Over {
    WebSocket,
    ServerSentEvents,
}

const BOTH: [Over; 2] = [Over::WebSocket, Over::ServerSentEvents];

/// The example in a folder with the packages that it needs, as `npm ci` makes it.
fn example(world: &World) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tools = std::env::var_os("PATCHWAVE_TOOLS").map_or(root.join(".tools"), PathBuf::from);
    let packages = tools.join("node/node_modules");
    assert!(packages.join("graphql-ws").exists(), "scripts/node.sh installs what is missing");
    let folder = world.folder().join("follower");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(packages, folder.join("node_modules")).unwrap();
    let program = folder.join("follow.mjs");
    std::fs::copy(root.join("examples/subscribers/javascript/follow.mjs"), &program).unwrap();
    program
}

/// A follower and what it follows.
struct Follower {
    over: Over,
    process: Process,
}

impl Follower {
    fn start(world: &World, program: &Path, over: Over, (token, what): (&str, &[&str])) -> Self {
        let url = world.gateway().expect("a gateway").url;
        let log = world.folder().join(format!("{over:?}-{}.lines", what[0]));
        let transport: &[&str] = if matches!(over, Over::ServerSentEvents) { &["--sse"] } else { &[] };
        let words = transport.iter().copied().chain([url.as_str()]).chain(what.iter().copied());
        let words: Vec<String> = words.map(str::to_owned).collect();
        let (program, token) = (program.to_owned(), token.to_owned());
        let process = Process::start(Role::Subscriber, log, move || {
            let mut command = Command::new("node");
            command.arg(&program).args(&words).env("PATCHWAVE_TOKEN", &token);
            command
        });
        Self { over, process }
    }

    /// What it has printed: whole lines alone.
    fn printed(&self) -> Vec<Value> {
        let text = self.process.log_text();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let read =
            |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{:?} said: {line}", self.over));
        whole.lines().map(read).collect()
    }

    /// The lines of a log that it has printed, each batch where the one before ended.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for batch in self.printed() {
            assert_eq!(batch["firstLine"], lines.len() + 1, "{:?}", self.over);
            lines.extend(serde_json::from_value::<Vec<String>>(batch["lines"].clone()).unwrap());
            assert_eq!(batch["nextLine"], lines.len() + 1, "{:?}", self.over);
        }
        lines
    }

    fn wait(&mut self) {
        let code = self.process.wait();
        assert_eq!(code, Some(0), "{:?}: {}", self.over, self.process.log_tail(5));
    }
}

fn sequences(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["sequence"].as_u64().expect("a sequence")).collect()
}

#[test]
fn an_independent_client_follows_a_run_and_goes_on_where_it_was() {
    let mut world = World::apart();
    let program = example(&world);
    let repository = world.repository("one").file("a", "1\n").commit();
    // The step goes on when the test has seen its first lines: it waits for a file in its own workspace.
    let script = "seq 1 5000; while [ ! -e go ]; do sleep 0.1; done; rm go; seq 5001 10000; echo 2 >a";
    let definition = world.definition("slow.batch.yaml", &script_definition("slow", script));
    let mut run = Followed::begin(world.run_command(&definition, &[&repository]));
    run.until(1, "job.step_started");
    let (execution, job) =
        (run.execution(), run.last("job.queued")["aggregate"].as_str().unwrap().to_owned());

    let token = world.gateway().expect("a gateway").token;
    let start = |what: &[&str]| BOTH.map(|over| Follower::start(&world, &program, over, (&token, what)));
    let mut stories = start(&["execution", &execution]);
    let mut logs = start(&["log", &job]);
    let events = start(&["events", "ev.execution.*.job.*.>"]);
    let fleets = start(&["runners"]);
    for (log, fleet) in logs.iter().zip(&fleets) {
        wait_for("the first lines", || log.lines().len() == 5_000);
        wait_for("a runner at work", || {
            fleet.printed().iter().any(|runner| runner["now"]["running"][0]["jobId"] == job.as_str())
        });
    }

    // The gateway dies under them, and all goes on.
    world.restart_gateway();
    engine::touch_in_container(&world.data(), "/work/go");
    let run = run.end().expect(0);

    let all: Vec<String> = (1..=10_000).map(|number| number.to_string()).collect();
    for log in &mut logs {
        log.wait();
        assert!(log.lines() == all, "{:?}: each line once and in order", log.over);
        assert_eq!(log.printed().last().unwrap()["ended"], true);
    }
    for story in &mut stories {
        story.wait();
        let mut told = story.printed();
        let shown = told.pop().expect("the execution at the end");
        assert_eq!((&shown["id"], &shown["state"]), (&execution.as_str().into(), &"SUCCEEDED".into()));
        assert_eq!(sequences(&told), sequences(&run.events), "{:?}", story.over);
    }
    let recorded = world.documents(&["events", "show", "--json", "ev.execution.*.job.*.>"]);
    for (events, fleet) in events.iter().zip(&fleets) {
        wait_for("all events", || events.printed().len() >= recorded.len());
        assert_eq!(sequences(&events.printed()), sequences(&recorded), "{:?}", events.over);
        wait_for("a runner at rest", || {
            let now = fleet.printed();
            now.last().is_some_and(|runner| runner["now"]["running"] == json!([]))
        });
    }
    drop((events, fleets));
    world.end();
}

#[test]
fn an_independent_client_is_told_why_it_is_refused() {
    let world = World::up();
    let program = example(&world);
    let token = world.gateway().expect("a gateway").token;
    for over in BOTH {
        for (token, what, why) in [
            ("pw_wrong", &["runners"][..], ["Forbidden: the token is not one that was made here", "401"]),
            (&token, &["log", "job_x"], ["job_x", "job_x"]),
        ] {
            let mut follower = Follower::start(&world, &program, over, (token, what));
            assert_eq!(follower.process.wait(), Some(1), "{over:?}");
            let said = follower.process.log_text();
            assert!(why.iter().any(|why| said.contains(why)), "{over:?}: {said}");
        }
    }
    world.end();
}

#[test]
fn a_reader_that_stops_costs_no_memory_and_misses_no_line() {
    const LINES: usize = 800_000;
    let mut world = World::apart();
    let repository = world.repository("one").file("a", "1\n").commit();
    let words = "x".repeat(100);
    let script =
        format!("while [ ! -e go ]; do sleep 0.1; done; rm go; yes {words} | head -n {LINES}; echo 2 >a");
    let definition = world.definition("much.batch.yaml", &script_definition("much", &script));
    let mut run = Followed::begin(world.run_command(&definition, &[&repository]));
    run.until(1, "job.step_started");
    let job = run.last("job.queued")["aggregate"].as_str().unwrap().to_owned();
    let gateway = world.gateway().expect("a gateway");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut socket = runtime.block_on(async {
        let url = gateway.url.replacen("http", "ws", 1) + "/graphql";
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "graphql-transport-ws".parse().unwrap());
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        let payload = json!({ "authorization": format!("Bearer {}", gateway.token) });
        let init = json!({ "type": "connection_init", "payload": payload });
        socket.send(Message::text(init.to_string())).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().to_text().unwrap().contains("connection_ack"));
        let query = "subscription($job: ID!) { jobLog(jobId: $job) { firstLine lines ended } }";
        let payload = json!({ "query": query, "variables": { "job": job } });
        let subscribe = json!({ "type": "subscribe", "id": "1", "payload": payload });
        socket.send(Message::text(subscribe.to_string())).await.unwrap();
        socket
    });
    // Nothing is read while 80 MB are written and sealed; each of them in memory would show.
    let before = world.process(Role::Gateway).resident_kib().expect("it runs");
    engine::touch_in_container(&world.data(), "/work/go");
    run.end().expect(0);
    wait_for("the seal", || {
        !world.documents(&["events", "show", "--json", "ev.execution.*.job.*.log_sealed"]).is_empty()
    });
    let grown = world.process(Role::Gateway).resident_kib().expect("it runs").saturating_sub(before);
    assert!(grown < 40 * 1024, "the gateway grew by {grown} KiB");

    let mut seen = 0;
    runtime.block_on(async {
        loop {
            let message = socket.next().await.expect("more").expect("in order");
            let Message::Text(text) = message else { continue };
            let mut said: Value = serde_json::from_str(&text).unwrap();
            let batch = said["payload"]["data"]["jobLog"].take();
            assert_eq!(batch["firstLine"], seen + 1, "{said}");
            let lines = batch["lines"].as_array().unwrap();
            assert!(lines.iter().all(|line| *line == words.as_str()));
            seen += lines.len();
            if batch["ended"] == true {
                break;
            }
        }
    });
    assert_eq!(seen, LINES);
    world.end();
}
