//! Size: how much a build adds to the engine's disk.
//!
//! Owns the look at the containers in which a build's lines run, at the pace of ADR 20, and at the image in the end. Believes
//! nothing that a build prints: its containers are those that use the network it was given. Never removes anything. Invariant:
//! what an image has counts in full down to one that somebody else tagged or that came from elsewhere, whether a line of its
//! Dockerfile ran now or an earlier build had run it.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bollard::query_parameters::ListContainersOptionsBuilder;
use rustix::io::Errno;
use tokio::time::Instant;

use super::super::{Engine, Layer};
use super::build;
use crate::usage::{FIRST_LOOK, Usage, measured, pause_after};

/// What the engine calls a layer that was pulled and is no image by itself.
const MISSING: &str = "<missing>";

/// What the containers of one build have written.
pub(super) struct Growth {
    engine: Engine,
    /// The container whose network the build has, and no other job.
    network: Arc<str>,
    most: u64,
    /// Where each container's layer is, and the most that was seen in it. A line that has ended has made a layer of it.
    layers: HashMap<String, (Layer, u64)>,
}

impl Growth {
    pub(super) fn new(engine: &Engine, network: &Arc<str>, most: u64) -> Self {
        Self { engine: engine.clone(), network: Arc::clone(network), most, layers: HashMap::new() }
    }

    /// Waits until the build has written more than it may.
    pub(super) async fn reached(mut self) {
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            let began = Instant::now();
            match self.look().await {
                Ok(bytes) if bytes > self.most => return,
                Ok(_) => {}
                // A container that has just ended is the usual reason.
                Err(error) => {
                    tracing::debug!(error = format!("{error:#}"), "the growth of a build is not known")
                }
            }
            pause = pause_after(began.elapsed());
        }
    }

    /// Looks once, and says what all of them have written.
    async fn look(&mut self) -> Result<u64> {
        for id in self.containers().await? {
            if !self.layers.contains_key(&id) {
                let layer = self.engine.layer(&id).await?;
                self.layers.insert(id.clone(), (layer, 0));
            }
            let others = self.layers.iter().filter(|(other, _)| **other != id);
            let others: u64 = others.map(|(_, (_, bytes))| *bytes).sum();
            let Some((layer, seen)) = self.layers.get_mut(&id) else { continue };
            let most = Usage { bytes: self.most.saturating_sub(others), ..Usage::ANY };
            let bytes = match layer {
                Layer::Seen(folder) => match measured(folder, most).await? {
                    Ok(usage) => usage.bytes,
                    Err(Errno::NAMETOOLONG) => u64::MAX,
                    Err(error) => return Err(error).context("cannot look at the layer of a build"),
                },
                Layer::Asked => self.engine.written_bytes(&id).await?,
            };
            *seen = bytes.max(*seen);
        }
        Ok(self.layers.values().fold(0, |all, (_, bytes)| all.saturating_add(*bytes)))
    }

    /// The containers that the engine runs lines in: they have the build's network and are nobody's attempt.
    async fn containers(&self) -> Result<Vec<String>> {
        let options = ListContainersOptionsBuilder::new().build();
        let found = self.engine.docker().list_containers(Some(options)).await;
        let found = found.map_err(|error| self.engine.explain("list the containers", error))?;
        let network = format!("container:{}", self.network);
        let of_build = found.into_iter().filter(|one| {
            let mode = one.host_config.as_ref().and_then(|config| config.network_mode.as_deref());
            let is_attempt = one.labels.as_ref().is_some_and(|labels| self.engine.owns(labels));
            mode == Some(network.as_str()) && !is_attempt
        });
        Ok(of_build.filter_map(|one| one.id).collect())
    }
}

impl Engine {
    /// By how many bytes an image is larger than the one that its Dockerfile begins with.
    pub(super) async fn bytes_beyond_base(&self, name: &str) -> Result<u64> {
        let layers = self.docker().image_history(name).await;
        let layers = layers.map_err(|error| self.explain(&format!("inspect the image `{name}`"), error))?;
        // The newest comes first.
        let own = layers.iter().take_while(|layer| {
            let came_from_elsewhere = layer.id == MISSING;
            !came_from_elsewhere && layer.tags.iter().all(|tag| build::is_own(tag))
        });
        Ok(own.fold(0, |all, layer| all.saturating_add(u64::try_from(layer.size).unwrap_or_default())))
    }
}
