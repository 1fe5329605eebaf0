//! The scheduler's connection to the servers, with the names and promises of the real one.
//!
//! Owns where a scheduler may die: at any step that others can notice, with the step done or not. Its future is then never
//! ready. Never stores anything itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::pending;
use std::rc::Rc;

use broker::{
    AppendError, Appended, Checkpoint, DecideError, Decided, FollowError, PublishError, ReadError, Start,
    VerifyError,
};
use events::beat::RunnerBeat;
use events::blob::Sha256;
use events::envelope::{NewEvent, Origin, Recorded};
use events::id::{EventId, RunnerId};
use events::image::ImagePin;
use events::report::Report;
use events::step_cache::CacheEntry;
use events::ticket::{Control, Ticket};
use events::{Aggregate, Event, Rejection, Timestamp, Undecodable};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::servers::Servers;

/// The scheduler's connection to the servers.
#[derive(Clone)]
pub struct Broker(pub(super) Rc<RefCell<Servers>>);

impl Broker {
    /// A step that others can notice.
    async fn step<T>(&self, effect: impl FnOnce(&mut Servers) -> T) -> T {
        let done = {
            let servers = &mut *self.0.borrow_mut();
            let dies = servers.dies();
            let done = (!dies || servers.rng.bool()).then(|| effect(servers));
            done.filter(|_| !dies)
        };
        match done {
            Some(done) => done,
            None => pending().await,
        }
    }

    pub(crate) async fn append(&self, event: &NewEvent, expected: u64) -> Result<Appended, AppendError> {
        self.step(|servers| servers.append(event, expected)).await
    }

    pub(crate) async fn append_births(&self, births: &[NewEvent]) -> Result<(), AppendError> {
        for event in births {
            self.append(event, 0).await?;
        }
        Ok(())
    }

    /// The model's cache is empty: what it has decides how much work there is, never what comes of it.
    pub(crate) async fn cached_step(
        &self,
        _: &[(usize, Sha256)],
    ) -> Result<Option<(usize, CacheEntry)>, ReadError> {
        Ok(None)
    }

    pub(crate) async fn cache_step(&self, _: &Sha256, _: &CacheEntry) {}

    pub(crate) async fn cached_images(
        &self,
        _: &str,
        _: &[String],
        known: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, ReadError> {
        Ok(known)
    }

    pub(crate) async fn cache_image(&self, _: &str, _: &ImagePin) {}

    pub(crate) async fn history(&self, aggregate: &Aggregate) -> Result<Vec<Recorded>, ReadError> {
        let servers = self.0.borrow();
        let own = servers.events.iter().filter(|(recorded, _)| recorded.aggregate == *aggregate);
        Ok(own.map(|(recorded, _)| recorded.clone()).collect())
    }

    pub(crate) async fn decide(
        &self,
        aggregate: &Aggregate,
        origin: &Origin,
        time: Timestamp,
        mut decide: impl FnMut(&[Recorded]) -> Result<Option<Event>, Rejection>,
    ) -> Result<Decided, DecideError> {
        let history = self.history(aggregate).await?;
        let sequence = history.last().map_or(0, |last| last.sequence);
        let Some(event) = decide(&history)? else { return Ok(Decided { sequence, event: None }) };
        let new = NewEvent { aggregate: aggregate.clone(), event, time, origin: origin.clone() };
        let appended = self.append(&new, sequence).await?;
        Ok(Decided { sequence: appended.sequence, event: Some(new.event) })
    }

    /// A scope: its size says which.
    pub(crate) async fn get_document<T: DeserializeOwned>(
        &self,
        blob: &events::blob::BlobRef,
    ) -> serde_json::Result<T> {
        serde_json::from_value(serde_json::to_value(&self.0.borrow().scopes[blob.size as usize])?)
    }

    pub(crate) async fn verify(&self, checkpoint: &Checkpoint) -> Result<(), VerifyError> {
        assert!(checkpoint.sequence <= self.0.borrow().events.len() as u64, "it saw what is not there");
        Ok(())
    }

    pub(crate) fn follow_events(&self, filters: &[String], start: Start) -> Follower {
        let Start::After(after) = start else { unreachable!("events are followed from a place") };
        Follower { broker: self.clone(), filters: filters.to_vec(), next: after as usize }
    }

    pub(crate) async fn open_queues(&self, runner: &RunnerId) -> Result<(), ReadError> {
        self.step(|servers| _ = servers.queues.entry(runner.clone()).or_default()).await;
        Ok(())
    }

    pub(crate) async fn put_ticket(&self, runner: &RunnerId, ticket: &Ticket) -> Result<(), PublishError> {
        self.step(|servers| servers.put_ticket(runner, ticket.clone())).await;
        Ok(())
    }

    pub(crate) async fn put_control(&self, runner: &RunnerId, control: &Control) -> Result<(), PublishError> {
        self.step(|servers| {
            servers.tell(|| format!("{runner} is told {control:?}"));
            servers.queues.entry(runner.clone()).or_default().controls.push_back(control.clone());
        })
        .await;
        Ok(())
    }

    pub(crate) async fn clear_tickets(&self, runner: &RunnerId) -> Result<(), ReadError> {
        self.step(|servers| {
            let queues = servers.queues.entry(runner.clone()).or_default();
            queues.tickets.clear();
            queues.controls.clear();
        })
        .await;
        Ok(())
    }

    /// The next reports, as the queue delivers them.
    pub(super) fn deliver(&self, most: usize) -> Vec<ReportDelivery> {
        let servers = &mut *self.0.borrow_mut();
        let end = servers.reports.len().min(servers.delivered.saturating_add(most));
        let places = servers.delivered..end;
        servers.delivered = end;
        let delivery = |place: usize| {
            let stored = &servers.reports[place];
            let (runner, reports) = (stored.runner.clone(), Ok(stored.reports.clone()));
            ReportDelivery { runner, reports, place, broker: self.clone() }
        };
        places.map(delivery).collect()
    }

    // The loop itself, which is not what goes through the histories, takes these.

    pub(crate) async fn reports(&self) -> Result<Self, ReadError> {
        Ok(self.clone())
    }

    pub(crate) async fn next_batch(&mut self) -> Vec<ReportDelivery> {
        pending().await
    }

    pub(crate) fn follow_runner_beats(&self) -> Self {
        self.clone()
    }

    pub(crate) async fn next(&mut self) -> Result<(RunnerId, RunnerBeat), FollowError> {
        pending().await
    }

    pub(crate) fn connection(&self) -> watch::Receiver<()> {
        watch::channel(()).1
    }
}

/// Reports that wait for their facts.
pub(crate) struct ReportDelivery {
    pub(crate) runner: RunnerId,
    pub(crate) reports: serde_json::Result<Vec<Report>>,
    place: usize,
    broker: Broker,
}

impl ReportDelivery {
    pub(crate) async fn ack_up_to(&self) -> Result<(), ReadError> {
        let acknowledge = |servers: &mut Servers| {
            servers.reports[..=self.place].iter_mut().for_each(|stored| stored.acknowledged = true);
        };
        self.broker.step(acknowledge).await;
        Ok(())
    }

