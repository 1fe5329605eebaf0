//! The managed broker's process: started, watched, started again, stopped.
//!
//! Owns the child. It keeps its port over restarts, so that clients find it again by themselves.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::{Passwords, RUNNER_USER, ServerConfig, render};
use super::disk;
use crate::door::{DoorKeys, DoorKeysError};
use crate::{Config, Proof};

/// How long the server may take until it listens: it reads its streams first.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the server may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(20);

/// Why the managed broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file of it cannot be written.
    #[error("{path} cannot be written")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The registrar's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] DoorKeysError),
    /// The program does not start.
    #[error("{program} does not start")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It ended at once.
    #[error("nats-server ended at once; the end of {log}:\n{tail}")]
    Ended {
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// It runs and does not listen.
    #[error("nats-server does not listen after {} s; see {log}", PATIENCE.as_secs())]
    Silent {
        /// Its log.
        log: PathBuf,
    },
}

/// A nats-server that runs as long as this lives.
pub struct Server {
    url: String,
    passwords: Passwords,
    stop: CancellationToken,
    watch: JoinHandle<()>,
}

struct Launcher {
    program: PathBuf,
    config: ServerConfig,
    passwords: Passwords,
    keys: DoorKeys,
}

impl Server {
    /// Starts a server and waits until it listens.
    ///
    /// # Errors
    /// When it does not come up; the error says where to look.
    pub async fn start(program: PathBuf, config: ServerConfig) -> Result<Self, StartError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StartError::Io { path, source }
        };
        std::fs::create_dir_all(&config.folder).map_err(io(&config.folder))?;
        let passwords = Passwords::load_or_create(&config.folder, &config.runners)
            .map_err(io(&config.folder.join("passwords")))?;
        let keys = DoorKeys::load_or_create(&config.folder)?;
        let mut launcher = Launcher { program, config, passwords: passwords.clone(), keys };
        let (child, port) = launcher.launch().await?;
        launcher.config.port = Some(port);
        let stop = CancellationToken::new();
        let watch = tokio::spawn(launcher.watch(child, stop.clone()));
        Ok(Self { url: format!("nats://127.0.0.1:{port}"), passwords, stop, watch })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its users' passwords.
    pub const fn passwords(&self) -> &Passwords {
        &self.passwords
    }

    /// How one of its users connects; none if it has no such user.
    pub fn client(&self, user: &str, connect_timeout: Duration) -> Option<Config> {
        Some(Config {
            url: self.url.clone(),
            user: user.to_owned(),
            proof: Proof::Password(self.passwords.get(user)?.to_owned()),
            role: user.to_owned(),
            runner: user.strip_prefix(RUNNER_USER).and_then(|name| name.parse().ok()),
            connect_timeout,
        })
    }

    /// Ends it and waits.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.watch.await {
            tracing::error!(%error, "the watch over nats-server failed");
        }
    }
}

impl Launcher {
    /// Starts the process and waits until it listens; returns its port.
    async fn launch(&self) -> Result<(Child, u16), StartError> {
        let folder = &self.config.folder;
        let (file, log) = (folder.join("nats.conf"), folder.join("nats-server.log"));
        std::fs::write(&file, render(&self.config))
            .map_err(|source| StartError::Io { path: file.clone(), source })?;
        let mut child = self
            .command(&file, &log)
            .spawn()
            .map_err(|source| StartError::Spawn { program: self.program.clone(), source })?;
        // The server names its file by its process id, which stays the same when setpriv becomes the server.
        let ports = folder.join(format!("nats-server_{}.ports", child.id().unwrap_or_default()));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(port) = listening_port(&ports) {
                return Ok((child, port));
            }
            if let Ok(Some(_)) = child.try_wait() {
                return Err(StartError::Ended { tail: tail(&log), log });
            }
            if tokio::time::Instant::now() >= deadline {
                return Err(StartError::Silent { log });
            }
            // The server tells nobody but this file.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn command(&self, file: &Path, log: &Path) -> Command {
        // With setpriv, which Debian always has, the server ends with us even if we are killed.
        let setpriv = Path::new("/usr/bin/setpriv");
        let mut command = if setpriv.exists() {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "TERM", "--"]).arg(&self.program);
            command
        } else {
            Command::new(&self.program)
        };
        command
            .arg("--config")
            .arg(file)
            .arg("--log")
            .arg(log)
            .arg("--ports_file_dir")
            .arg(&self.config.folder);
        command.envs(self.passwords.variables()).envs(self.keys.variables());
        // A group of its own: an interrupt at the terminal is for us to handle, and the server ends last.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Starts the server again whenever it ends by itself.
    async fn watch(self, mut child: Child, stop: CancellationToken) {
        let mut pause = Duration::from_millis(100);
        loop {
            let started = tokio::time::Instant::now();
            tokio::select! {
                () = stop.cancelled() => return end(child).await,
                () = disk::was_full(&self.config.folder) => {
                    tracing::warn!("the disk has room again, starting nats-server anew so that it stores again");
                    end(child).await;
                }
                status = child.wait() => {
                    let status = status.map(|status| status.to_string()).unwrap_or_else(|error| error.to_string());
                    tracing::warn!(status, "nats-server ended, starting it again");
                }
            }
            if started.elapsed() > Duration::from_secs(60) {
                pause = Duration::from_millis(100);
            }
            child = loop {
                match self.launch().await {
                    Ok((child, _)) => break child,
                    Err(error) => tracing::error!(%error, "nats-server cannot be started again, trying on"),
                }
                pause = (pause * 2).min(Duration::from_secs(5));
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
            };
        }
    }
}

async fn end(mut child: Child) {
    let terminated = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?))
        .map(|id| rustix::process::kill_process(id, rustix::process::Signal::TERM));
    if let Some(Err(error)) = terminated {
        tracing::debug!(%error, "nats-server was gone already");
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        tracing::warn!("nats-server does not end, killing it");
        if let Err(error) = child.kill().await {
            tracing::error!(%error, "nats-server cannot be killed");
        }
    }
}

/// The port in the server's own file, once it listens.
fn listening_port(file: &Path) -> Option<u16> {
    #[derive(serde::Deserialize)]
    struct Ports {
        nats: Vec<String>,
    }
    let ports: Ports = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    ports.nats.first()?.rsplit(':').next()?.parse().ok()
}

fn tail(log: &Path) -> String {
    let text = String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
