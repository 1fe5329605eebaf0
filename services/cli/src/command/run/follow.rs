//! Following an execution to its end.
//!
//! Owns what its events mean for whoever waits: how it went, and whether that is the end of the story.

use anyhow::Context as _;
use events::id::{ExecutionId, JobId, PlanId};
use events::{AggregateKind, Event, execution, plan};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::{Client, Events, PAUSE};

/// One event of the story.
#[derive(Debug)]
pub(super) struct Told {
    /// The event as the gateway wrote it: one line of JSON.
    pub(super) text: String,
    /// Its place in the log.
    pub(super) sequence: u64,
    /// Whose it is, as text.
    pub(super) aggregate: String,
    /// What happened; absent if this build does not know.
    pub(super) event: Option<Event>,
}

/// The part of an event document that matters here.
#[derive(Deserialize)]
struct Document<'a> {
    sequence: u64,
    #[serde(default)]
    aggregate: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    version: u32,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// How the story ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    /// How the execution went.
    pub(super) outcome: execution::Outcome,
    /// What came of it; one that was canceled gets no plan unless somebody asks.
    pub(super) plan: Option<PlanId>,
    /// Where the end stands in the log.
    pub(super) sequence: u64,
}

/// A reader of an execution's story.
pub(super) struct Follower<'c> {
    events: Events<'c>,
    outcome: Option<execution::Outcome>,
    ending: Option<Ending>,
    /// Whether the gateway had anything to tell since it was asked for what follows.
    heard: bool,
}

impl<'c> Follower<'c> {
    /// Begins with the first event.
    pub(super) fn new(client: &'c Client, execution: ExecutionId) -> Self {
        let path = ["executions", &execution.to_string(), "events"];
        let begin = Some(("after", "0".to_owned()));
        let events = Events::new(client, &path, Vec::new(), begin).patiently();
        Self { events, outcome: None, ending: None, heard: false }
    }

    /// The next event; nothing after the plan, or after the end of what was canceled, unless jobs were tried again.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Told>> {
        loop {
            match self.events.next().await? {
                Some(text) => {
                    let told = read(text)?;
                    self.heard = true;
                    self.note(&told);
                    return Ok(Some(told));
                }
                // A gateway that stops ends in the middle, which may be behind the end of an earlier try: whether there
                // is more is known once it is asked for what follows and has nothing.
                None if self.ending.is_none() => tokio::time::sleep(PAUSE).await,
                None if std::mem::take(&mut self.heard) => {}
                None => return Ok(None),
            }
        }
    }

    /// How it ended, once it has.
    pub(super) const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    fn note(&mut self, told: &Told) {
        match &told.event {
            Some(Event::Execution(execution::Event::Completed(completed))) => {
                let (outcome, sequence) = (completed.outcome, told.sequence);
                self.outcome = Some(outcome);
                if outcome == execution::Outcome::Canceled {
                    self.ending = Some(Ending { outcome, plan: None, sequence });
                }
            }
            Some(Event::Execution(execution::Event::RetryRequested(_))) => {
                (self.outcome, self.ending) = (None, None);
            }
            Some(Event::Plan(plan::Event::Created(_))) => {
                let (plan, sequence) = (told.aggregate.parse().ok(), told.sequence);
                let ending = self.outcome.map(|outcome| Ending { outcome, plan, sequence });
                self.ending = ending.or(self.ending);
            }
            _ => {}
        }
    }
}

fn read(text: String) -> anyhow::Result<Told> {
    let document: Document<'_> = serde_json::from_str(&text).with_context(|| {
        format!("an event of the server cannot be read: {}", crate::output::shortened(&text, 200))
    })?;
    let Document { sequence, ref aggregate, ref kind, version, data } = document;
    let event = kind.split_once('.').and_then(|(kind, name)| {
        let kind = AggregateKind::ALL.into_iter().find(|known| known.name() == kind)?;
        let data = data.map_or("null", RawValue::get);
        Event::from_json(kind, name, version, data.as_bytes()).ok()
    });
    let aggregate = aggregate.clone();
    Ok(Told { text, sequence, aggregate, event })
}

impl Told {
    /// The job that it is about.
    pub(super) fn job(&self) -> Option<JobId> {
        self.aggregate.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_build_knows_is_read() {
        let text = r#"{"sequence":3,"aggregate":"x","type":"job.started","version":1,"data":{"attempt":1}}"#;
        let told = read(text.to_owned()).unwrap();
        assert!(told.sequence == 3 && matches!(told.event, Some(Event::Job(_))));
        assert_eq!(told.text, text);
    }

    #[test]
    fn what_this_build_does_not_know_is_passed_on() {
        let told = read(r#"{"sequence":7,"subject":"ev.x","unknown":"why","data":null}"#.to_owned()).unwrap();
        assert!(told.sequence == 7 && told.event.is_none());
        assert!(read("{".to_owned()).is_err());
    }
}
