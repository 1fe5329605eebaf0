//! Subscriptions: services of others follow events, each through a durable consumer of its own.
//!
//! Owns the consumers whose names begin with `sub-`; no service of ours has one of that name. An operator makes them, because
//! whoever makes a consumer says what it reads and where the server delivers, and could have it speak to our services. A
//! subscription's password is kept nowhere: its digest stands in the consumer, so that both come and go together.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, Info};
use async_nats::jetstream::stream::{ConsumerCreateStrictErrorKind, ConsumerErrorKind};
use events::Timestamp;
use futures::TryStreamExt as _;
use sha2::Digest as _;

use crate::append::ReadError;
use crate::connect::SUBSCRIBER_API_PREFIX;
use crate::server::Rights;
use crate::streams::EVENTS;
use crate::{Broker, Start};

/// What a subscriber's user begins with.
pub(crate) const SUBSCRIBER_USER: &str = "subscriber-";

/// What a subscription's consumer begins with.
const CONSUMER: &str = "sub-";

/// Where the consumer keeps the digest of its password.
const PASSWORD_SHA256: &str = "patchwave-password-sha256";

/// A subscription's name: 1 to 40 characters of a-z, 0-9 and inner hyphens, so that it is one subject token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionName(String);

/// The text is no subscription's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the name of a subscription: use 1 to 40 characters of a-z, 0-9 and inner hyphens")]
pub struct InvalidSubscriptionName(String);

impl FromStr for SubscriptionName {
    type Err = InvalidSubscriptionName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edges = !text.starts_with('-') && !text.ends_with('-');
        if (1..=40).contains(&text.len()) && edges && text.bytes().all(inner) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidSubscriptionName(text.to_owned()))
        }
    }
}

impl fmt::Display for SubscriptionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SubscriptionName {
    /// Its user at the broker.
    pub fn user(&self) -> String {
        format!("{SUBSCRIBER_USER}{self}")
    }

    /// The name behind a user, if it is a subscriber's.
    pub(crate) fn of_user(user: &str) -> Option<Self> {
        user.strip_prefix(SUBSCRIBER_USER)?.parse().ok()
    }

    /// Its consumer.
    pub fn consumer(&self) -> String {
        format!("{CONSUMER}{self}")
    }

    /// What every inbox of it begins with.
    pub fn inbox_prefix(&self) -> String {
        format!("_INBOX_subscriber_{self}")
    }

    /// What its user may do: to look at its consumer, to pull from it, and to acknowledge what came.
    pub fn rights(&self) -> Rights {
        let consumer = self.consumer();
        Rights {
            publish: vec![
                format!("{SUBSCRIBER_API_PREFIX}.CONSUMER.INFO.{EVENTS}.{consumer}"),
                format!("{SUBSCRIBER_API_PREFIX}.CONSUMER.MSG.NEXT.{EVENTS}.{consumer}"),
                format!("$JS.ACK.{EVENTS}.{consumer}.>"),
            ],
            subscribe: vec![format!("{}.>", self.inbox_prefix())],
        }
    }
}

/// What a subscriber needs to know to follow its events.
#[derive(Clone, PartialEq, Eq, serde::Serialize)]
pub struct Credentials {
    /// The broker's user.
    pub user: String,
    /// Its password.
    pub password: String,
    /// What its inboxes have to begin with.
    pub inbox_prefix: String,
    /// What stands in place of `$JS.API` before each call.
    pub api_prefix: &'static str,
    /// The stream.
    pub stream: &'static str,
    /// The consumer.
    pub consumer: String,
}

/// What to subscribe to.
#[derive(Clone, Debug)]
pub struct Subscribe {
    /// Its name.
    pub name: SubscriptionName,
    /// Subjects, of which none covers another.
    pub filters: Vec<String>,
    /// Where to begin; none: with what happens from now on.
    pub start: Option<Start>,
    /// After how long an event that is not acknowledged comes again.
    pub ack_wait: Duration,
    /// How many events may be under way. Only one at a time comes in the order of the log whatever happens.
    pub in_flight: u32,
}

/// A subscription and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Subscription {
    /// Its name.
    pub name: String,
    /// The subjects of its events.
    pub filters: Vec<String>,
    /// Every event of its up to this sequence is acknowledged.
    pub acknowledged: u64,
    /// How many events were delivered and not acknowledged.
    pub in_flight: u64,
    /// How many events were not delivered yet.
    pub pending: u64,
    /// How many pulls wait for events; 0: nobody listens.
    pub waiting: u64,
    /// When it was made.
    pub created: Timestamp,
}

