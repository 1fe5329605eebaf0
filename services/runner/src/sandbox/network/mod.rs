//! Networks: one for each slot, which the jobs of that slot use one after the other.
//!
//! Owns the containers that do nothing but hold a network. Never lets two slots share one. Invariant: a network is used by
//! one job at a time, and no process of a job outlives its container, so nothing that listens is there for the next.
//!
//! To make a network costs the engine more than all the rest of a container: joining one that is there is free.

mod program;

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard};

use super::Engine;
use super::trouble::is;

/// Which slot's network a container holds.
const SLOT: &str = "patchwave.slot";

/// Where the program is in its image.
const PROGRAM: &str = "/hold";

/// How many processes and threads the container may have: the engine's own few, which make it.
const PIDS: i64 = 32;

/// The containers that hold the networks, by slot.
#[derive(Default)]
pub(super) struct Networks(Mutex<HashMap<u32, Arc<str>>>);

impl Networks {
    /// Forgets a slot's network, because a container could not join it.
    pub(super) async fn forget(&self, slot: u32) {
        self.0.lock().await.remove(&slot);
    }

    /// Keeps networks from coming and going.
    pub(super) async fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<str>>> {
        self.0.lock().await
    }
}

impl Engine {
    /// The container whose network the jobs of a slot use; it is made if it is not there.
    pub(super) async fn network(&self, slot: u32) -> Result<Arc<str>> {
        let mut networks = self.networks().lock().await;
        if let Some(id) = networks.get(&slot) {
            return Ok(Arc::clone(id));
        }
        let image = self.holder_image().await.context("cannot make the image that holds a network")?;
        let id: Arc<str> = self.hold(slot, image).await?.into();
        networks.insert(slot, Arc::clone(&id));
        Ok(id)
    }

    /// Starts a container that does nothing.
    async fn hold(&self, slot: u32, image: String) -> Result<String> {
        let mut labels = self.owner_labels();
        labels.insert(SLOT.to_owned(), slot.to_string());
        let body = ContainerCreateBody {
            image: Some(image),
            labels: Some(labels),
            entrypoint: Some(vec![PROGRAM.to_owned()]),
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
            host_config: Some(HostConfig {
                cap_drop: Some(vec!["ALL".to_owned()]),
                security_opt: Some(vec!["no-new-privileges".to_owned()]),
                readonly_rootfs: Some(true),
                pids_limit: Some(PIDS),
                log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let doing = "make a slot's network";
        let created = self.docker().create_container(None, body).await;
        let id = created.map_err(|error| self.explain(doing, error))?.id;
        if let Err(error) = self.docker().start_container(&id, None).await {
            self.remove(&id).await?;
            return Err(self.explain(doing, error));
        }
        Ok(id)
    }

    /// The name of the image with the program, which is made if the engine does not have it.
    async fn holder_image(&self) -> Result<String> {
        let doing = "make the image that holds a network";
        let version = self.docker().version().await.map_err(|error| self.explain(doing, error))?;
        let architecture = version.arch.unwrap_or_default();
        let Some(program) = program::for_architecture(&architecture) else {
            bail!("the container engine runs on `{architecture}`: runners know amd64 and arm64");
        };
        let (repository, tag) = ("patchwave-network", &hex::encode(Sha256::digest(&program))[..16]);
        let name = format!("{repository}:{tag}");
        match self.docker().inspect_image(&name).await {
            Ok(_) => return Ok(name),
            Err(error) if is(&error, 404) => {}
            Err(error) => return Err(self.explain(doing, error)),
        }
        let options = CreateImageOptionsBuilder::new().from_src("-").repo(repository).tag(tag).build();
        let mut answers =
            self.docker().create_image(Some(options), Some(bollard::body_full(archive(&program)?)), None);
        while let Some(answer) = answers.next().await {
            answer.map_err(|error| self.explain(doing, error))?;
        }
        Ok(name)
    }
}

/// The image's files, as a tar.
fn archive(program: &[u8]) -> Result<Bytes> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, PROGRAM.trim_start_matches('/'), program)?;
    Ok(archive.into_inner()?.into())
}
