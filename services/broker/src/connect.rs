//! The connection: who we are to the broker, whether it is there, and whether it is new enough.
//!
//! Owns the one client of a process's role. Never hides an outage: what waits for the broker says so in the log.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectOptions, Event};
use events::id::RunnerId;
use tokio::sync::watch;

use crate::Broker;

/// The oldest server that does what we rely on: filtered expectations (2.11) and atomic batches (2.12), with the
/// durability fixes of 2.14. Older servers ignore headers that they do not know, and would accept wrong appends.
pub(crate) const OLDEST_SERVER: (u32, u32) = (2, 14);

/// The prefix under which a runner's account imports the JetStream calls that it may make.
pub(crate) const RUNNER_API_PREFIX: &str = "WORKJS";

/// The same for a subscriber's account.
pub(crate) const SUBSCRIBER_API_PREFIX: &str = "EVENTSJS";

/// How to reach the broker, and as whom.
#[derive(Clone, Debug)]
pub struct Config {
    /// `nats://host:port`, or several separated by commas.
    pub url: String,
    /// The broker's user.
    pub user: String,
    /// What shows that we are the user.
    pub proof: Proof,
    /// The name of the role: what the broker lists as the client's name, and the last part of its inbox prefix.
    pub role: String,
    /// Set for a runner, which lives in an account of its own.
    pub runner: Option<RunnerId>,
    /// How long the first connection may take before it is an error.
    pub connect_timeout: Duration,
}

/// What shows to the broker who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// The password of a user in nats.conf.
    Password(String),
    /// The private half of an enrolled runner's key.
    Key(String),
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Key(_) => "Key",
        })
    }
}

/// Whether the broker is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// Whether it is right now.
    pub up: bool,
    /// How many times it was reached; another number means that something may have been missed.
    pub generation: u64,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody answers at the address.
    #[error(
        "the broker at {url} cannot be reached: start nats-server there, or give another address with --broker-url"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What the client says.
        source: async_nats::ConnectError,
    },
    /// The broker refuses the user.
    #[error("the broker at {url} refuses the user `{user}`: check its password and the `users` in nats.conf")]
    Refused {
        /// The address.
        url: String,
        /// The user.
        user: String,
        /// What the client says.
        source: async_nats::ConnectError,
    },
    /// The broker refuses an enrolled runner's key.
    #[error(
        "the broker at {url} does not let the runner in: it was revoked or enrolled anew elsewhere, or no registrar runs. \
         On the server, `patchwave runner list` shows it; `patchwave runner token create` makes a token for a new one"
    )]
    NotEnrolled {
        /// The address.
        url: String,
        /// What the client says.
        source: async_nats::ConnectError,
    },
    /// The broker lacks what the log relies on.
    #[error(
        "the broker at {url} is nats-server {version}, which is too old: 2.14 or later is needed. \
         `make setup` fetches one; or install a release from nats.io and restart it on the same data"
    )]
    TooOld {
        /// The address.
        url: String,
        /// Its version.
        version: String,
    },
}

impl Broker {
    /// Connects, waiting up to `connect_timeout` for the broker to be there.
    ///
    /// # Errors
    /// When nobody answers in time, the user is refused, or the server is older than 2.14.
    pub async fn connect(config: &Config) -> Result<Self, ConnectError> {
        let (state, mut connection) = watch::channel(Connection::default());
        let client = first_connection(config, &state).await?;
        let version = client.server_info().version;
        if !is_new_enough(&version) {
            return Err(ConnectError::TooOld { url: config.url.clone(), version });
        }
        // The client tells of its first connection a moment after it has it: told now, it would be counted twice. The state
        // is never dropped before this is.
        let _ = connection.wait_for(|now| now.up).await;
        let jetstream = match config.runner {
            Some(_) => jetstream::with_prefix(client.clone(), RUNNER_API_PREFIX),
            None => jetstream::new(client.clone()),
        };
        let salt = uuid::Uuid::new_v4().simple().to_string().into();
        Ok(Self { client, jetstream, connection, is_runner: config.runner.is_some(), salt })
    }

    /// Whether the broker is there, as a value to watch.
    pub fn connection(&self) -> watch::Receiver<Connection> {
        self.connection.clone()
    }
}

/// A connection without streams: for what happens before or beside them.
pub(crate) async fn connect_plainly(config: &Config) -> Result<Client, ConnectError> {
    first_connection(config, &watch::channel(Connection::default()).0).await
}

async fn first_connection(
    config: &Config,
    state: &watch::Sender<Connection>,
) -> Result<Client, ConnectError> {
    let deadline = tokio::time::Instant::now() + config.connect_timeout;
    let mut told = false;
    loop {
        let source = match options(config, state.clone()).connect(&config.url).await {
            Ok(client) => return Ok(client),
            Err(source) => source,
        };
        let url = config.url.clone();
        let refused = source.kind() == async_nats::ConnectErrorKind::AuthorizationViolation;
        let late = tokio::time::Instant::now() >= deadline;
        match &config.proof {
            Proof::Password(_) if refused => {
                return Err(ConnectError::Refused { url, user: config.user.clone(), source });
            }
            // A registrar that starts is no reason to give up, and a refusal does not say whether there is one.
            Proof::Key(_) if refused && late => return Err(ConnectError::NotEnrolled { url, source }),
            _ if late => return Err(ConnectError::Unreachable { url, source }),
            _ => {}
        }
        if !told {
            tracing::warn!(url, role = config.role, "waiting for the broker");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn options(config: &Config, state: watch::Sender<Connection>) -> ConnectOptions {
    let inbox = match &config.runner {
        Some(runner) => format!("_INBOX_runner_{runner}"),
        None => format!("_INBOX_{}", config.role),
    };
    let role = config.role.clone();
    let options = match &config.proof {
        Proof::Password(password) => {
            ConnectOptions::with_user_and_password(config.user.clone(), password.clone())
        }
        Proof::Key(seed) => ConnectOptions::with_nkey(seed.clone()),
    };
    options
        .name(&config.role)
        .custom_inbox_prefix(inbox)
        .ping_interval(Duration::from_secs(5))
        .reconnect_delay_callback(|attempts| Duration::from_millis((50 << attempts.min(5)).min(1_000)))
        .event_callback(move |event| {
            note(&state, &role, &event);
            async {}
        })
}

fn note(state: &watch::Sender<Connection>, role: &str, event: &Event) {
    match event {
        Event::Connected => {
            state.send_modify(|now| *now = Connection { up: true, generation: now.generation + 1 });
            tracing::debug!(role, "connected to the broker");
        }
        Event::Disconnected => {
            let changed = state.send_if_modified(|now| std::mem::replace(&mut now.up, false));
            if changed {
                tracing::warn!(role, "lost the broker, reconnecting");
            }
        }
        Event::ClientError(async_nats::ClientError::Other(what))
            if what.contains("authorization violation") =>
        {
            tracing::warn!(role, "the broker does not let this role in any more; it goes on asking");
        }
        // A refused call shows up here and as a time-out at the caller, which cannot know why.
        Event::ServerError(error) => tracing::warn!(role, %error, "the broker refuses something"),
        other => tracing::debug!(role, event = %other, "broker connection"),
    }
}

/// Whether a server of this version can hold the log.
pub(crate) fn is_new_enough(version: &str) -> bool {
    let mut parts = version.trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= OLDEST_SERVER,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn the_version_guard_reads_versions() {
        for good in ["2.14.0", "2.15.1", "v2.14.3-RC.1", "3.0.0"] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["2.9.10", "2.13.9", "1.99.0", "", "latest", "2"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }
}
