//! `patchwave gateway`: GraphQL over HTTP, and the commands of people.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::process::ExitCode;
use std::time::Duration;

use ::gateway::{Auth, Config, DEFAULT_FILES_LIMIT_BYTES, Limits, Pace, ProviderConfig, Token};
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use super::provider::ProviderOptions;
use super::{BrokerOptions, DatabaseOptions, User, serve};
use crate::client;
use crate::data_dir::{DataDirOption, EndpointFile};

/// The role and its broker user.
pub(crate) const ROLE: &str = "gateway";

/// How many files a process has open beside its connections: databases, the broker, and what the other roles need.
const OTHER_FILES: u64 = 1_024;

/// How long the gateway may take to answer its first request.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of `patchwave gateway`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    listen: ListenOptions,

    #[command(flatten)]
    intake: IntakeOptions,

    #[command(flatten)]
    broker: BrokerOptions,

    #[command(flatten)]
    database: DatabaseOptions,
}

/// Where the gateway listens.
#[derive(Args, Clone, Debug)]
pub(crate) struct ListenOptions {
    /// Where the gateway listens; port 0 takes a free one
    #[arg(
        long = "gateway",
        value_name = "ADDRESS",
        env = "PATCHWAVE_GATEWAY",
        hide_env_values = true,
        default_value = "127.0.0.1:7300"
    )]
    address: SocketAddr,

    /// Who may use it
    #[arg(long, value_name = "WHO", value_enum, default_value_t)]
    auth: Who,

    #[command(flatten)]
    provider: ProviderOptions,
}

/// Who may use the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Who {
    /// Users by their roles, and whoever may read the data directory
    #[default]
    Users,
    /// Whoever reaches it, for everything: on a loopback address alone
    None,
}

/// What the gateway takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct IntakeOptions {
    /// The most bytes of the files that an action may mount, packed
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_FILES_LIMIT_BYTES)]
    files_limit: u64,

    /// How many requests a second each token may send, and ten times as many at once; 0: any number
    #[arg(long, value_name = "N", default_value_t = Limits::REQUESTS_PER_SECOND)]
    requests_per_second: u32,

    /// How many connections may be open at once; more wait
    #[arg(long, value_name = "N", default_value_t = Limits::CONNECTIONS)]
    connections: NonZeroUsize,

    /// How many of them one address may have, this machine's own aside; 0: all
    #[arg(long, value_name = "N", default_value_t = Limits::CONNECTIONS_PER_ADDRESS)]
    connections_per_address: usize,
}

impl IntakeOptions {
    /// Lets this process have a file open for each connection, as far as the system allows.
    pub(super) fn make_room(&self) {
        let needed = (self.connections.get() as u64).saturating_add(OTHER_FILES);
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.unwrap_or(u64::MAX);
        if limit.current.is_some_and(|current| current < needed) {
            let raised = Rlimit { current: Some(needed.min(most)), ..limit };
            if setrlimit(Resource::Nofile, raised).is_err() || most < needed {
                tracing::warn!(
                    needed,
                    most,
                    "this process may have fewer files open than --connections needs: raise its limit (ulimit -n)"
                );
            }
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            requests_per_second: NonZeroU32::new(self.requests_per_second),
            connections: self.connections,
            connections_per_address: NonZeroUsize::new(self.connections_per_address),
            ..Limits::default()
        }
    }
}

impl ListenOptions {
    /// Who may use it. The token of the data directory is made anew at each start, but for the one of a gateway that was
    /// killed: whoever waits for it to come back has read that.
    pub(super) fn auth(&self, endpoint: &EndpointFile) -> anyhow::Result<Auth> {
        let before = || Token::again(&endpoint.read()?.token?);
        Ok(match self.auth {
            Who::Users => Auth::Users { local: before().map_or_else(Token::random, Ok)? },
            Who::None => Auth::None,
        })
    }

    /// Where people sign in without a password.
    ///
    /// # Errors
    /// When what is set about it cannot work.
    pub(super) fn provider(&self) -> anyhow::Result<Option<ProviderConfig>> {
        self.provider.config()
    }

    /// Takes the address.
    pub(super) async fn bind(&self, auth: &Auth) -> anyhow::Result<TcpListener> {
        ::gateway::bind(self.address, auth).await
    }
}

/// What is written for whoever may read the data directory.
pub(crate) fn local_token(auth: &Auth) -> Option<&str> {
    match auth {
        Auth::Users { local } => Some(local.reveal()),
        Auth::None => None,
    }
}

/// What the role is to be like.
pub(crate) fn config(
    database_url: &str,
    (listen, intake): (&ListenOptions, &IntakeOptions),
    auth: &Auth,
    provider: Option<&ProviderConfig>,
) -> Config {
    Config {
        database_url: database_url.to_owned(),
        files_limit_bytes: intake.files_limit,
        auth: auth.clone(),
        limits: intake.limits(),
        pace: Pace::default(),
        public_url: listen.provider.public_url(),
        provider: provider.cloned(),
    }
}

/// Where a client on this machine reaches it.
pub(crate) fn url(listener: &TcpListener) -> anyhow::Result<String> {
    let mut address = listener.local_addr().context("the gateway's address")?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(format!("http://{address}"))
}

/// Waits for the gateway's first answer. It listens already, so the request waits there until it is taken.
pub(crate) async fn await_ready(url: &str) -> anyhow::Result<()> {
    let client = client::builder(false).timeout(PATIENCE).build()?;
    let answer = client.get(format!("{url}/healthz")).send().await.context("the gateway does not answer")?;
    answer.error_for_status().context("the gateway is not well")?;
    Ok(())
}

/// Runs it.
pub(crate) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<ExitCode> {
    let data = data.resolve()?;
    data.create()?;
    let endpoint = data.gateway_endpoint();
    options.intake.make_room();
    let auth = options.listen.auth(&endpoint)?;
    let provider = options.listen.provider()?;
    let listener = options.listen.bind(&auth).await?;
    let url = url(&listener)?;
    let broker = options.broker.connect(&User::service(ROLE), &data).await?;
    let database_url = data.database_url(options.database.database_url.as_deref());
    let config = config(&database_url, (&options.listen, &options.intake), &auth, provider.as_ref());
    let ended = serve(ROLE, |stop| async {
        let mut run = Box::pin(::gateway::run(config, listener, broker, stop));
        tokio::select! {
            ended = &mut run => return ended,
            said = say_ready(&url, &endpoint, &auth) => said?,
        }
        run.await
    })
    .await;
    // Another gateway may have taken its place in the file.
    if endpoint.read().is_some_and(|written| written.pid == std::process::id()) {
        endpoint.remove();
    }
    ended
}

async fn say_ready(url: &str, endpoint: &EndpointFile, auth: &Auth) -> anyhow::Result<()> {
    await_ready(url).await?;
    endpoint.write(url, local_token(auth))?;
    eprintln!("ready at {url}");
    Ok(())
}
