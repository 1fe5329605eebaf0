//! Events as the log knows them: an aggregate, a type with a version, and JSON.
//!
//! Owns the way from a typed event to the log and back. Old versions are brought up to date here and nowhere else; a type
//! that this build does not know is a value, never a panic.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::id::{
    ActionId, ExecutionId, JobId, PlanId, PreviewId, RepositoryId, RunnerId, SealingKeyId, SecretId, TokenId,
    UserId,
};
use crate::{
    action, enrollment, execution, job, plan, preview, repository, runner, sealing_key, secret, token, user,
};

/// One thing with a history of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aggregate {
    /// An action.
    Action(ActionId),
    /// An execution, without its jobs.
    Execution(ExecutionId),
    /// A job of an execution.
    Job(ExecutionId, JobId),
    /// A plan.
    Plan(PlanId),
    /// A preview.
    Preview(PreviewId),
    /// A repository.
    Repository(RepositoryId),
    /// A runner.
    Runner(RunnerId),
    /// The key to which secrets are sealed.
    SealingKey(SealingKeyId),
    /// A secret.
    Secret(SecretId),
    /// Who may connect as a runner.
    Enrollment(RunnerId),
    /// A user.
    User(UserId),
    /// A token of a user.
    Token(TokenId),
}

/// What kind of thing has the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AggregateKind {
    /// See [`action`].
    Action,
    /// See [`execution`].
    Execution,
    /// See [`job`].
    Job,
    /// See [`plan`].
    Plan,
    /// See [`preview`].
    Preview,
    /// See [`repository`].
    Repository,
    /// See [`runner`].
    Runner,
    /// See [`sealing_key`].
    SealingKey,
    /// See [`secret`].
    Secret,
    /// See [`enrollment`].
    Enrollment,
    /// See [`user`].
    User,
    /// See [`token`].
    Token,
}

impl AggregateKind {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Action,
        Self::Execution,
        Self::Job,
        Self::Plan,
        Self::Preview,
        Self::Repository,
        Self::Runner,
        Self::SealingKey,
        Self::Secret,
        Self::Enrollment,
        Self::User,
        Self::Token,
    ];

    /// Its name, as in subjects and in the documentation.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Execution => "execution",
            Self::Job => "job",
            Self::Plan => "plan",
            Self::Preview => "preview",
            Self::Repository => "repository",
            Self::Runner => "runner",
            Self::SealingKey => "sealing_key",
            Self::Secret => "secret",
            Self::Enrollment => "enrollment",
            Self::User => "user",
            Self::Token => "token",
        }
    }

    /// The types of event that this build can write.
    pub const fn event_types(self) -> &'static [EventType] {
        match self {
            Self::Action => action::Event::TYPES,
            Self::Execution => execution::Event::TYPES,
            Self::Job => job::Event::TYPES,
            Self::Plan => plan::Event::TYPES,
            Self::Preview => preview::Event::TYPES,
            Self::Repository => repository::Event::TYPES,
            Self::Runner => runner::Event::TYPES,
            Self::SealingKey => sealing_key::Event::TYPES,
            Self::Secret => secret::Event::TYPES,
            Self::Enrollment => enrollment::Event::TYPES,
            Self::User => user::Event::TYPES,
            Self::Token => token::Event::TYPES,
        }
    }
}

impl Aggregate {
    /// The kind of thing that it is.
    pub const fn kind(&self) -> AggregateKind {
        match self {
            Self::Action(_) => AggregateKind::Action,
            Self::Execution(_) => AggregateKind::Execution,
            Self::Job(..) => AggregateKind::Job,
            Self::Plan(_) => AggregateKind::Plan,
            Self::Preview(_) => AggregateKind::Preview,
            Self::Repository(_) => AggregateKind::Repository,
            Self::Runner(_) => AggregateKind::Runner,
            Self::SealingKey(_) => AggregateKind::SealingKey,
            Self::Secret(_) => AggregateKind::Secret,
            Self::Enrollment(_) => AggregateKind::Enrollment,
            Self::User(_) => AggregateKind::User,
            Self::Token(_) => AggregateKind::Token,
        }
    }
}

