//! The world of a scenario: real servers in a folder of its own.
//!
//! Owns every process that it starts and ends them all. Dropping it fails the scenario if something was set aside as a
//! dead letter, if a container was left behind, or if a service logged an error that the scenario did not expect.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "two programs share it, each uses a part, and neither has users"
)]

pub mod engine;
pub mod fleet;
mod followed;
pub mod git;
pub mod oracle;
pub mod postgres;
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use followed::Followed;
pub use process::{Process, Role, free_port, kill, resident_kib};

/// The program under test.
pub const PATCHWAVE: &str = env!("CARGO_BIN_EXE_patchwave");

/// How long a condition may take to come true; reached only when something is broken.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What a gateway writes for whoever may read the data directory.
#[derive(Debug, serde::Deserialize)]
pub struct GatewayFile {
    /// The process that answers.
    pub pid: u32,
    /// Where it does.
    pub url: String,
    /// What opens it.
    pub token: String,
}

/// A client for requests that the program itself does not make.
pub fn http_client() -> reqwest::Client {
    // All clients of this process have the same; it may be there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// A running system and what a scenario does with it.
pub struct World {
    folder: tempfile::TempDir,
    processes: Vec<Process>,
    expected_errors: Vec<String>,
    ended: bool,
}

impl World {
    /// A world in which nothing runs yet.
    pub fn new() -> Self {
        engine::prepare();
        let folder =
            tempfile::Builder::new().prefix("scenario-").tempdir().expect("a folder for the scenario");
        Self { folder, processes: Vec::new(), expected_errors: Vec::new(), ended: false }
    }

    /// A world in which `patchwave up` is ready.
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// The same with more options.
    pub fn up_with(options: &[&str]) -> Self {
        let mut world = Self::new();
        world.start_up(options);
        world
    }

    /// A world in which each role is a process of its own.
    pub fn apart() -> Self {
        Self::apart_with(&[])
    }

    /// The same with more options for the broker, such as the names of runners.
    pub fn apart_with(broker: &[&str]) -> Self {
        let mut world = Self::services_with(broker);
        world.start_role(Role::Runner, &[]);
        world
    }

    /// The same without a runner.
    pub fn services() -> Self {
        Self::services_with(&[])
    }

    fn services_with(broker: &[&str]) -> Self {
        let mut world = Self::new();
        world.start_role(Role::Broker, broker);
        world.wait_for_file("broker.json");
        for role in Role::SERVICES {
            world.start_role(role, &[]);
        }
        world.wait_for_file("gateway.json");
        world
    }

    /// Starts `patchwave up` and waits until it is ready.
    pub fn start_up(&mut self, options: &[&str]) {
        self.processes.push(Process::up(&self.data(), options));
        self.wait_for_file("gateway.json");
    }

    /// Starts a role as a process of its own.
    pub fn start_role(&mut self, role: Role, options: &[&str]) {
        let process = Process::role(role, &self.data(), options);
        self.processes.push(process);
    }

    /// A world in which each role is a process of its own, and so are several runners.
    pub fn with_runners(names: &[&str], options: &[&str]) -> Self {
        let mut world = Self::new();
        let known: Vec<&str> = names.iter().flat_map(|name| ["--runner", *name]).collect();
        world.start_role(Role::Broker, &known);
        world.wait_for_file("broker.json");
        for role in Role::SERVICES.into_iter().filter(|role| *role != Role::Runner) {
            world.start_role(role, &[]);
        }
        for name in names {
            world.processes.push(Process::runner(name, &world.data(), options));
        }
        world.wait_for_file("gateway.json");
        world
    }

    /// Waits until the process that was started last says by this file that it is ready.
    fn wait_for_file(&self, name: &str) {
        let file = self.data().join(name);
        wait_for(name, || {
            for process in &self.processes {
                assert!(!process.has_ended(), "{:?} ended at once:\n{}", process.role, process.log_text());
            }
            file.exists()
        });
    }

    /// What the gateway says of itself; nothing before it is ready.
    pub fn gateway(&self) -> Option<GatewayFile> {
        let written = std::fs::read(self.data().join("gateway.json")).ok()?;
        serde_json::from_slice(&written).ok()
    }

    /// Kills the gateway, starts it again, and waits until it answers: the file that the dead one left does not say so.
    pub fn restart_gateway(&mut self) {
        self.process(Role::Gateway).restart();
        let process = self.process(Role::Gateway).id();
        wait_for("the gateway again", || self.gateway().is_some_and(|answering| answering.pid == process));
    }

    /// The folder of the scenario.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A repository named so, without commits.
    pub fn repository(&self, name: &str) -> git::Repository {
        git::Repository::empty(self.folder().join("repositories").join(name))
    }

    /// Writes a definition into the scenario's folder.
    pub fn definition(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, text).expect("a definition");
        path
    }

    /// Runs a client command.
    pub fn patchwave(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("patchwave runs")
    }

    /// A client command that is not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        // It ends with the thread of its scenario, also when that fails half-way.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", PATCHWAVE]);
        command.args(arguments).env("PATCHWAVE_DATA", self.data()).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs a client command that must succeed, and returns what it prints.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&self.bytes(arguments)).into_owned()
    }

    /// The same for what is not text.
    #[track_caller]
    pub fn bytes(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.patchwave(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "patchwave {arguments:?}: {}{errors}",
            String::from_utf8_lossy(&output.stdout)
        );
        output.stdout
    }

    /// What a client command prints with `--json`: one document a line.
    #[track_caller]
    pub fn documents(&self, arguments: &[&str]) -> Vec<Value> {
        self.ok(arguments).lines().map(|line| serde_json::from_str(line).expect("a JSON document")).collect()
    }

    /// Runs a client command that must fail, and returns what it says to standard error.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.patchwave(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "patchwave {arguments:?}: {errors}");
        errors
    }

    /// Runs an action over repositories and follows it to its end.
    pub fn run(&self, definition: &Path, repositories: &[&git::Repository]) -> Run {
        Run::of(self.run_command(definition, repositories).output().expect("patchwave runs"))
    }

    /// The same, not started yet.
    pub fn run_command(&self, definition: &Path, repositories: &[&git::Repository]) -> Command {
        let mut command = self.command(&["run", "--json"]);
        command.arg(definition);
        for repository in repositories {
            command.arg("--repo").arg(&repository.path);
        }
        command
    }

    /// Runs an action with a script of one step in the small image.
    pub fn run_script(&self, script: &str, repositories: &[&git::Repository]) -> Run {
        self.run(&self.definition("script.batch.yaml", &script_definition("script", script)), repositories)
    }

    /// Writes each changeset's patch into a folder; returns the files by repository.
    pub fn export(&self, plan: &str) -> BTreeMap<String, PathBuf> {
        let folder = self.folder().join(format!("export-{plan}"));
        let files = self.documents(&["plan", "export", "--json", plan, &path_text(&folder)]);
        let text = |file: &Value, key: &str| file[key].as_str().expect("a text").to_owned();
        files.iter().map(|file| (text(file, "repository"), text(file, "file").into())).collect()
    }

    /// The process of a role.
    pub fn process(&mut self, role: Role) -> &mut Process {
        self.processes.iter_mut().find(|process| process.role == role).expect("the role was started")
    }

    /// The runner of this name.
    pub fn runner(&mut self, name: &str) -> &mut Process {
        self.processes.iter_mut().find(|process| process.name == name).expect("the runner was started")
    }

    /// Every process.
    pub fn processes(&self) -> &[Process] {
        &self.processes
    }

    /// Changes the projection behind everybody's back.
    pub fn change_projection(&self, sql: &str) {
        let file = self.data().join("projection.sqlite");
        let python = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], timeout=60); c.execute(sys.argv[2]); c.commit()";
        let status = Command::new("python3").args(["-c", python]).arg(file).arg(sql).status();
        assert!(status.is_ok_and(|status| status.success()), "{sql}");
    }

    /// Publishes a message as the operator.
    pub fn publish(&self, subject: &str, payload: &str) {
        let (subject, payload) = (subject.to_owned(), payload.to_owned());
        self.as_operator(async |client| {
            client.publish(subject, payload.into()).await.expect("it is sent");
            client.flush().await.expect("it has arrived");
        });
    }

    /// How many messages and consumers a stream has.
    pub fn stream(&self, name: &str) -> (u64, usize) {
        self.as_operator(async |client| {
            let jetstream = async_nats::jetstream::new(client);
            let info = jetstream.get_stream(name).await.expect("the stream is there").get_info().await;
            let info = info.expect("the broker answers");
            (info.state.messages, info.state.consumer_count)
        })
    }

    /// Does something with the operator's connection to the broker.
    fn as_operator<T>(&self, work: impl AsyncFnOnce(async_nats::Client) -> T) -> T {
        let broker = std::fs::read(self.data().join("broker.json")).expect("the broker's address");
        let broker: Value = serde_json::from_slice(&broker).expect("a JSON document");
        let url = broker["url"].as_str().expect("an address").to_owned();
        let passwords = std::fs::read_to_string(self.data().join("broker/passwords")).expect("the passwords");
        let password =
            passwords.lines().find_map(|line| line.strip_prefix("operator ")).expect("the operator's");
        let options =
            async_nats::ConnectOptions::with_user_and_password("operator".to_owned(), password.to_owned())
                .custom_inbox_prefix("_INBOX_operator");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = options.connect(url).await.expect("the broker answers");
            work(client).await
        })
    }

    /// What a role has logged so far.
    pub fn log_text(&self, role: Role) -> String {
        self.processes.iter().find(|process| process.role == role).expect("the role was started").log_text()
    }

    /// Lets an error in the log pass that contains this text.
    pub fn expect_error(&mut self, text: &str) {
        self.expected_errors.push(text.to_owned());
    }

    /// Ends everything in order, and checks what must hold at the end of every scenario.
    pub fn end(mut self) {
        self.ended = true;
        let dead = self.ok(&["dead", "list", "--json"]);
        assert_eq!(dead.trim(), "", "dead letters are left");
        self.stop();
    }

    /// Ends everything in order, and checks what must hold even where dead letters are meant to be.
    pub fn stop(&mut self) {
        self.ended = true;
        for process in self.processes.iter_mut().rev() {
            process.stop();
        }
        for process in &self.processes {
            for line in process.errors() {
                let expected = self.expected_errors.iter().any(|text| line.contains(text));
                assert!(expected, "{:?} logged an error: {line}", process.role);
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("the mounts");
        assert!(
            !mounts.contains(&format!("{}/", path_text(&self.data()))),
            "a mount is left behind:\n{mounts}"
        );
        assert_eq!(engine::containers_over(&self.data()), Vec::<String>::new(), "containers are left behind");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            if std::thread::panicking() {
                eprintln!("--- the end of the log of {:?}\n{}", process.role, process.log_tail(60));
            }
            process.kill();
        }
        engine::remove_containers_over(&self.data());
        unmount_below(&self.data());
        assert!(
            self.ended || std::thread::panicking(),
            "a scenario ends its world with `end`, which checks it"
        );
    }
}

