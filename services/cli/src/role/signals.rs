//! Being told to stop: an interrupt at the terminal, or the request of whoever started us.
//!
//! Owns the two signals. Both mean the same; the second of them is meant.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The requests to stop.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on the signals are ours to answer.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened to")?;
        let terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened to")?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next. Safe to cancel.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
