//! Enrolling: a machine gives up a one-time token and gets its key known.
//!
//! Owns the way of the request, which needs nothing but the broker's address: the user `newcomer` is known to all and may do
//! nothing else. The token goes to the registrar alone, and the private half of the key goes nowhere.

use std::path::Path;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use events::enrollment::{Answer, Request};
use events::subject;
use futures::StreamExt as _;
use nkeys::KeyPair;

use crate::append::ReadError;
use crate::connect::{Config, ConnectError, Proof, connect_plainly};
use crate::door::key_file;
use crate::{Broker, PublishError};

/// The user, and its password, which is no secret.
const NEWCOMER: &str = "newcomer";

/// How long one request may take before it is made again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a machine could not even ask.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The broker cannot be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Nobody answers.
    #[error(
        "no registrar answers at the broker {url}: does `patchwave registrar` run there, or `patchwave up`?"
    )]
    NoRegistrar {
        /// The broker's address.
        url: String,
    },
    /// The answer is of another version.
    #[error("the registrar's answer cannot be read")]
    Json(#[from] serde_json::Error),
}

/// The key pair of a machine.
#[derive(Clone, PartialEq, Eq)]
pub struct MachineKey {
    /// The private half, as nats-server writes it.
    seed: String,
    /// The public half.
    pub public_key: String,
}

impl std::fmt::Debug for MachineKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MachineKey").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

impl MachineKey {
    /// Reads the key from its file, or makes one there.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn load_or_create(path: &Path) -> std::io::Result<Self> {
        let seed = key_file(path, KeyPair::new_user)?;
        let public_key = KeyPair::from_seed(seed.trim()).map_err(std::io::Error::other)?.public_key();
        Ok(Self { seed: seed.trim().to_owned(), public_key })
    }

    /// What proves to the broker that the key is ours.
    pub fn proof(&self) -> Proof {
        Proof::Key(self.seed.clone())
    }
}

/// Asks the registrar to let this machine's key speak for a runner. Repeating it is harmless.
///
/// # Errors
/// When nobody answers within `patience`.
pub async fn enroll(url: &str, request: &Request, patience: Duration) -> Result<Answer, EnrollError> {
    let deadline = tokio::time::Instant::now() + patience;
    let config = Config {
        url: url.to_owned(),
        user: NEWCOMER.to_owned(),
        proof: Proof::Password(NEWCOMER.to_owned()),
        role: NEWCOMER.to_owned(),
        runner: None,
        connect_timeout: patience,
    };
    let client = connect_plainly(&config).await?;
    let payload = Bytes::from(serde_json::to_vec(request)?);
    let mut told = false;
    loop {
        let asked = tokio::time::timeout(PATIENCE, client.request(subject::ENROLL, payload.clone())).await;
        if let Ok(Ok(answer)) = asked {
            return Ok(serde_json::from_slice(&answer.payload)?);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(EnrollError::NoRegistrar { url: url.to_owned() });
        }
        if !told {
            tracing::warn!(url, "waiting for the registrar");
            told = true;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether a text is the public half of a key with which a machine can connect.
pub fn is_user_key(text: &str) -> bool {
    text.starts_with('U') && KeyPair::from_public_key(text).is_ok()
}

/// The requests of machines, at the registrar's side.
pub struct Newcomers(Subscriber);

/// One request.
#[derive(Debug)]
pub struct Newcomer {
    /// What it says, if it can be read.
    pub request: Result<Request, serde_json::Error>,
    message: Message,
}

impl Broker {
    /// The requests of machines that want to enroll.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn newcomers(&self) -> Result<Newcomers, ReadError> {
        let requests = self.client.subscribe(subject::ENROLL).await.map_err(ReadError::from_source)?;
        Ok(Newcomers(requests))
    }

    /// Answers a request. Whoever does not hear it asks again.
    ///
    /// # Errors
    /// When the answer cannot be written.
    pub async fn answer_newcomer(&self, newcomer: &Newcomer, answer: &Answer) -> Result<(), PublishError> {
        let payload = Bytes::from(serde_json::to_vec(answer)?);
        if let Some(reply) = newcomer.message.reply.clone()
            && let Err(error) = self.client.publish(reply, payload).await
        {
            tracing::warn!(%error, "an answer to a machine was not sent");
        }
        Ok(())
    }
}

impl Newcomers {
    /// Waits for the next request. Safe to cancel.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn next(&mut self) -> Result<Newcomer, ReadError> {
        let message = self.0.next().await.ok_or(ReadError::Closed)?;
        Ok(Newcomer { request: serde_json::from_slice(&message.payload), message })
    }
}
