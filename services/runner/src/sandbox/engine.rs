//! The connection to the engine.
//!
//! Owns how the engine is found, and whose a container is. Never knows how requests travel. Invariant: a container of
//! another runner, or of another data folder's runner of the same name, is never removed while that folder is there.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, SystemInfo};
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder};
use events::beat::Running;
use events::id::RunnerId;
use tokio::sync::Mutex;

use super::connection;
use super::image::Images;
use super::network::Networks;
use super::trouble::{explain, is};
use crate::limits::Machine;
use crate::reach::NetworkSettings;

/// Where an engine is unless somebody says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

pub(super) const RUNNER: &str = "patchwave.runner";
pub(super) const HOME: &str = "patchwave.home";
const EXECUTION: &str = "patchwave.execution";
const JOB: &str = "patchwave.job";
const ATTEMPT: &str = "patchwave.attempt";

/// How the engine is reached, and what is asked of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct EngineOptions {
    /// Where it is; absent: `DOCKER_HOST`, else the default socket.
    pub(crate) host: Option<String>,
    /// What runs the jobs' containers; absent: what runs all others.
    pub(crate) runtime: Option<String>,
    /// What jobs may reach.
    pub(crate) networks: NetworkSettings,
}

/// A container engine. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine(Arc<Inner>);

struct Inner {
    docker: Docker,
    address: String,
    runner: RunnerId,
    home: String,
    images: Images,
    networks: Networks,
    runtime: Option<String>,
    /// Whether a named pipe of this host is one in a container too.
    shares_pipes: bool,
    machine: Machine,
    /// Held while an image is looked into, because that container belongs to no attempt and looks like a leftover.
    looking: Mutex<()>,
}

impl Engine {
    /// Connects to the engine and agrees on a version of its API. `home` is the runner's data folder, which tells its
    /// containers from those of a runner that has the same name elsewhere.
    ///
    /// # Errors
    /// When it cannot be reached, with what to do about it.
    pub(crate) async fn connect(options: &EngineOptions, runner: &RunnerId, home: &Path) -> Result<Self> {
        let (address, docker) = connect(options.host.clone()).await?;
        let home = std::path::absolute(home).context("cannot tell where the data folder is")?;
        let home = home.to_string_lossy().into_owned();
        let images = Images::default();
        let info = docker.info().await.map_err(|error| explain(&address, CONNECTING, error))?;
        let runtime = options.runtime.clone();
        knows(&info, runtime.as_deref())?;
        let networks = Networks::new(options.networks.clone(), runner.as_str(), &home);
        let machine = machine(&info);
        Ok(Self(Arc::new(Inner {
            docker,
            address,
            runner: runner.clone(),
            home,
            images,
            networks,
            shares_pipes: shares_pipes(&info, runtime.as_deref()),
            runtime,
            machine,
            looking: Mutex::default(),
        })))
    }

    /// Asks whether it answers now.
    pub(crate) async fn ping(&self) -> Result<()> {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.docker().ping()).await;
        let answer = answer.unwrap_or(Err(bollard::errors::Error::RequestTimeoutError));
        answer.map(drop).map_err(|error| self.explain("ask the container engine whether it is there", error))
    }

    /// What containers run on.
    pub(crate) fn machine(&self) -> Machine {
        self.0.machine
    }

    /// Whether [`Main::Scripts`](super::Main::Scripts) can be used.
    pub(crate) fn shares_pipes(&self) -> bool {
        self.0.shares_pipes
    }

    /// Removes the containers of this runner's attempts that need not be kept, and says how many it removed. `keep` is asked
    /// once the containers are known: an attempt that begins meanwhile has none among them, or is known to it.
    pub(crate) async fn remove_leftovers(&self, keep: impl Fn(&Running) -> bool) -> Result<usize> {
        let _nobody_looks = self.0.looking.lock().await;
        let mut networks = self.networks().lock().await;
        let found = self.containers_of(self.0.runner.as_str(), &self.0.home).await?;
        let is_running = |id: &str| {
            let state = |found: &ContainerSummary| found.state == Some(ContainerSummaryStateEnum::RUNNING);
            found.iter().any(|found| found.id.as_deref() == Some(id) && state(found))
        };
        networks.retain(|_, id| is_running(id));
        let mut removed = 0;
        for container in found {
            let of = container.labels.as_ref().and_then(attempt);
            let Some(id) = container.id else { continue };
            if of.is_some_and(|attempt| keep(&attempt)) || networks.values().any(|kept| **kept == *id) {
                continue;
            }
            self.remove(&id).await?;
            removed += 1;
        }
        Ok(removed)
    }

    /// The containers of a runner with this folder, in any state.
    pub(super) async fn containers_of(&self, runner: &str, home: &str) -> Result<Vec<ContainerSummary>> {
        let labels = HashMap::from([("label", vec![format!("{RUNNER}={runner}"), format!("{HOME}={home}")])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&labels).build();
        let found = self.docker().list_containers(Some(options)).await;
        found.map_err(|error| self.explain("list the containers", error))
    }

    /// Removes all that is this runner's: nothing runs any more.
    pub(crate) async fn close(&self) -> Result<()> {
        self.networks().lock().await.clear();
        self.remove_leftovers(|_| false).await?;
        self.close_networks().await
    }

    /// Removes a container, whatever runs in it. One that is gone already is no error.
    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker().remove_container(id, Some(options)).await {
            // 409: somebody else removes it right now.
            Err(error) if !is(&error, 404) && !is(&error, 409) => {
                Err(self.explain("remove a container", error))
            }
            _ => Ok(()),
        }
    }

    /// The labels that say whose a container is.
    pub(super) fn owner_labels(&self) -> HashMap<String, String> {
        HashMap::from([
            (RUNNER.to_owned(), self.0.runner.to_string()),
            (HOME.to_owned(), self.0.home.clone()),
        ])
    }

    /// The same, with the attempt.
    pub(super) fn attempt_labels(
        &self,
        execution: events::id::ExecutionId,
        attempt: &Running,
    ) -> HashMap<String, String> {
        let mut labels = self.owner_labels();
        labels.insert(EXECUTION.to_owned(), execution.to_string());
        labels.insert(JOB.to_owned(), attempt.job.to_string());
        labels.insert(ATTEMPT.to_owned(), attempt.attempt.to_string());
        labels
    }

    /// Whether a container with these labels is this runner's.
    pub(super) fn owns(&self, labels: &HashMap<String, String>) -> bool {
        self.owner_labels().iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// What runs the jobs' containers, if it was chosen.
    pub(super) fn runtime(&self) -> Option<&str> {
        self.0.runtime.as_deref()
    }

    /// The runner whose engine it is.
    pub(super) fn runner(&self) -> &RunnerId {
        &self.0.runner
    }

    /// The library's handle.
    pub(super) fn docker(&self) -> &Docker {
        &self.0.docker
    }

    /// Where the engine is, for messages.
    pub(super) fn address(&self) -> &str {
        &self.0.address
    }

    /// What is known of images.
    pub(super) fn images(&self) -> &Images {
        &self.0.images
    }

    /// The networks of the slots.
    pub(super) fn networks(&self) -> &Networks {
        &self.0.networks
    }

    /// Keeps a container that belongs to no attempt from being taken for a leftover.
    pub(super) async fn look(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.looking.lock().await
    }

    /// Says what failed, and what to do where the engine does not answer.
    pub(super) fn explain(&self, doing: &str, error: bollard::errors::Error) -> anyhow::Error {
        explain(&self.0.address, doing, error)
    }
}

