//! What the kernel enforces of a container's limits.
//!
//! Owns their translation for the engine, and the question whether memory ran out. What the kernel cannot bound, the space
//! on a disk, is watched elsewhere.

use std::path::PathBuf;

use anyhow::Result;
use bollard::models::{HostConfig, ResourcesUlimits};
use bollard::query_parameters::InspectContainerOptionsBuilder;

use super::Container;
use crate::limits::Limits;

/// How many files a process may have open: what the usual tools are content with, and less than any engine grants by itself.
const OPEN_FILES: i64 = 16_384;

/// What `/dev/shm` holds. It counts as memory too.
const SHARED_MEMORY: i64 = 64 << 20;

/// How much sooner than anything else of the host a job is to die when the host itself has no memory left.
const EXPENDABLE: i64 = 500;

/// Adds the limits to what a container may do.
pub(super) fn limit(config: HostConfig, limits: &Limits) -> HostConfig {
    // One file can be no larger than what all of them may take.
    let file = signed(limits.workspace_bytes.max(limits.image_bytes));
    HostConfig {
        memory: Some(signed(limits.memory_bytes)),
        // Memory and swap together: there is none.
        memory_swap: Some(signed(limits.memory_bytes)),
        nano_cpus: limits.cpu_millis.map(|millis| i64::from(millis) * 1_000_000),
        pids_limit: Some(limits.pids.into()),
        shm_size: Some(SHARED_MEMORY),
        oom_score_adj: Some(EXPENDABLE),
        ulimits: Some(vec![ulimit("core", 0), ulimit("nofile", OPEN_FILES), ulimit("fsize", file)]),
        ..config
    }
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Container {
    /// Whether the kernel killed a process of it for want of memory. Known once the container has ended.
    ///
    /// # Errors
    /// When the engine does not say.
    pub(crate) async fn ran_out_of_memory(&self) -> Result<bool> {
        let found = self.engine().docker().inspect_container(self.id(), None).await;
        let found = found.map_err(|error| self.engine().explain("learn how a container ended", error))?;
        Ok(found.state.and_then(|state| state.oom_killed).unwrap_or(false))
    }

    /// The folder of the host with what was written into the container's own layer; none where the engine has no such, or
    /// is elsewhere.
    pub(crate) async fn layer(&self) -> Result<Layer> {
        let found = self.engine().docker().inspect_container(self.id(), None).await;
        let found = found.map_err(|error| self.engine().explain("learn where a container is", error))?;
        let data = found.graph_driver.map(|driver| driver.data).unwrap_or_default();
        let upper = data.get("UpperDir").map(PathBuf::from).filter(|path| path.is_dir());
        Ok(upper.map_or_else(|| Layer::Asked(self.clone()), Layer::Seen))
    }

    /// What was written into the container's own layer, as the engine says it, in bytes.
    pub(crate) async fn written_bytes(&self) -> Result<u64> {
        let options = InspectContainerOptionsBuilder::new().size(true).build();
        let found = self.engine().docker().inspect_container(self.id(), Some(options)).await;
        let found = found.map_err(|error| self.engine().explain("learn how large a container is", error))?;
        Ok(found.size_rw.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default())
    }
}

/// How a container's own layer can be measured.
pub(crate) enum Layer {
    /// It is a folder of this host.
    Seen(PathBuf),
    /// The engine has to be asked.
    Asked(Container),
}
