//! The gateway: GraphQL over HTTP, and the streams that GraphQL cannot carry.
//!
//! Owns the commands of people and what they are shown. Stateless: what it decides stands in the log, what it shows comes
//! from the projection, from blobs and from live streams. Never writes to the projection. Invariant: whoever gets an
//! answer to a command can read what it did.

mod actor;
mod command;
mod fault;
mod files;
mod fleet;
mod http;
mod projection;
mod schema;
mod stream;

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use broker::Broker;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the projection is: `sqlite:///path/projection.sqlite` or `postgres://…`. Only read.
    pub database_url: String,
    /// The most bytes of an archive of files that an action may bring.
    pub files_limit_bytes: u64,
}

/// How many bytes an action's files may have, packed, unless it is set otherwise: 100 MB.
pub const DEFAULT_FILES_LIMIT_BYTES: u64 = archive::DEFAULT_PACKED_BYTES;

/// Takes an address of this machine.
///
/// # Errors
/// When the address is taken, or reaches beyond this machine: there is no access control yet.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    if !address.ip().is_loopback() {
        bail!(
            "the gateway has no access control yet and listens on loopback only: give --gateway 127.0.0.1:{}",
            address.port()
        );
    }
    bind_exposed(address).await
}

/// Takes any address. Whoever reaches it may do everything: only for a network where everybody may.
///
/// # Errors
/// When the address is taken or not this machine's.
pub async fn bind_exposed(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    if bound.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse) {
        bail!("{address} is taken: by another Patchwave? Give another address with --gateway");
    }
    bound.with_context(|| {
        format!("the gateway cannot listen on {address}: give another address with --gateway")
    })
}

/// Serves until it is told to stop. Waits for the projection first.
///
/// # Errors
/// When the broker's streams are gone.
pub async fn run(
    config: Config,
    listener: TcpListener,
    broker: Broker,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Some(projection) = projection::Projection::open(&config.database_url, &broker, &stop).await? else {
        return Ok(());
    };
    let files = files::Files::new(broker.clone(), config.files_limit_bytes);
    http::serve(listener, http::Gateway::new(projection, files, broker, stop)).await
}
