//! HTTP: the routes, and what holds for all of them.
//!
//! Owns limits on requests, on time and on open streams, and the orderly end. Never decides.

mod answer;
mod files;
mod graphql;
mod guard;
mod streams;
mod unread;

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
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
}

impl Gateway {
    /// Over a projection and a log.
    pub(crate) fn new(projection: Projection, files: Files, broker: Broker, stop: CancellationToken) -> Self {
        let commands = Commands::new(broker.clone(), files.clone());
        let graph = graph(&projection, Fleet::follow(&broker), commands, files.clone());
        Self { graph, projection, broker, files, streams: Arc::new(Semaphore::new(STREAMS)), stop }
    }
}

fn router(gateway: Gateway, loopback: bool) -> Router {
    Router::new()
        .route("/graphql", post(graphql::execute))
        .route("/files", get(files::limits))
        .route("/files/{sha256}", put(files::put))
        .route("/healthz", get(|| async { "ok" }))
        .route("/actions/{id}/revisions/{revision}/files", get(streams::revision_files))
        .route("/executions/{id}/events", get(streams::events))
        .route("/jobs/{id}/log", get(streams::log))
        .route("/jobs/{id}/patch", get(streams::job_patch))
        .route("/plans/{id}/changesets/{position}/patch", get(streams::changeset_patch))
        .fallback(answer::no_such_path)
        .method_not_allowed_fallback(answer::no_such_method)
        .layer(DefaultBodyLimit::max(REQUEST_BYTES))
        .layer(middleware::from_fn(move |request, next| guard::check(loopback, request, next)))
        .layer(middleware::from_fn(unread::read_to_end))
        .with_state(gateway)
}

/// Serves until it is told to stop.
pub(crate) async fn serve(listener: TcpListener, gateway: Gateway) -> anyhow::Result<()> {
    let address = listener.local_addr().context("the gateway's address")?;
    let loopback = address.ip().is_loopback();
    if !loopback {
        tracing::warn!(%address, "there is no access control: whoever reaches this address may do everything");
    }
    let (stop, projection) = (gateway.stop.clone(), gateway.projection.clone());
    // Small parts of a live log go out at once.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    let server = axum::serve(listener, router(gateway, loopback))
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
