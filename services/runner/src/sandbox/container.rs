//! Containers: their making, their life and their end.
//!
//! Owns what a container may do and how all in it is ended. Never reads output. Invariant: when `kill` or `remove` has
//! returned, no process of the container runs, and none starts.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, StartExecOptions};
use bollard::query_parameters::{KillContainerOptionsBuilder, WaitContainerOptionsBuilder};
use futures::StreamExt as _;
use tokio::sync::{Mutex, OnceCell, watch};
use uuid::Uuid;

use super::shell::Shell;
use super::traces::Seen;
use super::trouble::{cut, is, startup};
use super::{ContainerSpec, Engine, Main, Place, Trouble, scripts, spec};

/// How long the engine may take to end what it was told to kill.
const KILLED: Duration = Duration::from_secs(60);

/// A container of an attempt. Cheap to clone: another task may kill what this one waits for.
#[derive(Clone)]
pub(crate) struct Container(Arc<Inner>);

struct Inner {
    engine: Engine,
    id: String,
    idle: bool,
    /// Whether its scripts are counted: it does not end with the one that runs.
    has_scripts: bool,
    /// None in an image that has none, which can only run its own programs.
    shell: Option<Shell>,
    workdir: String,
    /// The folder of the host with the scripts.
    scripts: PathBuf,
    script: AtomicU32,
    /// Held while it is being started, so that a kill never comes between.
    starting: Mutex<()>,
    killing: AtomicBool,
    killed: AtomicBool,
    place: Place,
    /// How many scripts run.
    running: watch::Sender<usize>,
    /// Where it can be seen on its host; none where it cannot.
    seen: OnceCell<Option<Seen>>,
    /// How many processes of the sandbox's own run in it between scripts.
    own_processes: usize,
    /// Where something is mounted.
    targets: Vec<PathBuf>,
}

impl Engine {
    /// Creates a container without starting it; the workspace's files need not be there yet.
    pub(crate) async fn create(&self, wanted: &ContainerSpec<'_>) -> Result<Container, Trouble> {
        let scripted = matches!(wanted.main, Main::Idle | Main::Script { .. } | Main::Scripts { .. });
        let shell = if scripted { Some(wanted.image.shell()?) } else { wanted.image.shell };
        let folder = wanted.scratch.join(format!("scripts-{}", Uuid::now_v7().simple()));
        spec::make_folder(&folder).map_err(Trouble::Engine)?;
        let script = AtomicU32::new(0);
        let texts = match &wanted.main {
            Main::Script { script, .. } => std::slice::from_ref(script),
            Main::Scripts { scripts: texts, .. } => {
                scripts::make_pipes(&folder, texts.len()).map_err(Trouble::Engine)?;
                texts
            }
            _ => &[],
        };
        for text in texts {
            spec::put(&folder, script.fetch_add(1, Ordering::Relaxed), text).map_err(Trouble::Engine)?;
        }
        let network = self.network(wanted.place).await.map_err(Trouble::Engine)?;
        let given = spec::Given {
            shell,
            labels: self.attempt_labels(wanted.execution, wanted.attempt),
            network: &network,
            runtime: self.runtime(),
        };
        let body = spec::body(wanted, &folder, given).map_err(Trouble::Engine)?;
        let created = match self.docker().create_container(None, body).await {
            Ok(created) => created,
            Err(error) => {
                if is(&error, 404) {
                    // The image or the network went away meanwhile; the next attempt asks for them again.
                    self.images().forget();
                    self.networks().forget(wanted.place).await;
                }
                return Err(startup(self.address(), "create the container", error));
            }
        };
        Ok(Container(Arc::new(Inner {
            engine: self.clone(),
            id: created.id,
            idle: wanted.main == Main::Idle,
            has_scripts: matches!(wanted.main, Main::Idle | Main::Scripts { .. }),
            shell,
            workdir: wanted.workdir.clone(),
            scripts: folder,
            script,
            starting: Mutex::default(),
            killing: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            place: wanted.place,
            running: watch::Sender::new(0),
            seen: OnceCell::new(),
            // The shell that takes in orphans has a child that waits.
            own_processes: if wanted.main == Main::Idle { 2 } else { 1 },
            targets: spec::targets(wanted),
        })))
    }
}

impl Container {
    /// Starts an idle container. One that was killed before does not start, and its scripts end with 137.
    pub(crate) async fn start(&self) -> Result<(), Trouble> {
        let _starting = self.0.starting.lock().await;
        if self.is_killing() {
            return Ok(());
        }
        let started = self.engine().docker().start_container(self.id(), None).await;
        let Err(error) = started else { return Ok(()) };
        let trouble = startup(self.engine().address(), "start the container", error);
        if matches!(trouble, Trouble::Engine(_)) {
            // Perhaps its network is gone: the next one gets a new one.
            self.engine().networks().forget(self.0.place).await;
        }
        Err(trouble)
    }

