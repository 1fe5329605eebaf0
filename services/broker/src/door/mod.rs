//! The door: who may connect as an enrolled runner or as a subscriber, asked by the broker for each connection.
//!
//! Owns the answers to nats-server's authorization callout, and the end of connections that were let in. Never decides who
//! may: that is the registrar's. Invariant: a runner that is let in proved that it holds the private half of the key.

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

use crate::SubscriptionName;
use crate::connect::{Config, ConnectError, connect_plainly};
use crate::server::{Rights, runner_rights, runner_user};

/// Who stands at the door, in the account of the server itself.
const USER: &str = "door";

/// Where nats-server asks.
const KNOCKS: &str = "$SYS.REQ.USER.AUTH";

/// Where the server says who is connected.
const CONNECTIONS: &str = "$SYS.REQ.SERVER.PING.CONNZ";

/// The account into which runners are let.
const RUNNERS: &str = "RUNNERS";

/// The account into which subscribers are let.
const SUBSCRIBERS: &str = "SUBSCRIBERS";

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

/// Somebody who wants in.
pub struct Knock {
    /// Who he says he is.
    pub claim: Claim,
    ask: Ask,
    message: Message,
}

/// Who somebody says he is, and what he has to show for it.
#[derive(Clone, PartialEq, Eq)]
pub enum Claim {
    /// The holder of the key with this public half. That is proven.
    Key(String),
    /// A subscription and a password. Whether it is the right one is to be found out.
    Subscriber(SubscriptionName, String),
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Key(public_key) => f.debug_tuple("Key").field(public_key).finish(),
            Self::Subscriber(name, _) => f.debug_tuple("Subscriber").field(name).finish_non_exhaustive(),
        }
    }
}

impl std::fmt::Debug for Knock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Knock").field("claim", &self.claim).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Ask {
    server_id: Named,
    user_nkey: String,
    client_info: ClientInfo,
    connect_opts: Options,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

#[derive(Deserialize)]
struct ClientInfo {
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    host: String,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    nkey: String,
    #[serde(default)]
    sig: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    pass: String,
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
        let what = "take the door's subscription";
        let knocks = client.subscribe(KNOCKS).await.map_err(refused(what))?;
        let door = Self { client, knocks, keys };
        // Until the server has the subscription, it turns away whoever knocks. It answers in order, so it has it then.
        door.ask(CONNECTIONS.to_owned(), &json!({ "limit": 1 }), what).await?;
        Ok(door)
    }

    /// Waits for the next who proves a key or names a subscription. Turns away whoever does neither. Safe to cancel.
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
            match ask.claim() {
                Some(claim) => return Ok(Knock { claim, ask, message }),
                None => self.turn_away(&ask, &message, "no such user, or no valid signature").await?,
            }
        }
    }

    /// Lets somebody in as a runner, with the rights that the configuration gives to each.
    ///
    /// # Errors
    /// When the registrar's key does not sign.
    pub async fn admit(&self, knock: &Knock, runner: &RunnerId) -> Result<(), DoorError> {
        self.let_in(knock, RUNNERS, &runner_user(runner), &runner_rights(runner)).await
    }

    /// Lets somebody in as a subscriber.
    ///
    /// # Errors
    /// When the registrar's key does not sign.
    pub async fn admit_subscriber(&self, knock: &Knock, name: &SubscriptionName) -> Result<(), DoorError> {
        self.let_in(knock, SUBSCRIBERS, &name.user(), &name.rights()).await
    }

    async fn let_in(
        &self,
        knock: &Knock,
        account: &str,
        user: &str,
        rights: &Rights,
    ) -> Result<(), DoorError> {
        let user = json!({
            "aud": account,
            "sub": knock.ask.user_nkey,
            "name": user,
            "nats": {
                "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1,
                "pub": { "allow": rights.publish },
                "sub": { "allow": rights.subscribe },
            },
        });
        let token = self.keys.sign(user)?;
        self.answer(&knock.ask, &knock.message, json!({ "jwt": token })).await
    }

    /// Turns somebody away. He hears no reason; the server's log has it.
    ///
    /// # Errors
    /// When the registrar's key does not sign.
    pub async fn refuse(&self, knock: &Knock, reason: &str) -> Result<(), DoorError> {
        self.turn_away(&knock.ask, &knock.message, reason).await
    }

    async fn turn_away(&self, ask: &Ask, message: &Message, reason: &str) -> Result<(), DoorError> {
        tracing::warn!(host = ask.client_info.host, reason, "somebody is turned away at the door");
        self.answer(ask, message, json!({ "error": reason })).await
    }

    async fn answer(&self, ask: &Ask, message: &Message, mut what: Value) -> Result<(), DoorError> {
        what["type"] = json!("authorization_response");
        what["version"] = json!(2);
        let answer = json!({ "aud": ask.server_id.id, "sub": ask.user_nkey, "nats": what });
        let answer = self.keys.sign(answer)?;
        if let Some(reply) = message.reply.clone()
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
        let question = json!({ "auth": true, "acc": RUNNERS, "user": runner_user(runner) });
        let list = self.ask(CONNECTIONS.to_owned(), &question, "list connections").await?;
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

impl Ask {
    /// Who the client says he is: the holder of the key with which he signed the server's nonce, or a subscriber.
    fn claim(&self) -> Option<Claim> {
        let Options { nkey, sig, user, pass } = &self.connect_opts;
        if nkey.is_empty() {
            return Some(Claim::Subscriber(SubscriptionName::of_user(user)?, pass.clone()));
        }
        let nonce = &self.client_info.nonce;
        let key = KeyPair::from_public_key(nkey).ok()?;
        let proven = !nonce.is_empty()
            && nkey.starts_with('U')
            && key.verify(nonce.as_bytes(), &token::decode(sig)?).is_ok();
        proven.then(|| Claim::Key(nkey.clone()))
    }
}