impl std::fmt::Display for Aggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Action(id) => id.fmt(f),
            Self::Execution(id) => id.fmt(f),
            Self::Job(_, id) => id.fmt(f),
            Self::Plan(id) => id.fmt(f),
            Self::Preview(id) => id.fmt(f),
            Self::Repository(id) => id.fmt(f),
            Self::Runner(id) => write!(f, "runner {id}"),
            Self::SealingKey(id) => id.fmt(f),
            Self::Secret(id) => id.fmt(f),
            Self::Enrollment(id) => write!(f, "the enrollment of the runner {id}"),
            Self::User(id) => id.fmt(f),
            Self::Token(id) => id.fmt(f),
        }
    }
}

/// A type of event: what the documentation and the contracts are made from.
pub struct EventType {
    /// The last token of its subject.
    pub name: &'static str,
    /// The version that is written.
    pub version: u32,
    /// What it means, in a line or two.
    pub doc: &'static str,
    /// The JSON Schema of its payload.
    pub schema: fn() -> schemars::Schema,
}

/// Any event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of an action.
    Action(action::Event),
    /// Of an execution.
    Execution(execution::Event),
    /// Of a job.
    Job(job::Event),
    /// Of a plan.
    Plan(plan::Event),
    /// Of a preview.
    Preview(preview::Event),
    /// Of a repository.
    Repository(repository::Event),
    /// Of a runner.
    Runner(runner::Event),
    /// Of the key to which secrets are sealed.
    SealingKey(sealing_key::Event),
    /// Of a secret.
    Secret(secret::Event),
    /// Of an enrollment.
    Enrollment(enrollment::Event),
    /// Of a user.
    User(user::Event),
    /// Of a token of a user.
    Token(token::Event),
}

/// Why an event of the log cannot be read by this build.
#[derive(Debug, thiserror::Error)]
pub enum Undecodable {
    /// Another version of the product writes it.
    #[error("unknown event type `{kind}.{name}`: this build is older than the one that wrote it")]
    UnknownType {
        /// The aggregate's kind.
        kind: &'static str,
        /// The type.
        name: String,
    },
    /// A later version of the type.
    #[error("`{kind}.{name}` has version {version}, this build reads up to {newest}: upgrade it")]
    TooNew {
        /// The aggregate's kind.
        kind: &'static str,
        /// The type.
        name: String,
        /// The version in the log.
        version: u32,
        /// The newest version that this build knows.
        newest: u32,
    },
    /// The payload is not what its type says.
    #[error("`{kind}.{name}` cannot be read")]
    Malformed {
        /// The aggregate's kind.
        kind: &'static str,
        /// The type.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The message has no such header, or one that makes no sense.
    #[error("the message has no valid `{0}` header")]
    Header(&'static str),
    /// The subject is none of an event.
    #[error("`{0}` is not the subject of an event")]
    Subject(String),
}

macro_rules! each_kind {
    ($event:expr, $inner:ident => $body:expr) => {
        match $event {
            Event::Action($inner) => $body,
            Event::Execution($inner) => $body,
            Event::Job($inner) => $body,
            Event::Plan($inner) => $body,
            Event::Preview($inner) => $body,
            Event::Repository($inner) => $body,
            Event::Runner($inner) => $body,
            Event::SealingKey($inner) => $body,
            Event::Secret($inner) => $body,
            Event::Enrollment($inner) => $body,
            Event::User($inner) => $body,
            Event::Token($inner) => $body,
        }
    };
}

impl Event {
    /// The last token of its subject.
    pub fn name(&self) -> &'static str {
        each_kind!(self, event => event.name())
    }

    /// The version that is written.
    pub fn version(&self) -> u32 {
        each_kind!(self, event => event.version())
    }

    /// Its payload.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        each_kind!(self, event => event.to_json())
    }