/// Takes away what a killed runner left mounted, so that the scenario's folder can be removed.
fn unmount_below(folder: &Path) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<&str> = points.filter(|point| Path::new(point).starts_with(folder)).collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in below {
        let _ = Command::new("umount").args(["--lazy", point]).status();
    }
}

/// What came of `patchwave run --json`.
pub struct Run {
    /// 0: succeeded; 2: partially failed; 1: otherwise.
    pub code: i32,
    /// One JSON document per event, in order.
    pub events: Vec<Value>,
    /// What went to standard error.
    pub errors: String,
}

impl Run {
    /// Reads what the command printed.
    pub fn of(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        let events =
            text.lines().map(|line| serde_json::from_str(line).expect("one JSON document a line")).collect();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code().unwrap_or(-1), events, errors }
    }

    /// Fails with all there is to know unless the command ended so.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.errors, self.text());
        self
    }

    fn text(&self) -> String {
        self.events.iter().map(|event| format!("{event}\n")).collect()
    }

    /// The events of a type, `job.succeeded` for one.
    pub fn of_type(&self, name: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["type"] == name).collect()
    }

    /// The id of the plan.
    pub fn plan(&self) -> String {
        self.aggregate("plan.created")
    }

    /// The id of the execution.
    pub fn execution(&self) -> String {
        self.aggregate("execution.requested")
    }

    fn aggregate(&self, name: &str) -> String {
        let event =
            self.of_type(name).first().copied().unwrap_or_else(|| panic!("no {name} in:\n{}", self.text()));
        event["aggregate"].as_str().expect("an event has an aggregate").to_owned()
    }
}

/// A definition with one step in the small image.
pub fn script_definition(name: &str, script: &str) -> String {
    let script: String = script.lines().map(|line| format!("      {line}\n")).collect();
    let image = engine::IMAGE;
    format!(
        "name: {name}\nsteps:\n  - container: {image}\n    run: |\n{script}changesetTemplate:\n  title: {name}\n  \
         branch: change/{name}\n  commit:\n    message: {name}\n"
    )
}

/// A path as text; scenarios use plain ones.
pub fn path_text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

/// Waits until a condition holds. Looks again and again, because it looks from outside.
#[track_caller]
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
