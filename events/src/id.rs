//! Typed ids: a UUID that knows what it names.
//!
//! Owns the one text form of an id, `<kind>_<26 characters>` (Crockford base32, lower case, most significant first, so
//! that ids made later sort later). Never makes an id by chance: a version 7 UUID comes in as an argument, and a
//! derived id is a version 5 UUID of what it is derived from.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of every derived id. Changing it would give every derived id another value.
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0d_3c1e_7a52_4b8e_9d14_52c1_8be7_a601);

/// Crockford's base32 alphabet in lower case: no i, l, o, u.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The text is not an id of the kind that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {kind} id: expected `{kind}_` and 26 characters of 0-9 a-z without i, l, o, u")]
pub struct InvalidId {
    /// What was given.
    pub text: String,
    /// The kind that was expected.
    pub kind: &'static str,
}

fn encode(uuid: Uuid) -> String {
    let bits = uuid.as_u128();
    (0..26).rev().map(|digit| char::from(ALPHABET[(bits >> (digit * 5) & 31) as usize])).collect()
}

fn decode(text: &str) -> Option<Uuid> {
    // 26 digits hold 130 bits: a first digit above 7 would overflow the 128 of a UUID.
    if text.len() != 26 || !matches!(text.as_bytes()[0], b'0'..=b'7') {
        return None;
    }
    let mut bits = 0u128;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        bits = bits << 5 | digit as u128;
    }
    Some(Uuid::from_u128(bits))
}

/// Derives a version 5 UUID from parts. Each part is length-prefixed: no two lists of parts give the same bytes.
fn derive(kind: &str, parts: &[&str]) -> Uuid {
    let mut name = Vec::new();
    for part in std::iter::once(&kind).chain(parts) {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Uuid::new_v5(&NAMESPACE, &name)
}

macro_rules! typed_id {
    ($(#[$meta:meta])* $name:ident, $kind:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// What stands before the underscore.
            pub const KIND: &'static str = $kind;

            /// Wraps a UUID, usually a fresh version 7 one.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Derives the id that always belongs to these parts.
            pub fn derived(parts: &[&str]) -> Self {
                Self(derive($kind, parts))
            }

            /// The UUID inside.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 26 characters without the kind: the form that stands in a subject.
            pub fn token(self) -> String {
                encode(self.0)
            }

            /// Reads the form that stands in a subject.
            pub fn from_token(token: &str) -> Option<Self> {
                decode(token).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, "_{}"), encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($kind, "_"))
                    .and_then(decode)
                    .map(Self)
                    .ok_or_else(|| InvalidId { text: text.to_owned(), kind: $kind })
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": concat!("^", $kind, "_[0-7][0-9a-hjkmnp-tv-z]{25}$"),
                })
            }
        }
    };
}

typed_id!(
    /// An action. Derived from its name: two actions of one name cannot exist.
    ActionId,
    "action"
);
typed_id!(
    /// One run of an action's revision.
    ExecutionId,
    "execution"
);
typed_id!(
    /// One workspace of one execution. Derived from both, so that queueing twice queues once.
    JobId,
    "job"
);
typed_id!(
    /// A campaign plan.
    PlanId,
    "plan"
);
typed_id!(
    /// A preview.
    PreviewId,
    "preview"
);
typed_id!(
    /// A repository. Derived from its clone URL.
    RepositoryId,
    "repository"
);
typed_id!(
    /// The key to which secrets are sealed.
    SealingKeyId,
    "sealing_key"
);
typed_id!(
    /// A secret. Derived from its scope and name.
    SecretId,
    "secret"
);
typed_id!(
    /// A user. Derived from the name.
    UserId,
    "user"
);
typed_id!(
    /// A token of a user. Derived from its digest.
    TokenId,
    "token"
);
typed_id!(
    /// An event. Derived from the command that it answers and the aggregate, so that a command that is repeated
    /// makes the same event.
    EventId,
    "event"
);
typed_id!(
    /// What somebody asked for once, however often the request is sent.
    CommandId,
    "command"
);

impl ActionId {
    /// The id of the action with this name.
    pub fn named(name: &str) -> Self {
        Self::derived(&[name])
    }
}

impl RepositoryId {
    /// The id of the repository that is cloned from this URL or path.
    pub fn at(url: &str) -> Self {
        Self::derived(&[url])
    }
}

/// A runner's name, chosen by its operator: 1 to 63 characters of a-z, 0-9 and inner hyphens, so that it is one subject
/// token, a host name and a container label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct RunnerId(String);

/// The text is not a runner's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a runner name: use 1 to 63 characters of a-z, 0-9 and inner hyphens")]
pub struct InvalidRunnerId(pub String);

impl RunnerId {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RunnerId {
    type Err = InvalidRunnerId;

    fn from_str(text: &str) -> Result<Self, InvalidRunnerId> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edges = !text.starts_with('-') && !text.ends_with('-');
        if (1..=63).contains(&text.len()) && edges && text.bytes().all(inner) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRunnerId(text.to_owned()))
        }
    }
}

impl fmt::Display for RunnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for RunnerId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_id_reads_back_from_its_text(bits: u128) {
            let id = JobId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<JobId>().unwrap(), id);
            prop_assert_eq!(JobId::from_token(&id.token()), Some(id));
        }

        #[test]
        fn ids_sort_as_their_text_does(a: u128, b: u128) {
            let (a, b) = (JobId::from_uuid(Uuid::from_u128(a)), JobId::from_uuid(Uuid::from_u128(b)));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn any_other_text_is_refused_without_a_panic(text: String) {
            let _ = text.parse::<JobId>();
            let _ = text.parse::<RunnerId>();
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let id = ActionId::named("tidy");
        assert_eq!(id.to_string().parse::<JobId>().unwrap_err().kind, "job");
        assert!(JobId::from_token("80000000000000000000000000").is_none(), "more than 128 bits");
    }

    #[test]
    fn derived_ids_keep_their_parts_apart() {
        assert_ne!(JobId::derived(&["ab", "c"]), JobId::derived(&["a", "bc"]));
        assert_eq!(JobId::derived(&["ab", "c"]), JobId::derived(&["ab", "c"]));
        // Derived ids are stored for ever: this value must never change.
        assert_eq!(ActionId::named("tidy").to_string(), "action_1qfgd65s66b01v8vp4gph3egge");
    }

    #[test]
    fn a_runner_name_is_one_subject_token() {
        for good in ["a", "builder-7", "x".repeat(63).as_str()] {
            assert!(good.parse::<RunnerId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a*", "a b", "x".repeat(64).as_str()] {
            assert!(bad.parse::<RunnerId>().is_err(), "{bad}");
        }
    }
}
