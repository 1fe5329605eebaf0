//! What the kernel enforces of a container's limits.
//!
//! Owns their translation for the engine, and the question whether memory ran out. What the kernel cannot bound, the space
//! on a disk, is watched elsewhere.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bollard::models::{ContainerInspectResponse, HostConfig, ResourcesUlimits};
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptionsBuilder};
use futures::StreamExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::process::KILLED;
use super::traces::Seen;
use super::{Container, Engine};
use crate::limits::Limits;

/// How many files a process may have open: what the usual tools are content with, and less than any engine grants by itself.
const OPEN_FILES: i64 = 16_384;

/// What `/dev/shm` holds. It counts as memory too.
const SHARED_MEMORY: i64 = 64 << 20;

/// How much sooner than anything else of the host a job is to die when the host itself has no memory left.
const EXPENDABLE: i64 = 500;

/// How long after its end the engine may still be told of the kill that ended a container.
pub(super) const LATE: Duration = Duration::from_secs(1);

/// The same of a kill after which a step could still say something else. Every step that fails waits so long for its reason.
const LESS_LATE: Duration = Duration::from_millis(300);

/// How long ago a kill may be that ended a step just now.
const RECENT: Duration = Duration::from_secs(10);

/// Adds the limits to what a container may do.
pub(super) fn limit(config: HostConfig, limits: &Limits) -> HostConfig {
    // One file can be no larger than what all of them may take.
    let file = signed(limits.workspace_bytes.max(limits.image_bytes));
    let [core, files] = of_a_process();
    HostConfig {
        memory: Some(signed(limits.memory_bytes)),
        // Memory and swap together: there is none.
        memory_swap: Some(signed(limits.memory_bytes)),
        nano_cpus: limits.cpu_millis.map(|millis| i64::from(millis) * 1_000_000),
        pids_limit: Some(limits.pids.into()),
        shm_size: Some(SHARED_MEMORY),
        oom_score_adj: Some(EXPENDABLE),
        ulimits: Some(vec![core, files, ulimit("fsize", file)]),
        ..config
    }
}

/// The same for a build, as parameters of the engine's address: those of its limits that hold for one.
///
/// # Errors
/// When they cannot be written as JSON.
pub(super) fn build_parameters(limits: &Limits) -> serde_json::Result<String> {
    let memory = signed(limits.memory_bytes);
    let ulimits = serde_json::to_string(&of_a_process())?;
    let ulimits = utf8_percent_encode(&ulimits, NON_ALPHANUMERIC);
    Ok(format!("memory={memory}&memswap={memory}&shmsize={SHARED_MEMORY}&ulimits={ulimits}"))
}

