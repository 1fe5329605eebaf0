//! The pace of connections that stand: when they are looked at, and when they are given up.

use std::time::Duration;

/// How long things may take on a connection that stands. The default is for use; tests have no time.
#[derive(Clone, Debug)]
pub struct Pace {
    /// How long a WebSocket may take to say who it is.
    pub init: Duration,
    /// How often it is looked at again whether the caller is known.
    pub recheck: Duration,
    /// How often a sign of life is sent.
    pub pulse: Duration,
    /// After how long a silence a peer is given up, or after how long in which it took nothing.
    pub silence: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            init: Duration::from_secs(10),
            recheck: Duration::from_secs(30),
            pulse: Duration::from_secs(15),
            silence: Duration::from_secs(90),
        }
    }
}
