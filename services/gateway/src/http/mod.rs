//! HTTP: the routes, and what holds for all of them.
//!
//! Owns limits on requests, on time and on open streams, and how long the end may take. Never decides.

mod answer;
mod connections;
mod download;
mod event_log;
mod files;
mod graphql;
mod guard;
mod identify;
mod metrics;
mod operation;
mod page;
mod patches;
mod provider;
mod ready;
mod recheck;
mod server_sent;
mod signing;
mod socket;
mod streams;
mod terminal;
mod unread;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Extensions, HeaderMap, StatusCode, Version};
use axum::middleware;
use axum::routing::{get, post, put};
use broker::Broker;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_http::compression::CompressionLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

use self::download::Packable;
use crate::access::{Access, Caller, Rates, Token};
use crate::command::Commands;
use crate::files::Files;
use crate::fleet::Fleet;
use crate::limits::Limits;
use crate::metrics::Metrics;
use crate::pace::Pace;
use crate::projection::Projection;
use crate::schema::{Graph, Sources, graph};
use crate::stream::Permits;

/// The largest request: a definition or ten thousand addresses, as JSON.
const REQUEST_BYTES: usize = 4 * 1024 * 1024;

/// How many WebSockets may stand at once.
const SOCKETS: usize = 1_000;

/// How long the body of a request may stand still.
const SILENCE: Duration = Duration::from_secs(30);

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
    pub(crate) streams: Permits,
    /// How many more WebSockets may stand.
    pub(crate) sockets: Arc<Semaphore>,
    /// The WebSockets that stand: whoever stops waits for them to end in order.
    pub(crate) standing: TaskTracker,
    pub(crate) pace: Pace,
    pub(crate) rates: Arc<Rates>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stop: CancellationToken,
}

impl Gateway {
    /// Over a projection and a log.
    pub(crate) fn new(
        (projection, broker): (Projection, Broker),
        (files, pace): (Files, Pace),
        access: Access,
        limits: &Limits,
        stop: CancellationToken,
    ) -> Self {
        let (streams, metrics) = (Permits::default(), Arc::new(Metrics::new(projection.statements())));
        let fleet = Fleet::follow(&broker, &projection);
        let graph = graph(Sources {
            projection: projection.clone(),
            broker: broker.clone(),
            fleet,
            files: files.clone(),
            streams: streams.clone(),
            metrics: metrics.clone(),
        });
        Self {
            graph,
            projection,
            broker,
            files,
            access,
            loopback: true,
            streams,
            sockets: Arc::new(Semaphore::new(SOCKETS)),
            standing: TaskTracker::new(),
            pace,
            rates: Arc::new(Rates::new(limits.requests_per_second)),
            metrics,
            stop,
        }
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
    let metrics = gateway.metrics.clone();
    // What stands before `identify` is for those who are known; what stands after it is open.
    Router::new()
        .route("/graphql", post(graphql::execute))
        .route("/files", get(files::limits))
        .route("/files/{sha256}", put(files::put))
        .route("/metrics", get(metrics::show))
        .route("/signout", post(signing::sign_out))
        .route("/signin/terminal", post(terminal::answer))
        .route("/actions/{id}/revisions/{revision}/files", get(files::list))
        .route("/actions/{id}/revisions/{revision}/archive", get(files::archive))
        .route("/events", get(event_log::show))
        .route("/executions/{id}/events", get(streams::events))
        .route("/jobs/{id}/log", get(streams::log))
        .route("/jobs/{id}/patch", get(patches::of_job))
        .route("/plans/{id}/archive", get(patches::archive))
        .route("/plans/{id}/changesets/{position}/patch", get(patches::of_changeset))
        .route_layer(CompressionLayer::new().compress_when(is_packable))
        .route_layer(middleware::map_response(download::weaken))
        .route_layer(middleware::from_fn_with_state(gateway.clone(), identify::check))
        // Whoever opens a WebSocket may say on it who they are.
        .route("/graphql", get(socket::upgrade))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready::ready))
        .route("/signin", get(signing::form).post(signing::sign_in))
        .route("/signin/terminal", get(terminal::ask))
        .route("/signin/oidc", get(provider::leave))
        .route("/signin/oidc/callback", get(provider::come_back))
        .route("/setup", get(signing::setup_form).post(signing::setup))
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .layer(middleware::from_fn_with_state(gateway.clone(), guard::check))
        .layer(RequestBodyTimeoutLayer::new(SILENCE))
        .layer(middleware::from_fn(unread::read_to_end))
        .layer(middleware::from_fn_with_state(metrics, metrics::count))
        .with_state(gateway)
}

/// Whether an answer may be packed on its way, for clients that take it so.
fn is_packable(_: StatusCode, _: Version, _: &HeaderMap, extensions: &Extensions) -> bool {
    extensions.get::<Packable>().is_some()
}

/// Serves until it is told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    mut gateway: Gateway,
    limits: &Limits,
    setup: &Token,
) -> anyhow::Result<()> {
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
    let (metrics, standing) = (gateway.metrics.clone(), gateway.standing.clone());
    let connections = connections::serve(listener, router(gateway), limits, metrics, stop.clone());
    let served = async {
        connections.await;
        // A connection that became a WebSocket is not the server's any more.
        standing.close();
        standing.wait().await;
    };
    let cut_off = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tracing::info!(%address, "the gateway serves");
    tokio::select! {
        () = served => Ok(()),
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