    /// Ends all that runs in it: SIGTERM, then SIGKILL after `grace`. When this returns nothing runs any more, and
    /// whoever waits for a script is told its exit code.
    ///
    /// # Errors
    /// When the engine does not do it.
    pub(crate) async fn kill(&self, grace: Duration) -> Result<()> {
        self.0.killing.store(true, Ordering::SeqCst);
        let _started = self.0.starting.lock().await;
        // Whether the request to end was heard or not: the time is up when it is up.
        let _ = tokio::time::timeout(grace, async {
            self.ask_to_end().await;
            let mut running = self.0.running.subscribe();
            tokio::select! {
                _ = running.wait_for(|running| *running == 0), if self.0.has_scripts => {}
                _ = self.ended(), if !self.0.idle => {}
            }
        })
        .await;
        self.signal("KILL").await?;
        let ended = tokio::time::timeout(KILLED, self.ended()).await;
        ended.context("a container did not end within a minute of SIGKILL: look at the engine's host")??;
        self.0.killed.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Removes the container, whatever runs in it.
    ///
    /// # Errors
    /// When the engine does not do it; the container is then found among the leftovers.
    pub(crate) async fn remove(self) -> Result<()> {
        self.0.killing.store(true, Ordering::SeqCst);
        let _started = self.0.starting.lock().await;
        self.engine().remove(self.id()).await?;
        self.0.killed.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// Sends SIGTERM to each process. The engine speaks to the first alone, which for the sandbox's own shells is not
    /// the step; a shell inside reaches all.
    async fn ask_to_end(&self) {
        if !self.0.idle {
            let _ = self.signal("TERM").await;
        }
        let Some(shell) = self.0.shell else { return };
        let asking =
            CreateExecOptions { cmd: Some(vec![shell.own, "-c", "kill -TERM -1"]), ..Default::default() };
        let detached = StartExecOptions { detach: true, ..Default::default() };
        if let Ok(exec) = self.engine().docker().create_exec(self.id(), asking).await {
            let _ = self.engine().docker().start_exec(&exec.id, Some(detached)).await;
        }
    }

    /// Sends a signal to the main process. One that has ended, or never ran, needs none.
    async fn signal(&self, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        match self.engine().docker().kill_container(self.id(), Some(options)).await {
            Err(error) if !is(&error, 404) && !is(&error, 409) => {
                Err(self.engine().explain("kill a container", error))
            }
            _ => Ok(()),
        }
    }

    /// Waits until the main process has ended, and with it all others, and returns its exit code.
    pub(super) async fn ended(&self) -> Result<i64> {
        let options = WaitContainerOptionsBuilder::new().condition("not-running").build();
        let doing = "wait for the end of a container";
        let mut answer = self.engine().docker().wait_container(self.id(), Some(options));
        match answer.next().await {
            Some(Ok(end)) => Ok(end.status_code),
            // The library makes an error of each code above 0.
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
            Some(Err(error)) if is(&error, 404) && self.is_killing() => Ok(super::process::KILLED),
            Some(Err(error)) => Err(self.engine().explain(doing, error)),
            None => match cut(self.engine().address(), doing) {
                Trouble::Engine(error) => Err(error),
                Trouble::User(failure) | Trouble::Registry(failure) => Err(anyhow::anyhow!(failure.message)),
            },
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn id(&self) -> &str {
        &self.0.id
    }

    /// Where it can be seen on its host, while it runs; none where it cannot.
    pub(super) async fn seen(&self) -> Option<&Seen> {
        self.0.seen.get_or_init(|| self.engine().see(self.id())).await.as_ref()
    }

    pub(super) fn own_processes(&self) -> usize {
        self.0.own_processes
    }

    pub(super) fn targets(&self) -> &[PathBuf] {
        &self.0.targets
    }

    pub(super) fn shell(&self) -> Option<Shell> {
        self.0.shell
    }

    /// The folder of the host with what is passed to the container.
    pub(super) fn scripts(&self) -> &std::path::Path {
        &self.0.scripts
    }

    pub(super) fn workdir(&self) -> &str {
        &self.0.workdir
    }

    /// Whether somebody wants it to end, so that what fails now fails because of that.
    pub(super) fn is_killing(&self) -> bool {
        self.0.killing.load(Ordering::SeqCst)
    }

    /// Whether nothing runs in it any more.
    pub(super) fn is_killed(&self) -> bool {
        self.0.killed.load(Ordering::SeqCst)
    }

    /// Counts a script as running until the guard is dropped.
    pub(super) fn count(&self) -> Counted<'_> {
        self.0.running.send_modify(|running| *running += 1);
        Counted(&self.0.running)
    }

    /// Puts a script where the container sees it, and returns its path there.
    pub(super) fn put_script(&self, text: &str) -> Result<String> {
        spec::put(&self.0.scripts, self.0.script.fetch_add(1, Ordering::Relaxed), text)
    }
}

/// A script that runs.
pub(super) struct Counted<'a>(&'a watch::Sender<usize>);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}
