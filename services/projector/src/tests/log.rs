//! A real log of its own: a broker, and everybody who writes to it.

use std::collections::HashMap;
use std::time::Duration;

use broker::server::{Server, ServerConfig, Sync, locate};
use broker::{Broker, DeadLetter};
use events::blob::{BlobKind, BlobRef};
use events::envelope::{Actor, NewEvent, Origin};
use events::id::CommandId;
use events::{Aggregate, Event, enrollment, execution, plan, preview};

use crate::fold::{Document, Taken};

/// Nothing here takes longer unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Log {
    server: Server,
    brokers: HashMap<&'static str, Broker>,
    /// Where each aggregate's newest event stands.
    newest: HashMap<Aggregate, u64>,
    pub(crate) last: u64,
    _folder: tempfile::TempDir,
}

impl Log {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = ServerConfig {
            folder: folder.path().join("broker"),
            port: None,
            runners: Vec::new(),
            sync: Sync::EverySecond,
        };
        let server = Server::start(locate(None).unwrap(), config).await.unwrap();
        let mut brokers = HashMap::new();
        for user in [
            "provisioner",
            "gateway",
            "catalog",
            "scheduler",
            "registrar",
            "campaign-plan",
            "projector",
            "operator",
        ] {
            brokers.insert(user, connect(&server, user).await);
        }
        brokers["provisioner"].provision(&broker::CacheLimits::default()).await.unwrap();
        Self { server, brokers, newest: HashMap::new(), last: 0, _folder: folder }
    }

    pub(crate) fn broker(&self, user: &str) -> &Broker {
        &self.brokers[user]
    }

    /// Appends a history, each document stored before the event that names it.
    pub(crate) async fn append_all(&mut self, history: &[Taken]) {
        for taken in history {
            let mut event = taken.recorded.event.clone();
            if let Some(document) = &taken.document {
                let blob = self.put(document).await;
                name(&mut event, blob);
            }
            self.append(taken.recorded.aggregate.clone(), event).await;
        }
    }

    /// Stores a document.
    pub(crate) async fn put(&self, document: &Document) -> BlobRef {
        match document {
            Document::Scope(scope) => self.brokers["catalog"].put_document(BlobKind::Scope, scope).await,
            Document::Plan(plan) => self.brokers["campaign-plan"].put_document(BlobKind::Plan, plan).await,
        }
        .unwrap()
    }

    /// Appends an event as whoever may.
    pub(crate) async fn append(&mut self, aggregate: Aggregate, event: Event) {
        let writer = match (&aggregate, &event) {
            (Aggregate::Action(_) | Aggregate::Secret(_) | Aggregate::User(_) | Aggregate::Token(_), _) => {
                "gateway"
            }
            (_, Event::Execution(execution::Event::Resolved(_))) => "catalog",
            (
                _,
                Event::Execution(
                    execution::Event::Completed(_)
                    | execution::Event::ImagesPinned(_)
                    | execution::Event::Starved(_)
                    | execution::Event::StarvationEnded(_),
                ),
            ) => "scheduler",
            (Aggregate::Execution(_), _) => "gateway",
            (Aggregate::Job(..) | Aggregate::Runner(_) | Aggregate::SealingKey(_), _) => "scheduler",
            (Aggregate::Plan(_), _) => "campaign-plan",
            (_, Event::Preview(preview::Event::Requested(_))) => "gateway",
            (Aggregate::Repository(_) | Aggregate::Preview(_), _) => "catalog",
            (_, Event::Enrollment(enrollment::Event::Enrolled(_))) => "registrar",
            (Aggregate::Enrollment(_), _) => "gateway",
        };
        let new = NewEvent {
            aggregate: aggregate.clone(),
            event,
            time: "2026-03-04T05:06:07.8Z".parse().unwrap(),
            origin: Origin {
                command: CommandId::derived(&["append", &self.last.to_string()]),
                actor: Actor::service(writer),
                correlation: "test".to_owned(),
                causation: None,
                trace_parent: None,
            },
        };
        let newest = self.newest.entry(aggregate).or_default();
        *newest = self.brokers[writer].append(&new, *newest).await.unwrap().sequence;
        self.last = *newest;
    }

    /// Waits until the projection says that it holds an event.
    pub(crate) async fn projected(&self, sequence: u64) {
        let mut projected = self.brokers["operator"].follow_projector();
        let wait = projected.wait_for(|there| *there >= sequence);
        tokio::time::timeout(PATIENCE, wait).await.expect("the projection comes there").unwrap();
    }

    /// Waits for dead letters.
    pub(crate) async fn letters(&self, count: usize) -> Vec<DeadLetter> {
        let wait = async {
            loop {
                let letters = self.brokers["operator"].dead_letters().await.unwrap();
                if letters.len() >= count {
                    return letters;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the letters come")
    }

    pub(crate) async fn end(self) {
        self.server.stop().await;
    }
}

/// Lets an event name a document.
pub(crate) fn name(event: &mut Event, blob: BlobRef) {
    match event {
        Event::Execution(execution::Event::Resolved(resolved)) => resolved.scope = blob,
        Event::Plan(plan::Event::Created(created)) => created.document = blob,
        _ => {}
    }
}

async fn connect(server: &Server, user: &str) -> Broker {
    let config = server.client(user, Duration::from_secs(10)).unwrap();
    Broker::connect(&config).await.unwrap()
}