/// What each process may have, whatever the job may: no memory dumps, and so many open files.
fn of_a_process() -> [ResourcesUlimits; 2] {
    [ulimit("core", 0), ulimit("nofile", OPEN_FILES)]
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Container {
    /// Whether the kernel killed a process of it for want of memory. Known once the container has ended; `exit_code` is how the
    /// step in it did.
    ///
    /// # Errors
    /// When the engine does not say.
    pub(crate) async fn ran_out_of_memory(&self, exit_code: i64) -> Result<bool> {
        let found = self.engine().docker().inspect_container(self.id(), None).await;
        let found = found.map_err(|error| self.engine().explain("learn how a container ended", error))?;
        let known = found.state.and_then(|state| state.oom_killed).unwrap_or(false);
        if known {
            return Ok(true);
        }
        // Of a kill right before the end the engine may be told after it noted the end.
        let late = if exit_code == KILLED { LATE } else { LESS_LATE };
        let now = SystemTime::now();
        Ok(self.engine().ran_out_of_memory(&[self.id().to_owned()], now - RECENT..now + late).await)
    }

    /// How many processes of it the kernel has killed so far for want of memory; none where that cannot be seen: nothing runs
    /// in it any more, or it is on another host.
    pub(crate) async fn memory_kills(&self) -> Option<u64> {
        counted(&std::fs::read_to_string(&self.seen().await?.kills).ok()?)
    }
}

impl Engine {
    /// Whether the kernel killed something in one of these containers for want of memory, as far as the engine is told in that
    /// time, which may have begun: it knows what happened of late. They may be gone. Containers are named by the beginning
    /// of their ids.
    pub(super) async fn ran_out_of_memory(&self, containers: &[String], within: Range<SystemTime>) -> bool {
        let filters = [("type", vec!["container".to_owned()]), ("event", vec!["oom".to_owned()])];
        let (since, until) = (seconds(within.start), seconds(within.end));
        let options =
            EventsOptionsBuilder::new().since(&since).until(&until).filters(&filters.into()).build();
        let mut happened = self.docker().events(Some(options));
        while let Some(event) = happened.next().await {
            match event {
                Ok(event) => {
                    let id = event.actor.and_then(|actor| actor.id).unwrap_or_default();
                    if containers.iter().any(|part| !part.is_empty() && id.starts_with(part)) {
                        return true;
                    }
                }
                Err(error) => tracing::warn!(%error, "it is not known whether memory ran out"),
            }
        }
        false
    }

    /// How what was written into a container's own layer can be measured.
    pub(crate) async fn layer(&self, container: &str) -> Result<Layer> {
        let found = self.docker().inspect_container(container, None).await;
        let found = found.map_err(|error| self.explain("learn where a container is", error))?;
        Ok(layer_of(&found).map_or(Layer::Asked, Layer::Seen))
    }

    /// Where a container that runs can be seen on this host.
    pub(super) async fn see(&self, container: &str) -> Option<Seen> {
        let found = self.docker().inspect_container(container, None).await.ok()?;
        let layer = layer_of(&found);
        let kills = counter(found.state?.pid?, container)?;
        Some(Seen { processes: kills.with_file_name("cgroup.procs"), kills, layer })
    }

    /// What was written into a container's own layer, as the engine says it, in bytes.
    pub(crate) async fn written_bytes(&self, container: &str) -> Result<u64> {
        let options = InspectContainerOptionsBuilder::new().size(true).build();
        let found = self.docker().inspect_container(container, Some(options)).await;
        let found = found.map_err(|error| self.explain("learn how large a container is", error))?;
        Ok(found.size_rw.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default())
    }
}

/// The folder of this host in which a container's own layer is.
fn layer_of(container: &ContainerInspectResponse) -> Option<PathBuf> {
    let upper = container.graph_driver.as_ref()?.data.get("UpperDir")?;
    Some(PathBuf::from(upper)).filter(|path| path.is_dir())
}

/// A time as the engine takes it: seconds and nanoseconds.
fn seconds(time: SystemTime) -> String {
    let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
}

/// How a container's own layer can be measured.
pub(crate) enum Layer {
    /// It is a folder of this host.
    Seen(PathBuf),
    /// The engine has no such, or is elsewhere: it has to be asked.
    Asked,
}

/// The file with the kernel's count for a container, whose process this is.
fn counter(pid: i64, container: &str) -> Option<PathBuf> {
    let groups = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("cgroup")).ok()?;
    let file = group_file(&groups, container)?;
    file.is_file().then_some(file)
}

/// The same, by what the process says of its groups: with one hierarchy for each controller, or one for all.
fn group_file(groups: &str, container: &str) -> Option<PathBuf> {
    let of = |controller: &str| {
        let mut lines = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let path = lines.find(|(names, _)| names.split(',').any(|name| name == controller))?.1;
        // Otherwise the number is no longer that of a process of the container.
        path.contains(container).then_some(path.trim_start_matches('/'))
    };
    let root = Path::new("/sys/fs/cgroup");
    match of("memory") {
        Some(path) => Some(root.join("memory").join(path).join("memory.oom_control")),
        None => Some(root.join(of("")?).join("memory.events")),
    }
}

fn counted(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_count_is_found_in_both_of_its_forms() {
        let apart = "5:pids:/docker/abc\n4:memory:/docker/abc\n0::/docker/abc\n";
        let file = |groups: &str| group_file(groups, "abc").map(|file| file.display().to_string());
        assert_eq!(file(apart).as_deref(), Some("/sys/fs/cgroup/memory/docker/abc/memory.oom_control"));
        let one = "0::/system.slice/docker-abc.scope\n";
        assert_eq!(file(one).as_deref(), Some("/sys/fs/cgroup/system.slice/docker-abc.scope/memory.events"));
        assert_eq!(file("4:memory:/user.slice\n0::/user.slice\n"), None);
        assert_eq!(counted("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(counted("low 0\noom 4\noom_kill 2\noom_group_kill 0\n"), Some(2));
    }
}
