//! The queues of work: tickets and what overtakes them.
//!
//! Owns one pair of durable consumers per runner. A message leaves its queue when the runner has acknowledged it, and the
//! scheduler alone fills and clears queues.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use events::id::RunnerId;
use events::subject;
use events::ticket::{Control, Ticket};
use futures::StreamExt;
use serde::de::DeserializeOwned;

use crate::Broker;
use crate::append::{Backoff, ReadError};
use crate::publish::{PublishError, identified};
use crate::streams::WORK;

/// After how long an unacknowledged message is delivered again. A runner acknowledges as soon as it has written a ticket
/// down, so this is the time that a restart may take.
const ACK_WAIT: Duration = Duration::from_secs(10);

fn ticket_consumer(runner: &RunnerId) -> String {
    format!("{runner}-ticket")
}

fn control_consumer(runner: &RunnerId) -> String {
    format!("{runner}-control")
}

/// The scheduler's side.
impl Broker {
    /// Makes sure that a runner has its queues.
    ///
    /// # Errors
    /// When the broker does not answer or refuses.
    pub async fn open_queues(&self, runner: &RunnerId) -> Result<(), ReadError> {
        let stream = self.stream(WORK).await?;
        let queues = [
            (ticket_consumer(runner), subject::tickets(runner)),
            (control_consumer(runner), subject::control(runner)),
        ];
        for (name, filter_subject) in queues {
            let config = Config {
                durable_name: Some(name),
                filter_subject,
                deliver_policy: DeliverPolicy::All,
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                max_ack_pending: 1_000,
                ..Config::default()
            };
            stream.create_consumer(config).await.map_err(ReadError::from_source)?;
        }
        Ok(())
    }

    /// Puts a ticket into a runner's queue; once, however often it is called within the duplicate window.
    ///
    /// # Errors
    /// When the ticket is larger than a message may be.
    pub async fn put_ticket(&self, runner: &RunnerId, ticket: &Ticket) -> Result<(), PublishError> {
        let id = format!("{runner}.{}.{}", ticket.job, ticket.attempt);
        let payload = Bytes::from(serde_json::to_vec(ticket)?);
        self.publish_surely(&subject::tickets(runner), identified(&id), payload).await.map(drop)
    }

    /// Tells a runner what overtakes its tickets.
    ///
    /// # Errors
    /// When the message cannot be written.
    pub async fn put_control(&self, runner: &RunnerId, control: &Control) -> Result<(), PublishError> {
        let payload = Bytes::from(serde_json::to_vec(control)?);
        self.publish_surely(&subject::control(runner), async_nats::HeaderMap::new(), payload).await.map(drop)
    }

    /// Removes what a runner has not taken: its attempts went to others.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn clear_tickets(&self, runner: &RunnerId) -> Result<(), ReadError> {
        let stream = self.stream(WORK).await?;
        let all = format!("work.{runner}.*");
        stream.purge().filter(all).await.map_err(ReadError::from_source)?;
        Ok(())
    }
}

/// The runner's side.
impl Broker {
    /// The runner's tickets.
    pub fn tickets(&self, runner: &RunnerId) -> Queue<Ticket> {
        Queue::new(self.clone(), ticket_consumer(runner))
    }

    /// How many tickets the runner has not acknowledged. Asks again while the broker does not answer.
    pub async fn tickets_left(&self, runner: &RunnerId) -> u64 {
        let mut wait = Backoff::new();
        loop {
            let consumer: Result<Consumer<Config>, _> =
                self.jetstream.get_consumer_from_stream(ticket_consumer(runner), WORK).await;
            match consumer {
                Ok(consumer) => {
                    let info = consumer.cached_info();
                    return info.num_pending + info.num_ack_pending as u64;
                }
                Err(error) => wait.pause(&error).await,
            }
        }
    }

    /// What overtakes the runner's tickets.
    pub fn controls(&self, runner: &RunnerId) -> Queue<Control> {
        Queue::new(self.clone(), control_consumer(runner))
    }
}

/// A queue of one runner.
pub struct Queue<T> {
    broker: Broker,
    consumer: String,
    messages: Option<Messages>,
    what: std::marker::PhantomData<fn() -> T>,
}

/// A message from a queue. It comes again unless it is acknowledged.
pub struct Delivery<T> {
    /// What it says, if it can be read.
    pub value: Result<T, serde_json::Error>,
    broker: Broker,
    message: jetstream::Message,
    consumer: String,
}

impl<T: DeserializeOwned> Queue<T> {
    fn new(broker: Broker, consumer: String) -> Self {
        Self { broker, consumer, messages: None, what: std::marker::PhantomData }
    }

    /// Waits for the next message. Survives the broker's restarts, and waits for a queue that is not open yet; safe to
    /// cancel.
    pub async fn next(&mut self) -> Delivery<T> {
        let mut wait = Backoff::new();
        let mut connection = self.broker.connection();
        loop {
            let mut messages = match self.messages.take() {
                Some(messages) => messages,
                None => match self.open().await {
                    Ok(messages) => messages,
                    Err(error) => {
                        wait.pause(&error).await;
                        continue;
                    }
                },
            };
            connection.mark_unchanged();
            let received = tokio::select! {
                received = messages.next() => received,
                _ = connection.changed() => None,
            };
            if let Some(Ok(message)) = received {
                self.messages = Some(messages);
                let value = serde_json::from_slice(&message.payload);
                let (broker, consumer) = (self.broker.clone(), self.consumer.clone());
                return Delivery { value, broker, message, consumer };
            }
        }
    }

    async fn open(&self) -> Result<Messages, ReadError> {
        let consumer: Consumer<Config> = self
            .broker
            .jetstream
            .get_consumer_from_stream(&self.consumer, WORK)
            .await
            .map_err(ReadError::from_source)?;
        consumer
            .stream()
            // One at a time: what this runner cannot take yet can still be given to another.
            .max_messages_per_batch(1)
            .heartbeat(Duration::from_secs(1))
            .expires(Duration::from_secs(30))
            .messages()
            .await
            .map_err(ReadError::from_source)
    }
}

impl<T> Delivery<T> {
    /// Takes the message off the queue; returns once the broker has done so.
    ///
    /// # Errors
    /// When the broker does not answer: the message comes again.
    pub async fn ack(&self) -> Result<(), ReadError> {
        // The client's own way subscribes for each answer; a request uses what all requests share.
        let reply = self.message.reply.clone();
        let reply = reply.ok_or_else(|| ReadError::from_source("the message came from no queue"))?;
        let asked = self.broker.client.request(reply, AckKind::Ack.into());
        asked.await.map(drop).map_err(ReadError::from_source)
    }

    /// The name of the queue, for the log.
    pub fn queue(&self) -> &str {
        &self.consumer
    }
}