const CONNECTING: &str = "connect to the container engine";

/// Finds the engine and agrees on a version of its API. Absent: `DOCKER_HOST`, else the default socket.
pub(super) async fn connect(host: Option<String>) -> Result<(String, Docker)> {
    let named = host.or_else(|| std::env::var("DOCKER_HOST").ok());
    let address = named.filter(|host| !host.is_empty()).unwrap_or_else(|| DEFAULT_HOST.to_owned());
    let docker = connection::connect(&address).with_context(|| {
        format!(
            "the engine's address `{address}` starts with neither unix:// nor tcp://: correct --docker-host or \
             DOCKER_HOST"
        )
    })?;
    let docker = docker.map_err(|error| explain(&address, CONNECTING, error))?;
    let docker = docker.negotiate_version().await.map_err(|error| explain(&address, CONNECTING, error))?;
    Ok((address, docker))
}

/// Checks what the engine says of itself.
fn knows(info: &SystemInfo, runtime: Option<&str>) -> Result<()> {
    let known = info.runtimes.as_ref();
    if let Some(runtime) = runtime
        && !runtime.starts_with("io.containerd.")
        && !known.is_some_and(|known| known.contains_key(runtime))
    {
        let mut names: Vec<_> = known.into_iter().flat_map(HashMap::keys).map(String::as_str).collect();
        names.sort_unstable();
        bail!(
            "the container engine knows no runtime `{runtime}`, only {}: name one of these with --runtime, or add it to \
             the engine's daemon.json",
            names.join(", ")
        );
    }
    let filters = info.security_options.as_deref().unwrap_or_default();
    if !filters.iter().any(|option| option.starts_with("name=seccomp")) {
        tracing::warn!(
            "the container engine does not filter system calls: jobs are less contained than they should be"
        );
    }
    Ok(())
}

/// Whether containers run on this very kernel and as the same users: elsewhere a pipe has no other end.
fn shares_pipes(info: &SystemInfo, runtime: Option<&str>) -> bool {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let plain = matches!(runtime.or(info.default_runtime.as_deref()), Some("runc" | "crun"));
    let mapped = info.security_options.as_ref().is_some_and(|options| {
        options.iter().any(|option| option.contains("userns") || option.contains("rootless"))
    });
    plain && !mapped && info.kernel_version.as_deref() == Some(kernel.trim())
}

fn machine(info: &SystemInfo) -> Machine {
    let memory_bytes = info.mem_total.and_then(|bytes| u64::try_from(bytes).ok());
    let cpus = info.ncpu.and_then(|cpus| u32::try_from(cpus).ok());
    Machine {
        memory_bytes: memory_bytes.unwrap_or(Machine::UNKNOWN.memory_bytes),
        cpus: cpus.unwrap_or(Machine::UNKNOWN.cpus),
    }
}

/// The attempt that the labels name.
fn attempt(labels: &HashMap<String, String>) -> Option<Running> {
    let job = labels.get(JOB)?.parse().ok()?;
    Some(Running { job, attempt: labels.get(ATTEMPT)?.parse().ok()? })
}
