//! Processes of a scenario: started with their log in a file, killed without mercy, ended in order.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{PATCHWAVE, path_text, wait_for};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything in one process.
    Up,
    /// The managed nats-server and the streams.
    Broker,
    /// A service of its own.
    Gateway,
    /// A service of its own.
    Catalog,
    /// A service of its own.
    Scheduler,
    /// A runner of its own.
    Runner,
    /// A service of its own.
    Registrar,
    /// A service of its own.
    LogCollector,
    /// A service of its own.
    CampaignPlan,
    /// A service of its own.
    Projector,
    /// A service of somebody else.
    Subscriber,
}

impl Role {
    /// Every role but the broker and the runner; the gateway last, since it is what a client waits for.
    pub const SERVICES: [Self; 7] = [
        Self::Catalog,
        Self::Scheduler,
        Self::Registrar,
        Self::LogCollector,
        Self::CampaignPlan,
        Self::Projector,
        Self::Gateway,
    ];

    /// The name of its subcommand.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Broker => "broker",
            Self::Gateway => "gateway",
            Self::Catalog => "catalog",
            Self::Scheduler => "scheduler",
            Self::Registrar => "registrar",
            Self::Runner => "runner",
            Self::LogCollector => "log-collector",
            Self::CampaignPlan => "campaign-plan",
            Self::Projector => "projector",
            Self::Subscriber => "subscriber",
        }
    }
}

/// A process with its log.
pub struct Process {
    /// What it does.
    pub role: Role,
    /// What tells it from others of its role.
    pub name: String,
    child: Child,
    log: PathBuf,
    command: Box<dyn Fn() -> Command + Send>,
}

impl Process {
    /// Starts a process; `command` makes it anew for each start.
    pub fn start(role: Role, log: PathBuf, command: impl Fn() -> Command + Send + 'static) -> Self {
        let child = spawn(&command, &log);
        Self { role, name: role.name().to_owned(), child, log, command: Box::new(command) }
    }

    /// Starts `patchwave up`.
    pub fn up(data: &Path, options: &[&str]) -> Self {
        Self::role(Role::Up, data, options)
    }

    /// Starts one of several runners.
    pub fn runner(name: &str, data: &Path, options: &[&str]) -> Self {
        let options: Vec<&str> = ["--id", name].iter().chain(options).copied().collect();
        let mut process = Self::with_log(Role::Runner, data, &options, &format!("{name}.log"));
        name.clone_into(&mut process.name);
        process
    }

    /// Starts a role with its data in the scenario's folder.
    pub fn role(role: Role, data: &Path, options: &[&str]) -> Self {
        Self::with_log(role, data, options, &format!("{}.log", role.name()))
    }

    fn with_log(role: Role, data: &Path, options: &[&str], log: &str) -> Self {
        let mut arguments = vec![role.name().to_owned(), "--data-dir".to_owned(), path_text(data)];
        // Any port that is free; a gateway keeps its own over a restart, as an operator's would.
        let ports: &[&str] = match role {
            Role::Up => &["--gateway", "127.0.0.1:0", "--broker-port", "0"],
            Role::Broker => &["--broker-port", "0"],
            _ => &[],
        };
        arguments.extend(ports.iter().chain(options).map(|argument| (*argument).to_owned()));
        if role == Role::Gateway {
            arguments.extend(["--gateway".to_owned(), format!("127.0.0.1:{}", free_port())]);
        }
        let log = data.with_extension(log);
        Self::start(role, log, move || {
            let mut command = Command::new(PATCHWAVE);
            command.args(&arguments);
            command
        })
    }

    /// The nats-server that this process manages, if it runs.
    pub fn nats_server(&self) -> Option<u32> {
        children(self.id()).into_iter().find(|child| {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            name.trim() == "nats-server"
        })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How much of its memory is in the machine's, in KiB; none if it does not run.
    pub fn resident_kib(&self) -> Option<u64> {
        resident_kib(self.id())
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // A process that ended and was not waited for yet is a zombie.
        state.is_empty() || state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    }

    /// Ends it as a crash would: `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again after its end.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.command, &self.log);
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// Asks it to end and waits.
    pub fn stop(&mut self) {
        if self.has_ended() {
            self.kill();
            return;
        }
        self.signal("TERM");
        wait_for("a process to end", || self.has_ended());
        self.kill();
    }

    /// Waits for its end by itself; returns its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        wait_for("a process to end by itself", || self.has_ended());
        self.child.wait().ok()?.code()
    }

    /// What it has logged.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The last lines of what it has logged.
    pub fn log_tail(&self, lines: usize) -> String {
        let text = self.log_text();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The errors that it has logged.
    pub fn errors(&self) -> Vec<String> {
        self.log_text().lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect()
    }
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Ends any process as a crash would.
pub fn kill(id: u32) {
    let status = Command::new("kill").args(["-s", "KILL", &id.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -9 {id}");
}

/// How much of a process's memory is in the machine's, in KiB; none if there is no such process.
pub fn resident_kib(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").expect("the processes").filter_map(Result::ok);
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name may hold anything; what follows its bracket is the state and the parent.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    })
    .collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(command: &dyn Fn() -> Command, log: &Path) -> Child {
    let file = File::options().create(true).append(true).open(log).expect("a file for the log");
    let mut command = command();
    command.stdin(Stdio::null()).stdout(file.try_clone().expect("the log twice")).stderr(file);
    command.env("NO_COLOR", "1").env("RUST_BACKTRACE", "0").spawn().expect("a process starts")
}
