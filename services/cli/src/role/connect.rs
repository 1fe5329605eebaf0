//! A role's way to the broker.
//!
//! Owns where the address and the password come from. Waits for a bounded time, because a role may be started before
//! its broker; an error says what to do.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use broker::server::{Passwords, runner_user};
use broker::{Broker, Config, Proof};
use clap::Args;
use events::id::RunnerId;

use crate::data_dir::DataDir;
use crate::failure::Complaint;

/// How often to look whether the broker is there by now.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How to reach the broker.
#[derive(Args, Clone, Debug)]
pub(crate) struct BrokerOptions {
    /// The broker [default: the one that runs with the data directory]; the password is in PATCHWAVE_BROKER_PASSWORD
    #[arg(long, value_name = "URL", env = "PATCHWAVE_BROKER_URL", hide_env_values = true)]
    broker_url: Option<String>,

    /// How long to wait for the broker at the start: 10s, 2m
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::duration::parse)]
    connect_timeout: Duration,
}

/// Who connects.
#[derive(Clone, Debug)]
pub(crate) struct User {
    name: String,
    role: String,
    runner: Option<RunnerId>,
}

impl User {
    /// A service, or the operator.
    pub(crate) fn service(name: &str) -> Self {
        Self { name: name.to_owned(), role: name.to_owned(), runner: None }
    }

    /// A runner.
    pub(crate) fn runner(id: &RunnerId) -> Self {
        Self { name: runner_user(id), role: "runner".to_owned(), runner: Some(id.clone()) }
    }

    /// How it connects to a broker.
    pub(crate) fn at(&self, url: &str, password: &str, connect_timeout: Duration) -> Config {
        Config {
            url: url.to_owned(),
            user: self.name.clone(),
            proof: Proof::Password(password.to_owned()),
            role: self.role.clone(),
            runner: self.runner.clone(),
            connect_timeout,
        }
    }

    /// How it connects to a managed broker, whose passwords are known.
    pub(crate) fn with(
        &self,
        url: &str,
        passwords: &Passwords,
        connect_timeout: Duration,
    ) -> Result<Config, Complaint> {
        let password = passwords.get(&self.name).ok_or_else(|| {
            let hint = match &self.runner {
                Some(runner) => format!("start the broker with `patchwave broker --runner {runner}`"),
                None => "the broker was started by another version: stop it and start it again".to_owned(),
            };
            Complaint::new(format!("the broker has no user `{}`", self.name), hint)
        })?;
        Ok(self.at(url, password, connect_timeout))
    }
}

impl BrokerOptions {
    /// Connects as this user.
    pub(crate) async fn connect(&self, user: &User, data: &DataDir) -> anyhow::Result<Broker> {
        Ok(Broker::connect(&self.config(user, data).await?).await?)
    }

    /// How this user connects.
    pub(crate) async fn config(&self, user: &User, data: &DataDir) -> anyhow::Result<Config> {
        match &self.broker_url {
            Some(url) => Ok(user.at(url, &password_from_environment(&user.name)?, self.connect_timeout)),
            None => self.managed(user, data).await,
        }
    }

    /// The broker's address, as it was given.
    pub(crate) fn given_url(&self) -> Option<String> {
        self.broker_url.clone()
    }

    /// How long to wait for the broker.
    pub(crate) const fn patience(&self) -> Duration {
        self.connect_timeout
    }

    /// The broker's address: the one that was given, or that of the data directory's.
    pub(crate) async fn url(&self, data: &DataDir) -> anyhow::Result<String> {
        match &self.broker_url {
            Some(url) => Ok(url.clone()),
            None => Ok(self.endpoint(data, Instant::now()).await?),
        }
    }

    /// How this user connects to the broker that runs with the data directory.
    async fn managed(&self, user: &User, data: &DataDir) -> anyhow::Result<Config> {
        let start = Instant::now();
        let url = self.endpoint(data, start).await?;
        let folder = data.broker();
        let passwords = Passwords::load_or_create(&folder, &[])
            .with_context(|| format!("the passwords in {} cannot be read", folder.display()))?;
        let left = self.connect_timeout.saturating_sub(start.elapsed());
        Ok(user.with(&url, &passwords, left.max(Duration::from_secs(5)))?)
    }

    /// Finds the broker that runs with the data directory, once one listens there.
    async fn endpoint(&self, data: &DataDir, start: Instant) -> Result<String, Complaint> {
        let mut told = false;
        loop {
            // Read anew each time: a broker that starts replaces what an earlier one left behind.
            let endpoint = data.broker_endpoint().read();
            if let Some(endpoint) = endpoint
                && listens(&endpoint.url).await
            {
                return Ok(endpoint.url);
            }
            if start.elapsed() >= self.connect_timeout {
                return Err(self.absent(data));
            }
            if !told {
                tracing::warn!(data_dir = %data.path().display(), "waiting for the broker");
                told = true;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn absent(&self, data: &DataDir) -> Complaint {
        let message = format!(
            "no broker runs with the data directory {}: {} names none that answers (waited {:?})",
            data.path().display(),
            data.broker_endpoint().path().display(),
            self.connect_timeout,
        );
        let hint = "start one with `patchwave broker` or `patchwave up`, name another data directory with \
                    --data-dir, or a broker of your own with --broker-url";
        Complaint::new(message, hint)
    }
}

/// The host in a broker's address.
pub(crate) fn host_of(url: &str) -> Option<&str> {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    place.split([':', '/']).next().filter(|host| !host.is_empty())
}

/// Whether anybody listens at the address of a managed broker.
async fn listens(url: &str) -> bool {
    let address = url.strip_prefix("nats://").unwrap_or(url);
    tokio::net::TcpStream::connect(address).await.is_ok()
}

/// The password for a broker of the operator's own.
pub(crate) fn password_from_environment(user: &str) -> Result<String, Complaint> {
    std::env::var("PATCHWAVE_BROKER_PASSWORD").map_err(|_| {
        Complaint::new(
            format!("the password of the broker's user `{user}` is missing"),
            "put it into the environment variable PATCHWAVE_BROKER_PASSWORD",
        )
    })
}
