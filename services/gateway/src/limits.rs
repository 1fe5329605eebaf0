//! Limits: how much one gateway takes at once, and of whom.
//!
//! Owns their defaults, which a fleet of scripts and a room full of people do not meet. What one request may ask for is
//! bounded where it is read.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// How much a gateway takes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many requests a second each caller may send in the long run, and ten times as many at once; absent: any number.
    pub requests_per_second: Option<NonZeroU32>,
    /// How many connections may be open at once; more wait until one is closed.
    pub connections: NonZeroUsize,
    /// How many of them one address may have, or one network of IPv6; absent: any number. A loopback address may have all.
    pub connections_per_address: Option<NonZeroUsize>,
    /// How long a connection may be open without the whole head of a request: at its beginning and between two requests.
    pub head_timeout: Duration,
}

impl Limits {
    /// Requests a second of a caller unless it is set otherwise.
    pub const REQUESTS_PER_SECOND: u32 = 100;
    /// Connections at once unless it is set otherwise.
    pub const CONNECTIONS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_999);
    /// Connections of an address at once unless it is set otherwise.
    pub const CONNECTIONS_PER_ADDRESS: usize = 256;
    /// How long a connection may be without a request unless it is set otherwise.
    pub const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: NonZeroU32::new(Self::REQUESTS_PER_SECOND),
            connections: Self::CONNECTIONS,
            connections_per_address: NonZeroUsize::new(Self::CONNECTIONS_PER_ADDRESS),
            head_timeout: Self::HEAD_TIMEOUT,
        }
    }
}
