//! The sweep: what runners left on this host that do not come back.
//!
//! Owns the question who those are: nobody claims their names here, and their folder, with all that they would go on with, is
//! not there any more. Never touches what another host's runners have on the same engine. Invariant: while something is
//! swept up its names are claimed, so that its owner is not in the middle of anything.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use sha2::{Digest as _, Sha256};

use super::super::Engine;
use super::super::engine::{HOME, RUNNER};
use super::bridge::Names;
use super::claim::claim;
use super::firewall;

/// On which host a bridge is: several may use one engine.
pub(super) const HOST: &str = "patchwave.host";

/// This host as its networks know it; none if it cannot be told from others.
pub(super) fn host() -> Option<String> {
    let machine = ["/etc/machine-id", "/proc/sys/kernel/random/boot_id"].into_iter();
    let machine = machine.filter_map(|file| std::fs::read_to_string(file).ok());
    let machine = machine.map(|text| text.trim().to_owned()).find(|text| !text.is_empty())?;
    let network = std::fs::metadata("/proc/self/ns/net").ok()?.ino();
    Some(hex::encode(&Sha256::digest(format!("{machine}:{network}"))[..6]))
}

impl Engine {
    /// Takes away what runners left that are gone.
    pub(super) async fn sweep(&self) -> Result<()> {
        let own = &self.networks().names;
        // A bridge that is not seen here is another host's, and so are the folders.
        let Some(host) = host().filter(|_| own.is_here()) else { return Ok(()) };
        let labels = HashMap::from([("label", vec![format!("{HOST}={host}")])]);
        let options = ListNetworksOptionsBuilder::new().filters(&labels).build();
        let found = self.docker().list_networks(Some(options)).await;
        for network in found.map_err(|error| self.explain("list the networks", error))? {
            let labels = network.labels.unwrap_or_default();
            let (Some(runner), Some(home)) = (labels.get(RUNNER), labels.get(HOME)) else { continue };
            let names = Names::new(runner, home);
            let is_gone = names.network != own.network && matches!(Path::new(home).try_exists(), Ok(false));
            let claimed = if is_gone { claim(&names.network).context("cannot claim a name")? } else { None };
            if claimed.is_some() {
                tracing::info!(runner, home, "removes what a runner left that is gone");
                self.bury(&names, (runner, home)).await?;
            }
        }
        let chains = tokio::task::spawn_blocking(drop_orphans);
        chains.await.context("the firewall's task ended early")?
    }

    async fn bury(&self, names: &Names, (runner, home): (&str, &str)) -> Result<()> {
        for container in self.containers_of(runner, home).await? {
            if let Some(id) = container.id {
                self.remove(&id).await?;
            }
        }
        self.remove_bridge(names).await?;
        names.open().await
    }
}

/// Takes away rules for bridges that are not there, whose runners are not either. Blocks.
fn drop_orphans() -> Result<()> {
    for digest in firewall::digests()? {
        let names = Names::of(&digest);
        if names.is_here() {
            continue;
        }
        if let Some(_claimed) = claim(&names.network).context("cannot claim a name")? {
            names.outside().open()?;
        }
    }
    Ok(())
}