    /// Reads an event from the log.
    pub fn from_json(
        kind: AggregateKind,
        name: &str,
        version: u32,
        json: &[u8],
    ) -> Result<Self, Undecodable> {
        let known = kind.event_types().iter().find(|known| known.name == name);
        let Some(known) = known else {
            return Err(Undecodable::UnknownType { kind: kind.name(), name: name.to_owned() });
        };
        if version > known.version {
            let (kind, name) = (kind.name(), name.to_owned());
            return Err(Undecodable::TooNew { kind, name, version, newest: known.version });
        }
        upcast(kind, name, version, json).and_then(|json| Self::read(kind, name, &json)).map_err(|source| {
            let (kind, name) = (kind.name(), name.to_owned());
            Undecodable::Malformed { kind, name, source }
        })
    }

    fn read(kind: AggregateKind, name: &str, json: &[u8]) -> serde_json::Result<Self> {
        Ok(match kind {
            AggregateKind::Action => Self::Action(action::Event::from_json(name, json)?),
            AggregateKind::Execution => Self::Execution(execution::Event::from_json(name, json)?),
            AggregateKind::Job => Self::Job(job::Event::from_json(name, json)?),
            AggregateKind::Plan => Self::Plan(plan::Event::from_json(name, json)?),
            AggregateKind::Preview => Self::Preview(preview::Event::from_json(name, json)?),
            AggregateKind::Repository => Self::Repository(repository::Event::from_json(name, json)?),
            AggregateKind::Runner => Self::Runner(runner::Event::from_json(name, json)?),
            AggregateKind::SealingKey => Self::SealingKey(sealing_key::Event::from_json(name, json)?),
            AggregateKind::Secret => Self::Secret(secret::Event::from_json(name, json)?),
            AggregateKind::Enrollment => Self::Enrollment(enrollment::Event::from_json(name, json)?),
            AggregateKind::User => Self::User(user::Event::from_json(name, json)?),
            AggregateKind::Token => Self::Token(token::Event::from_json(name, json)?),
        })
    }

    /// Its payload as a JSON value, for display.
    pub fn to_value(&self) -> serde_json::Result<Value> {
        serde_json::from_slice(&self.to_json()?)
    }
}

/// Brings an old version's payload up to date. A field that was added and may be absent needs nothing.
fn upcast<'a>(
    kind: AggregateKind,
    name: &str,
    version: u32,
    json: &'a [u8],
) -> serde_json::Result<Cow<'a, [u8]>> {
    let added = match (kind, name, version) {
        // Nobody told the causes of losses apart, and all of them counted.
        (AggregateKind::Job, "lost", 1) => ("cause", json!("runner")),
        (AggregateKind::Job, "failed", 1 | 2) => {
            let payload: Value = serde_json::from_slice(json)?;
            let kind: job::FailureKind = serde_json::from_value(payload["failure"]["kind"].clone())?;
            ("origin", json!(kind.origin()))
        }
        _ => return Ok(Cow::Borrowed(json)),
    };
    let mut payload: Map<String, Value> = serde_json::from_slice(json)?;
    payload.insert(added.0.to_owned(), added.1);
    serde_json::to_vec(&payload).map(Cow::Owned)
}

/// Declares an aggregate's events: the enum, its types for the catalogue, and the way to JSON and back.
macro_rules! event_types {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal / $version:literal,)+) => {
        /// What can have happened.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Event {
            $($(#[doc = $doc])+ $variant($variant),)+
        }

        impl Event {
            /// Every type, as written by this build.
            pub const TYPES: &'static [crate::EventType] = &[$(crate::EventType {
                name: $name,
                version: $version,
                doc: concat!($($doc),+),
                schema: || schemars::schema_for!($variant),
            },)+];

            /// The last token of its subject.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => $name,)+ }
            }

            /// The version that is written.
            pub const fn version(&self) -> u32 {
                match self { $(Self::$variant(_) => $version,)+ }
            }

            /// Its payload.
            pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
                match self { $(Self::$variant(payload) => serde_json::to_vec(payload),)+ }
            }

            /// Reads a payload of the current version.
            pub fn from_json(name: &str, json: &[u8]) -> serde_json::Result<Self> {
                match name {
                    $($name => serde_json::from_slice(json).map(Self::$variant),)+
                    _ => Err(serde::de::Error::custom("unknown type")),
                }
            }
        }

        $(impl From<$variant> for Event {
            fn from(payload: $variant) -> Self {
                Self::$variant(payload)
            }
        })+
    };
}
pub(crate) use event_types;
