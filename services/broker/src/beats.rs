//! Heartbeats: sending and following them.
//!
//! Owns the newest beat of each sender, which the broker keeps for half a minute. A beat that is lost is no loss: the next
//! one comes.

use bytes::Bytes;
use events::beat::{ProjectorBeat, RunnerBeat};
use events::id::RunnerId;
use events::subject;
use tokio::sync::watch;

use crate::Broker;
use crate::follow::{Follow, FollowError, Follower, Start};
use crate::publish::PublishError;
use crate::streams::BEATS;

/// The heartbeats of all runners.
pub struct RunnerBeats {
    follower: Follower,
    waiting: std::collections::VecDeque<(RunnerId, RunnerBeat)>,
}

impl Broker {
    /// Says that a runner lives. Does not wait for an answer: a late beat would be worse than none.
    ///
    /// # Errors
    /// When the beat cannot be written.
    pub async fn beat_runner(&self, runner: &RunnerId, beat: &RunnerBeat) -> Result<(), PublishError> {
        self.beat(subject::runner_beat(runner), serde_json::to_vec(beat)?).await;
        Ok(())
    }

    /// Says for the last time how a runner is; returns once the broker has it.
    ///
    /// # Errors
    /// When the beat cannot be written.
    pub async fn last_beat_of_runner(
        &self,
        runner: &RunnerId,
        beat: &RunnerBeat,
    ) -> Result<(), PublishError> {
        let payload = Bytes::from(serde_json::to_vec(beat)?);
        let subject = subject::runner_beat(runner);
        self.publish_surely(&subject, async_nats::HeaderMap::new(), payload).await.map(drop)
    }

    /// Says how far the projection is.
    ///
    /// # Errors
    /// When the beat cannot be written.
    pub async fn beat_projector(&self, beat: &ProjectorBeat) -> Result<(), PublishError> {
        self.beat(subject::PROJECTOR_BEAT.to_owned(), serde_json::to_vec(beat)?).await;
        Ok(())
    }

    async fn beat(&self, subject: String, payload: Vec<u8>) {
        if let Err(error) = self.client.publish(subject, Bytes::from(payload)).await {
            tracing::debug!(%error, "a heartbeat was not sent");
        }
    }

    /// Follows the heartbeats of all runners, beginning with the newest of each.
    pub fn follow_runner_beats(&self) -> RunnerBeats {
        let filters = vec![subject::ALL_RUNNER_BEATS.to_owned()];
        let follower = self.follow(Follow { stream: BEATS, filters, start: Start::LastOfEach, batch: 500 });
        RunnerBeats { follower, waiting: std::collections::VecDeque::new() }
    }

    /// The sequence up to which the projection is committed, as a value to watch. Ends with the last receiver.
    pub fn follow_projector(&self) -> watch::Receiver<u64> {
        let (sender, receiver) = watch::channel(0);
        let filters = vec![subject::PROJECTOR_BEAT.to_owned()];
        let mut follower =
            self.follow(Follow { stream: BEATS, filters, start: Start::LastOfEach, batch: 500 });
        tokio::spawn(async move {
            loop {
                let batch = tokio::select! {
                    () = sender.closed() => return,
                    batch = follower.next() => batch,
                };
                let Ok(batch) = batch else { return };
                let newest = batch
                    .messages
                    .last()
                    .map(|message| serde_json::from_slice::<ProjectorBeat>(&message.payload));
                if let Some(Ok(beat)) = newest {
                    // A rebuild may begin anew from below, so the newest word counts, not the highest.
                    sender.send_replace(beat.sequence);
                }
            }
        });
        receiver
    }
}

impl RunnerBeats {
    /// Waits for the next heartbeat. Safe to cancel.
    ///
    /// # Errors
    /// When the stream of heartbeats is gone.
    pub async fn next(&mut self) -> Result<(RunnerId, RunnerBeat), FollowError> {
        loop {
            if let Some(beat) = self.waiting.pop_front() {
                return Ok(beat);
            }
            for message in self.follower.next().await?.messages {
                match (subject::beating_runner(&message.subject), serde_json::from_slice(&message.payload)) {
                    (Some(runner), Ok(beat)) => self.waiting.push_back((runner, beat)),
                    _ => tracing::warn!(subject = message.subject, "a heartbeat cannot be read"),
                }
            }
        }
    }
}
