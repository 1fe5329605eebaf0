//! The bridge of a runner, on which the networks of its slots are.
//!
//! Owns one network of the engine, named after the runner and its folder, so that what a dead runner left is found and
//! used again. Never is there a bridge without the rules outside, unless the site says that it wants none.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use bollard::models::NetworkCreateRequest;
use sha2::{Digest as _, Sha256};

use super::super::Engine;
use super::super::trouble::is;
use super::firewall::Outside;
use super::rules::{CHAIN, DEVICE, Policy};
use super::sweep::{HOST, host};

/// Names that go with a runner and its folder. A network device's has at most 15 bytes.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) network: String,
    pub(super) device: String,
    chain: String,
    /// Whether the rules are those of this process.
    closed: Arc<AtomicBool>,
}

impl Names {
    pub(super) fn new(runner: &str, home: &str) -> Self {
        Self::of(&hex::encode(&Sha256::digest(format!("{}:{runner}:{home}", runner.len()))[..6]))
    }

    /// The names that end so.
    pub(super) fn of(digest: &str) -> Self {
        Self {
            network: format!("patchwave-{digest}"),
            device: format!("{DEVICE}{digest}"),
            chain: format!("{CHAIN}{digest}"),
            closed: Arc::default(),
        }
    }

    /// Whether the bridge is on this host.
    pub(super) fn is_here(&self) -> bool {
        Path::new("/sys/class/net").join(&self.device).exists()
    }

    pub(super) fn outside(&self) -> Outside<'_> {
        Outside { bridge: &self.device, chain: &self.chain }
    }

    /// Closes the way from the bridge to what is out of reach. Rules that are there are left as they are, unless this is
    /// the first time: they may be an earlier runner's.
    pub(super) async fn close(&self, policy: Policy) -> Result<()> {
        let names = self.clone();
        let closed = tokio::task::spawn_blocking(move || {
            if names.closed.load(Ordering::SeqCst) {
                if names.outside().is_closed()? {
                    return Ok(());
                }
                tracing::warn!(
                    "the rules of the jobs' networks were gone from this host, and are loaded again"
                );
            }
            names.outside().close(&policy)?;
            names.closed.store(true, Ordering::SeqCst);
            Ok(())
        });
        closed.await.context("the firewall's task ended early")?
    }

    /// Takes the rules away.
    pub(super) async fn open(&self) -> Result<()> {
        let names = self.clone();
        let opened = tokio::task::spawn_blocking(move || names.outside().open());
        opened.await.context("the firewall's task ended early")?
    }

    /// Keeps the networks on the bridge from speaking to one another, in whatever language. Blocks.
    pub(super) fn isolate(&self) -> Result<()> {
        let ports = Path::new("/sys/class/net").join(&self.device).join("brif");
        for port in std::fs::read_dir(&ports).with_context(|| format!("there is no {}", ports.display()))? {
            let switch = port.context("cannot list the networks on the bridge")?.path().join("isolated");
            match std::fs::write(&switch, "1") {
                // A network went away meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                written => written.with_context(|| format!("cannot write {}", switch.display()))?,
            }
        }
        Ok(())
    }
}

impl Engine {
    /// Makes the bridge, or finds it.
    pub(super) async fn make_bridge(&self, names: &Names) -> Result<()> {
        let doing = "make the network of this runner's jobs";
        let option =
            |name: &str, value: &str| (format!("com.docker.network.bridge.{name}"), value.to_owned());
        let wanted = HashMap::from([option("name", &names.device), option("enable_icc", "false")]);
        let mut labels = self.owner_labels();
        labels.extend(host().map(|host| (HOST.to_owned(), host)));
        match self.docker().inspect_network(&names.network, None).await {
            Ok(found)
                if found.options.as_ref() == Some(&wanted) && found.labels.as_ref() == Some(&labels) =>
            {
                return Ok(());
            }
            Ok(_) => self.remove_bridge(names).await?,
            Err(error) if is(&error, 404) => {}
            Err(error) => return Err(self.explain(doing, error)),
        }
        let request = NetworkCreateRequest {
            name: names.network.clone(),
            driver: Some("bridge".to_owned()),
            options: Some(wanted),
            labels: Some(labels),
            ..Default::default()
        };
        self.docker().create_network(request).await.map_err(|error| self.explain(doing, error))?;
        Ok(())
    }

    /// Removes the bridge. None of its networks may be left.
    pub(super) async fn remove_bridge(&self, names: &Names) -> Result<()> {
        match self.docker().remove_network(&names.network).await {
            Err(error) if !is(&error, 404) => {
                Err(self.explain("remove the network of this runner's jobs", error))
            }
            _ => Ok(()),
        }
    }
}
