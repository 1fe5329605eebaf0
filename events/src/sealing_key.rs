//! The site's sealing key: to whom a secret's value is sealed before it enters the log.
//!
//! Owns the public half. The private half stays with the scheduler and is in no stream. Invariant: the newest announcement
//! is the key to seal to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::event_types;
use crate::id::SealingKeyId;
use crate::rejection::Rejection;

event_types! {
    /// Values are sealed to this key from now on.
    Announced = "announced" / 1,
}

/// The payload of `sealing_key.announced`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Announced {
    /// The public key, as NATS writes curve keys.
    pub public_key: String,
}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealingKey {
    /// The public key; absent before a scheduler announced one.
    pub public_key: Option<String>,
}

/// What can be asked of the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make a public key the one to seal to.
    Announce {
        /// The key.
        public_key: String,
    },
}

impl SealingKeyId {
    /// The one key of a site.
    pub fn site() -> Self {
        Self::derived(&["site"])
    }
}

/// Decides what a command means for the key in this state.
pub fn decide(key: &SealingKey, command: Command) -> Result<Option<Event>, Rejection> {
    let Command::Announce { public_key } = command;
    if key.public_key.as_ref() == Some(&public_key) {
        return Ok(None);
    }
    Ok(Some(Announced { public_key }.into()))
}

/// Takes an event in.
pub fn evolve(_key: SealingKey, event: &Event) -> SealingKey {
    let Event::Announced(Announced { public_key }) = event;
    SealingKey { public_key: Some(public_key.clone()) }
}
