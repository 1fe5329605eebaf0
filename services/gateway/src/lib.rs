//! The gateway: GraphQL over HTTP, WebSockets and server-sent events, and the streams that GraphQL cannot carry.
//!
//! Owns the commands of people and what they are shown. Stateless: what it decides stands in the log, what it shows comes
//! from the projection, from blobs and from live streams. Never writes to the projection. Invariant: whoever gets an
//! answer to a command can read what it did.

mod access;
mod command;
mod fault;
mod files;
mod fleet;
mod http;
mod limits;
mod metrics;
mod pace;
mod patch_names;
mod projection;
mod schema;
mod stream;

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use broker::Broker;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use access::provider::{ProviderConfig, ProviderRules};
pub use access::public_url::PublicUrl;
pub use access::terminal::{InvalidTerminalCode, Terminal, TerminalCode};
pub use access::{Auth, Token};
pub use broker::sealing::Plain;
pub use limits::Limits;
pub use pace::Pace;
pub use patch_names::patch_names;

/// What can be set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the projection is: `sqlite:///path/projection.sqlite` or `postgres://…`. Only read.
    pub database_url: String,
    /// The most bytes of an archive of files that an action may bring.
    pub files_limit_bytes: u64,
    /// Who may use it.
    pub auth: Auth,
    /// How much it takes at once, and of whom.
    pub limits: Limits,
    /// How connections that stand are looked after.
    pub pace: Pace,
    /// Where people reach it, if that is not where it listens.
    pub public_url: Option<PublicUrl>,
    /// Where people sign in without a password. Needs users and a public URL.
    pub provider: Option<ProviderConfig>,
}

/// How many bytes an action's files may have, packed, unless it is set otherwise: 100 MB.
pub const DEFAULT_FILES_LIMIT_BYTES: u64 = archive::DEFAULT_PACKED_BYTES;

/// Takes an address of this machine. One that others reach only where users are told apart.
///
/// # Errors
/// When the address is taken or not this machine's, or others reach it and everybody may do everything there.
pub async fn bind(address: SocketAddr, auth: &Auth) -> anyhow::Result<TcpListener> {
    if matches!(auth, Auth::None) && !address.ip().is_loopback() {
        bail!(
            "without users the gateway listens on loopback only, since everybody may do everything: give --auth users, or \
             --gateway 127.0.0.1:{}",
            address.port()
        );
    }
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
/// When what is set about the provider of identities cannot work, and when the broker's streams are gone.
pub async fn run(
    config: Config,
    listener: TcpListener,
    broker: Broker,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let provider = provider(&config)?;
    let Some(projection) = projection::Projection::open(&config.database_url, &broker, &stop).await? else {
        return Ok(());
    };
    let files = files::Files::new(broker.clone(), config.files_limit_bytes);
    let setup = Token::random()?;
    let access = access::Access::new(&config, provider, (&projection, &broker), &setup);
    let served = (files, config.pace);
    let gateway = http::Gateway::new((projection, broker), served, access, &config.limits, stop);
    http::serve(listener, gateway, &config.limits, &setup).await
}

/// The provider of identities, as far as what is set about it fits together.
fn provider(config: &Config) -> anyhow::Result<Option<access::provider::Provider>> {
    let Some(provider) = config.provider.clone() else { return Ok(None) };
    if matches!(config.auth, Auth::None) {
        bail!("--oidc-issuer needs users to sign in: leave --auth none out");
    }
    let Some(public_url) = &config.public_url else {
        bail!("--oidc-issuer needs --public-url, under which the provider sends people back");
    };
    provider.check(public_url)?;
    access::provider::Provider::new(provider, public_url).map(Some)
}
