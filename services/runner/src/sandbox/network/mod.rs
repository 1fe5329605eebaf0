//! Networks: one for each slot and reach, which the jobs of that slot use one after the other.
//!
//! Owns the containers that do nothing but hold a network, and what can be reached from there. Never lets two slots share
//! one, and never lets anybody join one before its rules are there. Invariant: a network is used by one job at a time, and
//! no process of a job outlives its container, so nothing that listens is there for the next.
//!
//! To make a network costs the engine more than all the rest of a container: joining one that is there is free.

mod bridge;
mod claim;
mod firewall;
mod program;
mod rules;
mod sweep;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use anyhow::{Context as _, Result, bail};
use bollard::models::{ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::CreateImageOptionsBuilder;
use bytes::Bytes;
use futures::StreamExt as _;
use ipnet::Ipv4Net;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::trouble::is;
use super::{Engine, Place};
use crate::reach::{NetworkSettings, Peer, Reach};
use bridge::Names;
use claim::Claim;
use firewall::Inside;
use rules::Policy;

/// Which slot's network a container holds.
const SLOT: &str = "patchwave.slot";

/// Where the program is in its image.
const PROGRAM: &str = "/hold";

/// What to do where a network cannot be closed.
const REFUSAL: &str = "jobs with a network could reach this host and private networks, so none are run: let the runner run \
    as root on the container engine's host, or start it with `--network none` (no job has a network) or `--network \
    unrestricted` (all reach what this host reaches)";

/// How many processes and threads the container may have: the engine's own few, which make it.
const PIDS: i64 = 32;

/// The containers that hold the networks.
pub(super) struct Networks {
    held: Mutex<HashMap<Place, Arc<str>>>,
    /// Those in which something may still run.
    distrusted: std::sync::Mutex<Vec<Place>>,
    settings: NetworkSettings,
    names: Names,
    /// The settings with the names looked up.
    policy: OnceCell<Policy>,
    /// The claim to the names.
    claim: std::sync::Mutex<Option<Claim>>,
    /// Whether this process has swept up after others.
    swept: AtomicBool,
}

impl Networks {
    pub(super) fn new(settings: NetworkSettings, runner: &str, home: &str) -> Self {
        let names = Names::new(runner, home);
        let (held, distrusted, policy, claim, swept) = Default::default();
        Self { held, distrusted, settings, names, policy, claim, swept }
    }

    /// Forgets a place's network, because a container could not join it.
    pub(super) async fn forget(&self, place: Place) {
        self.lock().await.remove(&place);
    }

    /// Lets nobody else use a place's network, because something may still run in it that no attempt's end takes away.
    pub(super) fn distrust(&self, place: Place) {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).push(place);
    }

    /// Keeps networks from coming and going.
    pub(super) async fn lock(&self) -> MutexGuard<'_, HashMap<Place, Arc<str>>> {
        let mut held = self.held.lock().await;
        for place in self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            held.remove(&place);
        }
        held
    }

    /// Claims the names. Another process of this runner may have them still: the next look tries again.
    fn claim(&self) -> Result<()> {
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if claim.is_none() {
            *claim = claim::claim(&self.names.network).context("cannot claim the networks' name")?;
        }
        Ok(())
    }

    async fn policy(&self) -> Result<&Policy> {
        self.policy.get_or_try_init(|| look_up(&self.settings)).await
    }
}

/// Finds out the addresses behind what a site says.
async fn look_up(settings: &NetworkSettings) -> Result<Policy> {
    let mut deny = Vec::new();
    for peer in &settings.deny {
        match peer {
            Peer::Range(range) => deny.push(range.0),
            Peer::Host(name) => {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await;
                let found =
                    found.with_context(|| format!("cannot look up `{name}`, which jobs must not reach"))?;
                deny.extend(found.filter_map(|address| match address.ip() {
                    IpAddr::V4(address) => Some(Ipv4Net::from(address)),
                    IpAddr::V6(_) => None,
                }));
            }
        }
    }
    let resolvers = match settings.resolvers.as_slice() {
        [] => firewall::host_resolvers(),
        resolvers => resolvers.to_vec(),
    };
    Ok(Policy { allow: settings.allow.iter().map(|range| range.0).collect(), deny, resolvers })
}

