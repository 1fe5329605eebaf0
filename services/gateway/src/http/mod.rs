//! HTTP: the routes, and what holds for all of them.
//!
//! Owns limits on requests, on time and on open streams, and the orderly end. Never decides.

mod answer;
mod files;
mod graphql;
mod guard;
mod identify;
mod page;
mod provider;
mod ready;
mod signing;
mod streams;
mod unread;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post, put};
use axum::serve::ListenerExt as _;
use broker::Broker;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Caller, Token};
use crate::command::Commands;
use crate::files::Files;
use crate::fleet::Fleet;
use crate::projection::Projection;
use crate::schema::{Graph, graph};

/// The largest request: a definition or ten thousand addresses, as JSON.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// How many streams may be open at once; each has a consumer at the broker.
const STREAMS: usize = 1_000;

/// How long requests may go on after the order to stop.
const GRACE: Duration = Duration::from_secs(10);

/// What every request needs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) graph: Graph,
    pub(crate) projection: Projection,
    pub(crate) broker: Broker,
    pub(crate) files: Files,
    pub(crate) access: Access,
    /// Whether only this machine reaches it.
    pub(crate) loopback: bool,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

impl Gateway {
    /// Over a projection and a log.
    pub(crate) fn new(
        (projection, broker): (Projection, Broker),
        files: Files,
        access: Access,
        stop: CancellationToken,
    ) -> Self {
        let graph = graph(&projection, Fleet::follow(&broker), files.clone());
        let streams = Arc::new(Semaphore::new(STREAMS));
        Self { graph, projection, broker, files, access, loopback: true, streams, stop }
    }

    /// The commands in somebody's name.
    pub(crate) fn commands(&self, caller: Caller) -> Commands {
        Commands {
            broker: self.broker.clone(),
            files: self.files.clone(),
            projection: self.projection.clone(),
            passwords: self.access.passwords.clone(),
            caller,
        }
    }
}

fn router(gateway: Gateway) -> Router {
    // What stands before `identify` is for those who are known; what stands after it is open.
    Router::new()
        .route("/graphql", post(graphql::execute))
        .route("/files", get(files::limits))
        .route("/files/{sha256}", put(files::put))
        .route("/signout", post(signing::sign_out))
        .route("/actions/{id}/revisions/{revision}/files", get(streams::revision_files))
        .route("/executions/{id}/events", get(streams::events))
        .route("/jobs/{id}/log", get(streams::log))
        .route("/jobs/{id}/patch", get(streams::job_patch))
        .route("/plans/{id}/changesets/{position}/patch", get(streams::changeset_patch))
        .route_layer(middleware::from_fn_with_state(gateway.clone(), identify::check))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready::ready))
        .route("/signin", get(signing::form).post(signing::sign_in))
        .route("/signin/oidc", get(provider::leave))
        .route("/signin/oidc/callback", get(provider::come_back))
        .route("/setup", get(signing::setup_form).post(signing::setup))
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .layer(middleware::from_fn_with_state(gateway.clone(), guard::check))
        .layer(middleware::from_fn(unread::read_to_end))
        .with_state(gateway)
}

/// Serves until it is told to stop.
pub(crate) async fn serve(listener: TcpListener, mut gateway: Gateway, setup: &Token) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the gateway's address")?;
    gateway.loopback = address.ip().is_loopback();
    if !gateway.loopback {
        tracing::warn!(
            %address,
            "passwords and tokens cross the network in the clear: let a proxy that speaks TLS stand before this address"
        );
    }
    if gateway.access.has_users() && gateway.access.nobody_yet().await.unwrap_or_default() {
        let public_url = gateway.access.public_url.as_ref().map(ToString::to_string);
        let url = public_url.unwrap_or_else(|| format!("http://{}", reachable(address)));
        let link = format!("{url}/setup?token={}", setup.reveal());
        tracing::info!(link, "there are no users yet: whoever opens this link makes the first administrator");
    }
    let (stop, projection) = (gateway.stop.clone(), gateway.projection.clone());
    // Small parts of a live log go out at once.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    let server = axum::serve(listener, router(gateway).into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop.clone().cancelled_owned());
    let cut_off = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tracing::info!(%address, "the gateway serves");
    tokio::select! {
        served = server.into_future() => served.context("the gateway's listener"),
        () = projection.beats_are_gone() => {
            bail!("the broker has no BEATS stream any more: was its data removed? Restore it and start again")
        }
        () = cut_off => Ok(()),
    }
}

/// An address that somebody on this machine can open.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
