//! Reports: from a runner to the scheduler, none lost.
//!
//! Owns the durable consumer through which the scheduler reads them, in order also after a crash. A report leaves the
//! scheduler's queue once its fact is in the log.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull::{Config, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use bytes::Bytes;
use events::beat::Running;
use events::id::RunnerId;
use events::report::Report;
use events::subject;
use futures::{FutureExt, StreamExt};

use crate::Broker;
use crate::append::{Backoff, ReadError};
use crate::message::Message;
use crate::publish::{PublishError, identified};
use crate::streams::REPORTS;

const CONSUMER: &str = "scheduler";

/// After how long a report that was not acknowledged comes again: the scheduler died with it.
const ACK_WAIT: Duration = Duration::from_secs(60);

/// How many messages may be under way at once.
const BATCH: usize = 1_000;

/// The reports that wait for the scheduler.
pub struct Reports {
    broker: Broker,
    messages: Option<Messages>,
}

/// Reports of one attempt that wait for their facts.
pub struct ReportDelivery {
    /// Who says so; the broker lets nobody speak under another runner's name.
    pub runner: RunnerId,
    /// What it says, oldest first, if it can be read.
    pub reports: Result<Vec<Report>, serde_json::Error>,
    broker: Broker,
    message: jetstream::Message,
}

impl Broker {
    /// Reports on one attempt, oldest first. The reports are stored when this returns, once however often they are sent
    /// together over one connection within the duplicate window.
    ///
    /// # Errors
    /// When the reports are larger than a message may be.
    pub async fn report(&self, runner: &RunnerId, reports: &[Report]) -> Result<(), PublishError> {
        let (Some(first), Some(last)) = (reports.first(), reports.last()) else { return Ok(()) };
        let attempt = Running { job: first.job, attempt: first.attempt };
        let numbers = format!("r{}-{}", first.number, last.number);
        let id = format!("{}.{}.{}.{numbers}", self.salt, attempt.job, attempt.attempt);
        let payload = Bytes::from(serde_json::to_vec(reports)?);
        self.publish_surely(&subject::report(runner, &attempt), identified(&id), payload).await.map(drop)
    }

    /// The queue of reports.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub async fn reports(&self) -> Result<Reports, ReadError> {
        let mut reports = Reports { broker: self.clone(), messages: None };
        reports.messages = Some(reports.open().await?);
        Ok(reports)
    }
}

impl Reports {
    /// Waits for reports and takes all that have come. Survives the broker's restarts; safe to cancel.
    pub async fn next_batch(&mut self) -> Vec<ReportDelivery> {
        let mut wait = Backoff::new();
        let mut connection = self.broker.connection();
        loop {
            let messages = match &mut self.messages {
                Some(messages) => messages,
                None => match self.open().await {
                    Ok(messages) => self.messages.insert(messages),
                    Err(error) => {
                        wait.pause(&error).await;
                        continue;
                    }
                },
            };
            connection.mark_unchanged();
            let first = tokio::select! {
                first = messages.next() => first,
                _ = connection.changed() => None,
            };
            let mut deliveries = Vec::new();
            let mut next = first;
            while let Some(Ok(message)) = next {
                deliveries.extend(delivery(&self.broker, message));
                next = if deliveries.len() < BATCH { messages.next().now_or_never().flatten() } else { None };
            }
            if !deliveries.is_empty() {
                return deliveries;
            }
            self.messages = None;
        }
    }

    async fn open(&self) -> Result<Messages, ReadError> {
        let config = Config {
            durable_name: Some(CONSUMER.to_owned()),
            deliver_policy: DeliverPolicy::All,
            // They are dealt with together, and acknowledged by the last of them.
            ack_policy: AckPolicy::All,
            ack_wait: ACK_WAIT,
            max_ack_pending: 10_000,
            filter_subject: subject::ALL_REPORTS.to_owned(),
            ..Config::default()
        };
        let stream = self.broker.stream(REPORTS).await?;
        let mut consumer = stream.create_consumer(config).await.map_err(ReadError::from_source)?;
        // Whoever read here before died with reports that would come again only after `ACK_WAIT`, behind later ones of the
        // same attempts. From the last place where all were acknowledged they come in order; a repeated one is no news.
        consumer.reset(None).await.map_err(ReadError::from_source)?;
        consumer
            .stream()
            .max_messages_per_batch(BATCH)
            .heartbeat(Duration::from_secs(1))
            .expires(Duration::from_secs(30))
            .messages()
            .await
            .map_err(ReadError::from_source)
    }
}

fn delivery(broker: &Broker, message: jetstream::Message) -> Option<ReportDelivery> {
    let runner = subject::reporter(&message.subject)?;
    let reports = serde_json::from_slice(&message.payload);
    Some(ReportDelivery { runner, reports, broker: broker.clone(), message })
}

impl ReportDelivery {
    /// Takes these reports off the queue and all that were delivered before them. They come again if the broker does not
    /// get to hear it, and are no news then.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub async fn ack_up_to(&self) -> Result<(), ReadError> {
        self.message.ack().await.map_err(ReadError::from_source)
    }

    /// Sets the reports aside as a dead letter. They are still to be acknowledged.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn bury(&self, reason: &str) -> anyhow::Result<()> {
        let message = Message::delivered(self.message.clone()).map_err(ReadError::from_source)?.message;
        Ok(self.broker.bury(CONSUMER, &message, reason).await?)
    }
}
