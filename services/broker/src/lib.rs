//! The broker: the only crate that speaks to NATS JetStream.
//!
//! Owns the streams, the one way to append, the followers, the subscriptions of others, the blobs and the queues. Never decides anything about
//! actions or jobs. Invariant: an append that returned is on disk, and happened once however often it was tried.

mod append;
mod beats;
mod blobs;
mod connect;
mod dead;
mod direct;
pub mod door;
mod enroll;
mod follow;
mod logs;
mod message;
mod publish;
mod reports;
pub mod sealed_log;
pub mod sealing;
pub mod server;
mod snapshot;
mod step_cache;
mod streams;
mod subscription;
mod work;

use tokio::sync::watch;

pub use append::{
    AppendError, Appended, Checkpoint, DecideError, Decided, MAX_BATCH, ReadError, VerifyError,
};
pub use beats::*;
pub use blobs::*;
pub use connect::{Config, ConnectError, Connection, Proof};
pub use dead::*;
pub use enroll::*;
pub use follow::{Batch, FollowError, Follower, Start};
pub use logs::*;
pub use message::Message;
pub use publish::PublishError;
pub use reports::*;
pub use sealed_log::{SealedLog, SealedLogError, SealedLogWriter};
pub use snapshot::*;
pub use streams::{CacheLimits, ProvisionError};
pub use subscription::*;
pub use work::*;

/// A connection to the broker in one role. Cheap to clone.
#[derive(Clone)]
pub struct Broker {
    pub(crate) client: async_nats::Client,
    pub(crate) jetstream: async_nats::jetstream::Context,
    connection: watch::Receiver<Connection>,
    /// Whether this is a runner's connection, which reaches the streams over the border between the accounts.
    is_runner: bool,
    /// What a runner's message ids begin with. The broker drops a message whose id it knows, whoever sent the first: a
    /// runner that could guess another's ids would silence it.
    salt: std::sync::Arc<str>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").field("connection", &*self.connection.borrow()).finish_non_exhaustive()
    }
}
