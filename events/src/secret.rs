//! Secrets: values that steps may use and nobody may read.
//!
//! Owns names, scopes and versions. A value is in here only sealed, so that whoever reads the log reads none. Invariant: a
//! version names one value for ever, also when the secret was deleted and set again.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::event_types;
use crate::id::{ActionId, SecretId};
use crate::rejection::{Code, Rejection};

/// The fewest bytes of a value: one that is shorter stands in every log by chance, and hiding it would make logs unreadable.
pub const MIN_BYTES: usize = 4;

/// The most bytes of a value: all secrets of a job must fit into its ticket.
pub const MAX_BYTES: usize = 16 * 1024;

/// The longest name.
const NAME_BYTES: usize = 128;

event_types! {
    /// The secret has a value, or another one.
    Set = "set" / 1,
    /// The secret has no value any more.
    Deleted = "deleted" / 1,
}

/// A secret's name, which is also the variable that a step finds it in: a letter or `_`, then letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct SecretName(String);

/// The text does not name a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a secret: use up to 128 ASCII letters, digits and `_`, and no digit first")]
pub struct InvalidSecretName(pub String);

impl SecretName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SecretName {
    type Err = InvalidSecretName;

    fn from_str(text: &str) -> Result<Self, InvalidSecretName> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins_well = !text.starts_with(|c: char| c.is_ascii_digit());
        if (1..=NAME_BYTES).contains(&text.len()) && begins_well && text.bytes().all(inner) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSecretName(text.to_owned()))
        }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whose steps may ask for a secret. Where a name is set in both, the narrower one is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Scope {
    /// Those of every action.
    Global,
    /// Those of one action.
    Action {
        /// The action.
        action: ActionId,
    },
}

impl Scope {
    /// The scopes in which a name is looked for, the narrowest first.
    pub const fn of(action: ActionId) -> [Self; 2] {
        [Self::Action { action }, Self::Global]
    }
}

impl SecretId {
    /// The id of the secret with this name in this scope.
    pub fn of(scope: &Scope, name: &SecretName) -> Self {
        match scope {
            Scope::Global => Self::derived(&["global", name.as_str()]),
            Scope::Action { action } => Self::derived(&["action", &action.to_string(), name.as_str()]),
        }
    }
}

/// A value that only its recipient can read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sealed {
    /// The public key that it is sealed to, as NATS writes curve keys.
    pub recipient: String,
    /// The public key that was made for this one sealing.
    pub sender: String,
    /// The sealed bytes in base64.
    pub sealed: String,
}

/// A secret's value at one time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretVersion {
    /// The name.
    pub name: SecretName,
    /// Whose steps may ask for it.
    pub scope: Scope,
    /// From 1.
    pub version: u32,
}

/// The payload of `secret.set`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Set {
    /// The name.
    pub name: SecretName,
    /// Whose steps may ask for it.
    pub scope: Scope,
    /// From 1, and another one for each value.
    pub version: u32,
    /// The value.
    pub sealed: Sealed,
}

/// The payload of `secret.deleted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deleted {}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The last version that there was; 0 before the first.
    pub version: u32,
    /// What it is; absent while it has no value.
    pub set: Option<Set>,
}

/// What can be asked of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Give it a value.
    Set {
        /// The name.
        name: SecretName,
        /// Whose steps may ask for it.
        scope: Scope,
        /// The value.
        sealed: Sealed,
    },
    /// Take its value away.
    Delete,
}

/// Decides what a command means for a secret in this state.
pub fn decide(secret: &Secret, command: Command) -> Result<Option<Event>, Rejection> {
    match (command, &secret.set) {
        (Command::Set { name, scope, sealed }, Some(known))
            if (&known.name, &known.scope, &known.sealed) == (&name, &scope, &sealed) =>
        {
            Ok(None)
        }
        (Command::Set { name, scope, sealed }, _) => match secret.version.checked_add(1) {
            Some(version) => Ok(Some(Set { name, scope, version, sealed }.into())),
            None => Err(Rejection::new(
                Code::IllegalTransition,
                "the secret has had as many values as there can be",
                "Use another name.",
            )),
        },
        (Command::Delete, Some(_)) => Ok(Some(Deleted {}.into())),
        (Command::Delete, None) if secret.version > 0 => Ok(None),
        (Command::Delete, None) => Err(Rejection::new(
            Code::NotFound,
            "there is no such secret",
            "`patchwave secret list` shows the secrets there are, and their scopes.",
        )),
    }
}

/// Takes an event in.
pub fn evolve(mut secret: Secret, event: &Event) -> Secret {
    match event {
        Event::Set(set) => {
            secret.version = set.version;
            secret.set = Some(set.clone());
        }
        Event::Deleted(Deleted {}) => secret.set = None,
    }
    secret
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn a_name_is_a_variable_of_every_shell() {
        for good in ["A", "_", "NPM_TOKEN", "a9", "x".repeat(128).as_str()] {
            assert!(good.parse::<SecretName>().is_ok(), "{good}");
        }
        for bad in ["", "9A", "A-B", "A=B", "A B", "\u{e4}", "A\0", "x".repeat(129).as_str()] {
            assert!(bad.parse::<SecretName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_name_is_another_secret_in_another_scope() {
        let name: SecretName = "TOKEN".parse().unwrap();
        let scope = |action| Scope::Action { action: ActionId::named(action) };
        let ids = [Scope::Global, scope("one"), scope("two")].map(|scope| SecretId::of(&scope, &name));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
        // Ids are stored for ever: this value must never change.
        assert_eq!(ids[0].to_string(), "secret_3tqvzkb6zkaddryd5bdjakecps");
    }
}
