//! The door: who may connect as an enrolled runner, asked by the broker for each connection.
//!
//! Owns the answers to nats-server's authorization callout, and the end of connections that were let in. Never decides who
//! may: that is the registrar's fold. Invariant: whoever is let in proved that he holds the private half of the key.

mod keys;
mod token;

use std::time::Duration;

use async_nats::{Client, Message, Subscriber};
use bytes::Bytes;
use events::id::RunnerId;
use futures::StreamExt as _;
use nkeys::KeyPair;
use serde::Deserialize;
use serde_json::{Value, json};

pub(crate) use keys::key_file;
pub use keys::{DoorKeys, DoorKeysError};

use crate::connect::{Config, ConnectError, connect_plainly};
use crate::server::{runner_rights, runner_user};

/// Who stands at the door, in the account of the server itself.
const USER: &str = "door";

/// Where nats-server asks.
const KNOCKS: &str = "$SYS.REQ.USER.AUTH";

/// The account into which runners are let.
const ACCOUNT: &str = "RUNNERS";

/// How long the server may take to list or end connections.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the door does not work.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The broker cannot be reached, or refuses.
    #[error("the door of the broker cannot be reached")]
    Connect(#[from] ConnectError),
    /// The connection ended for good.
    #[error("the connection to the door of the broker is closed")]
    Closed,
    /// The broker does not carry something out.
    #[error("the broker does not {what}")]
    Refused {
        /// What it was to do.
        what: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A key does not sign.
    #[error(transparent)]
    Keys(#[from] DoorKeysError),
}

/// The door.
pub struct Door {
    client: Client,
    knocks: Subscriber,
    keys: DoorKeys,
}

/// Somebody who wants in, and has proved that a key is his.
#[derive(Debug)]
pub struct Knock {
    /// The public half of the key.
    pub public_key: String,
    ask: Ask,
    message: Message,
}

#[derive(Debug, Deserialize)]
struct Ask {
    server_id: Named,
    user_nkey: String,
    client_info: ClientInfo,
    connect_opts: Options,
}

#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

#[derive(Debug, Deserialize)]
struct ClientInfo {
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    host: String,
}

#[derive(Debug, Deserialize)]
struct Options {
    #[serde(default)]
    nkey: String,
    #[serde(default)]
    sig: String,
}

impl Door {
    /// Takes up the post. `registrar`: how the registrar connects.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses.
    pub async fn open(registrar: &Config, keys: DoorKeys) -> Result<Self, DoorError> {
        let proof = keys.own.proof();
        let config = Config { user: USER.to_owned(), role: USER.to_owned(), proof, ..registrar.clone() };
        let client = connect_plainly(&config).await?;
        let knocks = client.subscribe(KNOCKS).await.map_err(refused("take the door's subscription"))?;
        Ok(Self { client, knocks, keys })
    }

    /// Waits for the next who proves a key. Turns away whoever proves none. Safe to cancel.
    ///
    /// # Errors
    /// When the connection is closed for good, or the registrar's key does not sign.
    pub async fn next(&mut self) -> Result<Knock, DoorError> {
        loop {
            let message = self.knocks.next().await.ok_or(DoorError::Closed)?;
            // Only the server itself can publish here: it refuses this subject to every client.
            let Some(ask) =
                token::claims(&message.payload).and_then(|claims| Ask::deserialize(&claims["nats"]).ok())
            else {
                tracing::warn!("a question of nats-server at the door cannot be read");
                continue;
            };
            let public_key = ask.connect_opts.nkey.clone();
            let knock = Knock { public_key, ask, message };
            if knock.is_proven() {
                return Ok(knock);
            }
            self.refuse(&knock, "no such user, or no valid signature").await?;
        }
    }

    /// Lets somebody in as a runner, with the rights that the configuration gives to each.
    ///
    /// # Errors
    /// When the registrar's key does not sign.
    pub async fn admit(&self, knock: &Knock, runner: &RunnerId) -> Result<(), DoorError> {
        let rights = runner_rights(runner);
        let user = json!({
            "aud": ACCOUNT,
            "sub": knock.ask.user_nkey,
            "name": runner_user(runner),
            "nats": {
                "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
                "pub": { "allow": rights.publish },
                "sub": { "allow": rights.subscribe },
            },
        });
        let token = self.keys.sign(user)?;
        self.answer(knock, json!({ "jwt": token })).await
    }

    /// Turns somebody away. He hears no reason; the server's log has it.
    ///
    /// # Errors
    /// When the registrar's key does not sign.
    pub async fn refuse(&self, knock: &Knock, reason: &str) -> Result<(), DoorError> {
        tracing::warn!(host = knock.ask.client_info.host, reason, "somebody is turned away at the door");
        self.answer(knock, json!({ "error": reason })).await
    }

    async fn answer(&self, knock: &Knock, mut what: Value) -> Result<(), DoorError> {
        what["type"] = json!("authorization_response");
        what["version"] = json!(2);
        let answer = json!({ "aud": knock.ask.server_id.id, "sub": knock.ask.user_nkey, "nats": what });
        let answer = self.keys.sign(answer)?;
        if let Some(reply) = knock.message.reply.clone()
            && let Err(error) = self.client.publish(reply, Bytes::from(answer)).await
        {
            // Whoever knocked tries again.
            tracing::warn!(%error, "an answer at the door was not sent");
        }
        Ok(())
    }

    /// Ends every connection of a runner; returns how many there were.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn cut(&self, runner: &RunnerId) -> Result<usize, DoorError> {
        let question = json!({ "auth": true, "acc": ACCOUNT, "user": runner_user(runner) });
        let list = self.ask("$SYS.REQ.SERVER.PING.CONNZ".to_owned(), &question, "list connections").await?;
        let server = list["server"]["id"].as_str().unwrap_or_default().to_owned();
        let connections = list["data"]["connections"].as_array().cloned().unwrap_or_default();
        for connection in &connections {
            let kick = json!({ "cid": connection["cid"] });
            self.ask(format!("$SYS.REQ.SERVER.{server}.KICK"), &kick, "end a connection").await?;
        }
        Ok(connections.len())
    }

    async fn ask(&self, subject: String, question: &Value, what: &'static str) -> Result<Value, DoorError> {
        let asked = self.client.request(subject, Bytes::from(question.to_string()));
        let answer =
            tokio::time::timeout(PATIENCE, asked).await.map_err(refused(what))?.map_err(refused(what))?;
        let answer: Value = serde_json::from_slice(&answer.payload).map_err(refused(what))?;
        match answer.get("error") {
            Some(error) => Err(refused(what)(std::io::Error::other(error.to_string()))),
            None => Ok(answer),
        }
    }
}

fn refused<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl Fn(E) -> DoorError {
    move |source| DoorError::Refused { what, source: Box::new(source) }
}

impl Knock {
    /// Whether the client signed the server's nonce with the key that it names.
    fn is_proven(&self) -> bool {
        let nonce = &self.ask.client_info.nonce;
        let signature = token::decode(&self.ask.connect_opts.sig);
        let key = KeyPair::from_public_key(&self.public_key);
        match (key, signature) {
            (Ok(key), Some(signature)) if !nonce.is_empty() && self.public_key.starts_with('U') => {
                key.verify(nonce.as_bytes(), &signature).is_ok()
            }
            _ => false,
        }
    }
}