    #[expect(clippy::unused_async, reason = "the real one waits")]
    pub(crate) async fn bury(&self, reason: &str) -> anyhow::Result<()> {
        panic!("a report of an honest runner makes no sense: {reason}");
    }
}

/// A reader of the log.
pub(crate) struct Follower {
    broker: Broker,
    filters: Vec<String>,
    next: usize,
}

/// Messages that came together.
pub(crate) struct Batch {
    pub(crate) messages: Vec<Message>,
}

/// A message of the log.
pub(crate) struct Message {
    pub(crate) sequence: u64,
    recorded: Recorded,
}

impl Follower {
    pub(crate) async fn next(&mut self) -> Result<Batch, FollowError> {
        if self.caught_up() {
            return pending().await;
        }
        let servers = &mut *self.broker.0.borrow_mut();
        let end = (self.next + servers.rng.usize(1..30)).min(servers.events.len());
        let place = |(recorded, _): &(Recorded, String)| Message {
            sequence: recorded.sequence,
            recorded: recorded.clone(),
        };
        let wanted = servers.events[self.next..end].iter().filter(|(_, subject)| self.wants(subject));
        let messages = wanted.map(place).collect();
        self.next = end;
        Ok(Batch { messages })
    }

    pub(crate) fn caught_up(&self) -> bool {
        self.next == self.broker.0.borrow().events.len()
    }

    fn wants(&self, subject: &str) -> bool {
        self.filters.iter().any(|filter| {
            let mut tokens = subject.split('.');
            for wanted in filter.split('.') {
                match (wanted, tokens.next()) {
                    (">", Some(_)) => return true,
                    ("*", Some(_)) => {}
                    (wanted, Some(token)) if wanted == token => {}
                    _ => return false,
                }
            }
            tokens.next().is_none()
        })
    }
}

impl Message {
    #[expect(clippy::unnecessary_wraps, reason = "the real one may hold anything")]
    pub(crate) fn event(&self) -> Result<Recorded, Undecodable> {
        Ok(self.recorded.clone())
    }

    #[expect(clippy::unnecessary_wraps, reason = "the real one may hold anything")]
    pub(crate) fn event_id(&self) -> Option<EventId> {
        Some(self.recorded.id)
    }
}