impl Engine {
    /// Makes ready what networks need, as far as it is not there.
    ///
    /// # Errors
    /// When jobs could reach what they must not, with what to do about it.
    pub(crate) async fn open_networks(&self) -> Result<()> {
        let networks = self.networks();
        if networks.settings.most > Reach::None {
            networks.claim()?;
        }
        if networks.settings.most == Reach::Egress {
            let policy = networks.policy().await?;
            networks.names.close(policy.clone()).await.context(REFUSAL)?;
        }
        if networks.settings.most > Reach::None {
            self.make_bridge(&networks.names).await?;
        }
        // Who has no rights over the host's rules has left none there.
        if networks.settings.most == Reach::Egress
            && !networks.swept.swap(true, Ordering::SeqCst)
            && let Err(error) = self.sweep().await
        {
            tracing::warn!(
                error = format!("{error:#}"),
                "what other runners left stays until the next start"
            );
        }
        Ok(())
    }

    /// Takes away what networks needed.
    pub(super) async fn close_networks(&self) -> Result<()> {
        let networks = self.networks();
        self.remove_bridge(&networks.names).await?;
        if networks.settings.most == Reach::Egress { networks.names.open().await } else { Ok(()) }
    }

    /// The container whose network the jobs of a place use; it is made if it is not there.
    pub(super) async fn network(&self, place: Place) -> Result<Arc<str>> {
        let mut networks = self.networks().lock().await;
        if let Some(id) = networks.get(&place) {
            return Ok(Arc::clone(id));
        }
        let image = self.holder_image().await.context("cannot make the image that holds a network")?;
        let id = self.hold(place, image).await?;
        if place.reach == Reach::Egress
            && let Err(error) = self.restrict(&id).await
        {
            self.remove(&id).await?;
            return Err(error.context(REFUSAL));
        }
        let id: Arc<str> = id.into();
        networks.insert(place, Arc::clone(&id));
        Ok(id)
    }

    /// Loads the rules into the network of a container that nobody has joined yet.
    async fn restrict(&self, container: &str) -> Result<()> {
        let doing = "find the process that holds a slot's network";
        let found = self.docker().inspect_container(container, None).await;
        let state = found.map_err(|error| self.explain(doing, error))?.state;
        let pid =
            state.and_then(|state| state.pid).with_context(|| format!("cannot {doing}: it has ended"))?;
        let (policy, names) = (self.networks().policy().await?.clone(), self.networks().names.clone());
        let container = container.to_owned();
        let restricted = tokio::task::spawn_blocking(move || {
            firewall::close_inside(&Inside { container: &container, pid }, &policy)?;
            names.isolate()
        });
        restricted.await.context("the firewall's task ended early")?
    }

    /// Starts a container that does nothing.
    async fn hold(&self, place: Place, image: String) -> Result<String> {
        let mut labels = self.owner_labels();
        labels.insert(SLOT.to_owned(), place.slot.to_string());
        let (network, dns) = match place.reach {
            Reach::None => ("none".to_owned(), None),
            Reach::Unrestricted => (self.networks().names.network.clone(), None),
            Reach::Egress => {
                let resolvers = &self.networks().policy().await?.resolvers;
                // None but the host's own: the engine asks them from outside.
                let dns =
                    (!resolvers.is_empty()).then(|| resolvers.iter().map(Ipv4Addr::to_string).collect());
                (self.networks().names.network.clone(), dns)
            }
        };
        let body = ContainerCreateBody {
            image: Some(image),
            labels: Some(labels),
            entrypoint: Some(vec![PROGRAM.to_owned()]),
            healthcheck: Some(HealthConfig { test: Some(vec!["NONE".to_owned()]), ..Default::default() }),
            host_config: Some(HostConfig {
                network_mode: Some(network),
                dns,
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

#[cfg(test)]
impl Engine {
    /// The bridge's name on the host.
    pub(super) fn device(&self) -> String {
        self.networks().names.device.clone()
    }
}

#[cfg(test)]
pub(super) fn try_to_restrict(container: &str, pid: i64) -> Result<()> {
    firewall::close_inside(&Inside { container, pid }, &Policy::default())
}
