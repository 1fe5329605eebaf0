//! A hostile client: it speaks NATS by itself and keeps to no API of ours.
//!
//! Owns what the server says to it. Never retries and never waits longer than it is told.

use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event, HeaderMap, Message, ServerError, StatusCode};
use futures::StreamExt as _;
use tokio::sync::mpsc;

/// How long what has to happen may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A connection, and what the server refused on it.
pub(crate) struct Raw {
    pub(crate) client: Client,
    inbox: String,
    refusals: tokio::sync::Mutex<mpsc::UnboundedReceiver<String>>,
}

impl Raw {
    /// Connects as a user, with the prefix of its inbox.
    pub(crate) async fn connect(url: &str, (user, password): (&str, &str), inbox: &str) -> Self {
        let options = ConnectOptions::with_user_and_password(user.to_owned(), password.to_owned());
        Self::connect_with(url, options, inbox).await
    }

    /// The same with whatever proves who it is.
    pub(crate) async fn connect_with(url: &str, options: ConnectOptions, inbox: &str) -> Self {
        let (sender, refusals) = mpsc::unbounded_channel();
        let client = options
            .custom_inbox_prefix(inbox)
            .event_callback(move |event| {
                if let Event::ServerError(ServerError::Other(what)) = event {
                    let _ = sender.send(what);
                }
                async {}
            })
            .connect(url)
            .await
            .unwrap();
        Self { client, inbox: inbox.to_owned(), refusals: tokio::sync::Mutex::new(refusals) }
    }

    /// Publishes, with a reply subject of the attacker's choice.
    pub(crate) async fn publish(&self, subject: &str, reply: Option<&str>, payload: &str) {
        let (subject, payload) = (subject.to_owned(), payload.to_owned());
        match reply {
            Some(reply) => {
                self.client.publish_with_reply(subject, reply.to_owned(), payload.into()).await.unwrap();
            }
            None => self.client.publish(subject, payload.into()).await.unwrap(),
        }
        self.client.flush().await.unwrap();
    }

    /// Asks, and returns the answer if there is one: none if the server refuses, or nobody is there.
    pub(crate) async fn ask(&self, subject: &str, payload: &str) -> Option<Message> {
        self.ask_with(subject, HeaderMap::new(), payload).await
    }

    /// Asks with headers.
    pub(crate) async fn ask_with(&self, subject: &str, headers: HeaderMap, payload: &str) -> Option<Message> {
        let reply = format!("{}.{}", self.inbox, uuid::Uuid::new_v4().simple());
        let mut replies = self.client.subscribe(reply.clone()).await.unwrap();
        let (subject, payload) = (subject.to_owned(), payload.to_owned());
        self.client.publish_with_reply_and_headers(subject, reply, headers, payload.into()).await.unwrap();
        let mut refusals = self.refusals.lock().await;
        let answer = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                answer = replies.next() => answer,
                refused = refusals.recv() => {
                    assert!(refused.unwrap().to_lowercase().contains("permissions violation"));
                    None
                }
            }
        });
        let answer = answer.await.unwrap_or_else(|_| panic!("neither an answer nor a refusal"));
        answer.filter(|answer| answer.status != Some(StatusCode::NO_RESPONDERS))
    }

    /// Subscribes; none if the server refuses.
    pub(crate) async fn subscribe(&self, subject: &str) -> Option<async_nats::Subscriber> {
        let subscriber = self.client.subscribe(subject.to_owned()).await.unwrap();
        self.accepted().await.then_some(subscriber)
    }

    /// Subscribes as one of a group; none if the server refuses.
    pub(crate) async fn subscribe_in_group(&self, subject: &str) -> Option<async_nats::Subscriber> {
        let subscriber = self.client.queue_subscribe(subject.to_owned(), "group".to_owned()).await.unwrap();
        self.accepted().await.then_some(subscriber)
    }

    /// Whether the server took everything that was sent since the last question. It answers in order, so what it says to
    /// a request of ours comes after what it refused before.
    pub(crate) async fn accepted(&self) -> bool {
        let own = format!("{}.{}", self.inbox, uuid::Uuid::new_v4().simple());
        let mut echo = self.client.subscribe(own.clone()).await.unwrap();
        // Nobody may publish into its own inbox, so the refusal of this very message is the mark.
        self.client.publish(own.clone(), "mark".into()).await.unwrap();
        let mut refusals = self.refusals.lock().await;
        let mut refused = false;
        let wait = tokio::time::timeout(PATIENCE, async {
            loop {
                tokio::select! {
                    _ = echo.next() => return,
                    what = refusals.recv() => {
                        let what = what.unwrap();
                        if what.to_lowercase().contains(&own.to_lowercase()) {
                            return;
                        }
                        refused = true;
                    }
                }
            }
        });
        wait.await.unwrap_or_else(|_| panic!("the server says nothing"));
        !refused
    }
}