/// Why there is no such subscription.
#[derive(Debug, thiserror::Error)]
pub enum SubscriptionError {
    /// There is one of this name.
    #[error("there is a subscription `{0}` already")]
    Exists(SubscriptionName),
    /// There is none of this name.
    #[error("there is no subscription `{0}`")]
    NotFound(SubscriptionName),
    /// The broker does not answer or refuses.
    #[error(transparent)]
    Broker(#[from] ReadError),
}

impl Broker {
    /// Makes a subscription. Its password is told this once.
    ///
    /// # Errors
    /// When there is one of the name, or the broker refuses.
    pub async fn subscribe(&self, subscribe: &Subscribe) -> Result<Credentials, SubscriptionError> {
        let Subscribe { name, filters, start, ack_wait, in_flight } = subscribe;
        // Version 4 UUIDs: 244 random bits, for which a plain digest is enough.
        let password = format!("p{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let config = Config {
            durable_name: Some(name.consumer()),
            filter_subjects: filters.clone(),
            deliver_policy: match *start {
                None => DeliverPolicy::New,
                Some(Start::After(0)) => DeliverPolicy::All,
                Some(Start::After(sequence)) => {
                    DeliverPolicy::ByStartSequence { start_sequence: sequence + 1 }
                }
                Some(Start::Time(start_time)) => DeliverPolicy::ByStartTime { start_time },
                Some(Start::LastOfEach) => DeliverPolicy::LastPerSubject,
            },
            ack_policy: AckPolicy::Explicit,
            ack_wait: *ack_wait,
            max_ack_pending: i64::from(*in_flight),
            metadata: HashMap::from([(PASSWORD_SHA256.to_owned(), digest(&password))]),
            ..Config::default()
        };
        let made = self.stream(EVENTS).await?.create_consumer_strict(config).await;
        match made {
            Ok(_) => Ok(Credentials {
                user: name.user(),
                password,
                inbox_prefix: name.inbox_prefix(),
                api_prefix: SUBSCRIBER_API_PREFIX,
                stream: EVENTS,
                consumer: name.consumer(),
            }),
            Err(error) if exists(&error.kind()) => Err(SubscriptionError::Exists(name.clone())),
            Err(error) => Err(ReadError::from_source(error).into()),
        }
    }

    /// Ends a subscription: its consumer and its password are gone.
    ///
    /// # Errors
    /// When there is none of the name, or the broker refuses.
    pub async fn unsubscribe(&self, name: &SubscriptionName) -> Result<(), SubscriptionError> {
        match self.stream(EVENTS).await?.delete_consumer(&name.consumer()).await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error.kind()) => Err(SubscriptionError::NotFound(name.clone())),
            Err(error) => Err(ReadError::from_source(error).into()),
        }
    }

    /// Every subscription, by name.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, ReadError> {
        let stream = self.stream(EVENTS).await?;
        let consumers: Vec<Info> = stream.consumers().try_collect().await.map_err(ReadError::from_source)?;
        let mut all: Vec<Subscription> = consumers.into_iter().filter_map(read).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    /// Whether this is the password of a subscription.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn knows_subscriber(&self, name: &SubscriptionName, password: &str) -> Result<bool, ReadError> {
        let found: Result<Consumer<Config>, _> =
            self.jetstream.get_consumer_from_stream(name.consumer(), EVENTS).await;
        match found {
            Ok(consumer) => {
                Ok(consumer.cached_info().config.metadata.get(PASSWORD_SHA256) == Some(&digest(password)))
            }
            Err(error) if is_missing(&error.kind()) => Ok(false),
            Err(error) => Err(ReadError::from_source(error)),
        }
    }
}

fn digest(password: &str) -> String {
    data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(password))
}

fn exists(kind: &ConsumerCreateStrictErrorKind) -> bool {
    match kind {
        ConsumerCreateStrictErrorKind::AlreadyExists => true,
        ConsumerCreateStrictErrorKind::JetStream(error) => {
            [ErrorCode::CONSUMER_ALREADY_EXISTS, ErrorCode::CONSUMER_NAME_EXIST].contains(&error.error_code())
        }
        _ => false,
    }
}

fn is_missing(kind: &ConsumerErrorKind) -> bool {
    matches!(kind, ConsumerErrorKind::JetStream(error) if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND)
}

fn read(info: Info) -> Option<Subscription> {
    let name = info.name.strip_prefix(CONSUMER)?.to_owned();
    let mut filters = info.config.filter_subjects;
    filters.extend(Some(info.config.filter_subject).filter(|filter| !filter.is_empty()));
    Some(Subscription {
        name,
        filters,
        acknowledged: info.ack_floor.stream_sequence,
        in_flight: info.num_ack_pending as u64,
        pending: info.num_pending,
        waiting: info.num_waiting as u64,
        created: info.created,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn a_name_is_one_subject_token_and_its_user_leads_back() {
        for good in ["a", "deploys-7", "x".repeat(40).as_str()] {
            let name: SubscriptionName = good.parse().unwrap();
            assert_eq!(SubscriptionName::of_user(&name.user()), Some(name));
        }
        for bad in ["", "-a", "a-", "A", "a.b", "*", ">", "a b", "x".repeat(41).as_str()] {
            assert!(bad.parse::<SubscriptionName>().is_err(), "{bad}");
            assert_eq!(SubscriptionName::of_user(&format!("{SUBSCRIBER_USER}{bad}")), None, "{bad}");
        }
        assert_eq!(SubscriptionName::of_user("runner-a"), None);
    }

    #[test]
    fn the_rights_are_those_that_the_configuration_tells_of() {
        let told = include_str!("../../../nats.conf");
        let rights = "deploys".parse::<SubscriptionName>().unwrap().rights();
        let list = |subjects: &[String]| {
            let quoted: Vec<String> = subjects.iter().map(|subject| format!("\"{subject}\"")).collect();
            format!("[{}]", quoted.join(", ")).replace("deploys", "NAME")
        };
        for line in [
            format!("#   publish: {}\n", list(&rights.publish)),
            format!("#   subscribe: {}\n", list(&rights.subscribe)),
        ] {
            assert!(told.contains(&line), "{line}");
        }
    }
}
