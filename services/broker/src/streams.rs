//! The streams: what each one keeps, for how long, and under which subjects.
//!
//! Owns their configuration. Provisioning is idempotent and compares what the server echoes: a server that ignores a
//! field it does not know must not hold the log.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{CreateStreamError, CreateStreamErrorKind};
use async_nats::jetstream::stream::{
    Compression, Config, DiscardPolicy, PersistenceMode, RetentionPolicy, StorageType,
};

use crate::Broker;

/// The log: every event, for ever.
pub(crate) const EVENTS: &str = "EVENTS";
/// Tickets and control messages for runners.
pub(crate) const WORK: &str = "WORK";
/// What runners say happened.
pub(crate) const REPORTS: &str = "REPORTS";
/// Logs that are not sealed yet.
pub(crate) const LOGS: &str = "LOGS";
/// Chunks of blobs.
pub(crate) const BLOBS: &str = "BLOBS";
/// What steps came to, for as long as there is room.
pub(crate) const CACHE: &str = "CACHE";
/// The last heartbeat of each sender.
pub(crate) const BEATS: &str = "BEATS";
/// What a consumer could not handle, and what is to be handled again.
pub(crate) const DEAD: &str = "DEAD";

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The smallest step cache, in bytes.
const LEAST_CACHE: i64 = 1 << 20;

/// Consumers a stream may have: well above one per follower and two per runner, and set because servers since 2.15
/// otherwise stop at 1,000.
const MAX_CONSUMERS: i32 = 20_000;

/// How much the step cache keeps, and for how long. What is oldest makes room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// How long what a step came to is kept; two minutes at least.
    pub age: Duration,
    /// How many bytes are kept, all together; a mebibyte at least.
    pub bytes: u64,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { age: 30 * DAY, bytes: 2 << 30 }
    }
}

/// The configuration of every stream, as this build wants it.
pub(crate) fn stream_configs(cache: &CacheLimits) -> Vec<Config> {
    vec![
        Config {
            deny_delete: true,
            deny_purge: true,
            allow_atomic_publish: true,
            compression: Some(Compression::S2),
            ..stream(EVENTS, &["ev.>"])
        },
        Config { retention: RetentionPolicy::WorkQueue, ..stream(WORK, &["work.>"]) },
        Config { max_age: 7 * DAY, ..stream(REPORTS, &["report.>"]) },
        // Logs are purged once sealed; the age bounds what nobody seals.
        Config { max_age: 30 * DAY, compression: Some(Compression::S2), ..stream(LOGS, &["log.>"]) },
        Config { allow_message_ttl: true, ..stream(BLOBS, &["blob.>"]) },
        Config {
            // What is lost in a power cut runs once more.
            persist_mode: Some(PersistenceMode::Async),
            max_messages_per_subject: 1,
            // Never shorter than what catches repeated publishes; and 0 would be for ever, and without bounds.
            max_age: cache.age.max(2 * MINUTE),
            max_bytes: i64::try_from(cache.bytes).unwrap_or(i64::MAX).max(LEAST_CACHE),
            discard: DiscardPolicy::Old,
            ..stream(CACHE, &["cache.step.*", "cache.image.*", "cache.result.*.*.*"])
        },
        Config {
            // On disk because a server forgets a stream in memory, its configuration included, when it restarts; without
            // fsync because a beat that is lost is followed by the next.
            persist_mode: Some(PersistenceMode::Async),
            max_messages_per_subject: 1,
            max_age: Duration::from_secs(30),
            // Never longer than the age.
            duplicate_window: Duration::from_secs(30),
            discard: DiscardPolicy::Old,
            ..stream(BEATS, &["beat.>"])
        },
        stream(DEAD, &["dead.>", "retry.>"]),
    ]
}

fn stream(name: &str, subjects: &[&str]) -> Config {
    Config {
        name: name.to_owned(),
        subjects: subjects.iter().map(|subject| (*subject).to_owned()).collect(),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        // A full stream refuses; it never forgets what it acknowledged.
        discard: DiscardPolicy::New,
        max_messages: -1,
        max_bytes: -1,
        max_messages_per_subject: -1,
        max_consumers: MAX_CONSUMERS,
        num_replicas: 1,
        allow_direct: true,
        // Repeated publishes are caught for this long; expectations and fences catch what comes later.
        duplicate_window: Duration::from_secs(120),
        ..Config::default()
    }
}

/// Why the streams are not as they have to be.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The server refuses to make or change a stream.
    #[error("the broker cannot provide the stream {stream}")]
    Refused {
        /// The stream.
        stream: String,
        /// What the server says.
        source: CreateStreamError,
    },
    /// The server does not know a setting and dropped it.
    #[error(
        "the broker keeps the stream {stream} with `{field}` = {has} where {wants} is needed: \
         it does not know the setting; use nats-server 2.14 or later"
    )]
    Ignored {
        /// The stream.
        stream: String,
        /// The setting.
        field: String,
        /// What was asked for, as JSON.
        wants: String,
        /// What the server echoes, as JSON.
        has: String,
    },
    /// A configuration could not be written as JSON.
    #[error("the configuration of a stream cannot be compared")]
    Json(#[from] serde_json::Error),
}

impl Broker {
    /// Makes every stream, or brings it up to date, and compares what the server then has.
    ///
    /// # Errors
    /// When the server refuses, or keeps something else than what was asked for.
    pub async fn provision(&self, cache: &CacheLimits) -> Result<(), ProvisionError> {
        for wanted in stream_configs(cache) {
            if wanted.name == CACHE {
                self.provide_cache(wanted).await
            } else {
                self.provide(&wanted).await
            }?;
        }
        Ok(())
    }

    async fn provide(&self, wanted: &Config) -> Result<(), ProvisionError> {
        let stream = wanted.name.clone();
        let made = self.jetstream.create_or_update_stream(wanted.clone()).await;
        let info = made.map_err(|source| ProvisionError::Refused { stream, source })?;
        compare(wanted, &info.config)
    }

    /// Makes the step cache as large as there is room for: the broker sets its bytes aside. Without any it goes without one.
    async fn provide_cache(&self, mut wanted: Config) -> Result<(), ProvisionError> {
        loop {
            match self.provide(&wanted).await {
                Err(ProvisionError::Refused { source, .. }) if is_out_of_room(&source) => {
                    if wanted.max_bytes <= LEAST_CACHE {
                        tracing::warn!("there is no room for the step cache: every step runs");
                        return Ok(());
                    }
                    wanted.max_bytes = (wanted.max_bytes / 2).max(LEAST_CACHE);
                    tracing::warn!(
                        bytes = wanted.max_bytes,
                        "the step cache is smaller than it may be, for want of room"
                    );
                }
                other => return other,
            }
        }
    }
}

fn is_out_of_room(error: &CreateStreamError) -> bool {
    matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
        if error.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED)
}

/// Every setting that was asked for must come back; the server may add its own.
fn compare(wanted: &Config, has: &Config) -> Result<(), ProvisionError> {
    let (wanted_json, has_json) = (serde_json::to_value(wanted)?, serde_json::to_value(has)?);
    for (field, wants) in wanted_json.as_object().into_iter().flatten() {
        let has = has_json.get(field).unwrap_or(&serde_json::Value::Null);
        if !wants.is_null() && wants != has {
            return Err(ProvisionError::Ignored {
                stream: wanted.name.clone(),
                field: field.clone(),
                wants: wants.to_string(),
                has: has.to_string(),
            });
        }
    }
    Ok(())
}
