//! Following an execution: every event once and in order, over any number of connections.
//!
//! Owns the place in the story. Invariant: an event is handed out once, whole, and after the one before it.

use std::time::Duration;

use events::id::{ExecutionId, JobId, PlanId};
use events::{AggregateKind, Event, execution, plan};
use reqwest::Response;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::client::{Client, Failed, Lines};

/// How long nobody may answer until it is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(500);

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
    client: &'c Client,
    execution: ExecutionId,
    events: Events,
    response: Option<Response>,
    outcome: Option<execution::Outcome>,
    ending: Option<Ending>,
    /// Whether the gateway had anything to tell on this connection.
    heard: bool,
    /// Whether it has told everything.
    over: bool,
    last_word: Instant,
    /// Whether it was said that nobody answers.
    away: bool,
}

impl<'c> Follower<'c> {
    /// Begins with the first event.
    pub(super) fn new(client: &'c Client, execution: ExecutionId) -> Self {
        let (events, last_word) = (Events::default(), Instant::now());
        Self {
            client,
            execution,
            events,
            response: None,
            outcome: None,
            ending: None,
            heard: false,
            over: false,
            last_word,
            away: false,
        }
    }

    /// The next event; nothing after the plan, or after the end of what was canceled, unless jobs were tried again.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Told>> {
        loop {
            if let Some(told) = self.events.next()? {
                self.note(&told);
                return Ok(Some(told));
            }
            if self.over {
                return Ok(None);
            }
            match self.read().await {
                Ok(()) => {
                    self.last_word = Instant::now();
                    self.away = false;
                }
                Err(Failed::Last(error)) => return Err(error),
                Err(Failed::Away(error)) if self.last_word.elapsed() >= PATIENCE => return Err(error),
                Err(Failed::Away(error)) => {
                    if !std::mem::replace(&mut self.away, true) {
                        let error = crate::logging::chain(&error);
                        tracing::warn!(error, "the connection was lost, following on when it is back");
                    }
                    self.response = None;
                    self.events.lines.forget_partial();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// How it ended, once it has.
    pub(super) const fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// Reads what comes next from the gateway.
    async fn read(&mut self) -> Result<(), Failed> {
        let response = match &mut self.response {
            Some(response) => response,
            None => {
                let id = self.execution.to_string();
                let query = [("after", self.events.after.to_string())];
                let response = self.client.get(&["executions", &id, "events"], &query).await?;
                self.response.insert(response)
            }
        };
        match response.chunk().await {
            Ok(Some(chunk)) => {
                self.heard = true;
                self.events.lines.push(&chunk);
            }
            Ok(None) => {
                self.response = None;
                self.events.lines.forget_partial();
                // A gateway that stops ends in the middle, which may be behind the end of an earlier try: whether there
                // is more is known once it is asked for what follows and has nothing.
                self.over = self.ending.is_some() && !std::mem::take(&mut self.heard);
                if self.ending.is_none() {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Err(error) => return Err(Failed::Away(error.without_url().into())),
        }
        Ok(())
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

/// Reads lines, and passes over what was read before.
#[derive(Default)]
struct Events {
    lines: Lines,
    /// The last sequence that was handed out.
    after: u64,
}

impl Events {
    fn next(&mut self) -> anyhow::Result<Option<Told>> {
        while let Some(line) = self.lines.next() {
            let told = read(line)?;
            if told.sequence > self.after {
                self.after = told.sequence;
                return Ok(Some(told));
            }
        }
        Ok(None)
    }
}

fn read(line: &[u8]) -> anyhow::Result<Told> {
    use anyhow::Context as _;
    let text = std::str::from_utf8(line).context("an event of the server is not UTF-8")?;
    let document: Document<'_> = serde_json::from_str(text).with_context(|| {
        format!("an event of the server cannot be read: {}", crate::output::shortened(text, 200))
    })?;
    let event = document.kind.split_once('.').and_then(|(kind, name)| {
        let kind = AggregateKind::ALL.into_iter().find(|known| known.name() == kind)?;
        let data = document.data.map_or("null", RawValue::get);
        Event::from_json(kind, name, document.version, data.as_bytes()).ok()
    });
    Ok(Told {
        text: text.trim().to_owned(),
        sequence: document.sequence,
        aggregate: document.aggregate,
        event,
    })
}

impl Told {
    /// The job that it is about.
    pub(super) fn job(&self) -> Option<JobId> {
        self.aggregate.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(sequence: u64) -> String {
        json!({ "sequence": sequence, "aggregate": "x", "type": "job.started", "version": 1, "data": { "attempt": 1 } })
            .to_string()
            + "\n"
    }

    #[test]
    fn every_event_comes_once_wherever_the_connection_breaks() {
        let story: String = (1..=5).map(|n| line(n * 3)).collect();
        for cut in 0..story.len() {
            let mut events = Events::default();
            let mut seen = Vec::new();
            let mut drain = |events: &mut Events| {
                while let Some(told) = events.next().unwrap() {
                    assert!(matches!(told.event, Some(Event::Job(_))));
                    seen.push(told.sequence);
                }
            };
            events.lines.push(&story.as_bytes()[..cut]);
            drain(&mut events);
            events.lines.forget_partial();
            // A gateway that sends more than it was asked for does no harm.
            events.lines.push(story.as_bytes());
            drain(&mut events);
            assert_eq!(seen, [3, 6, 9, 12, 15], "cut at {cut}");
        }
    }

    #[test]
    fn what_this_build_does_not_know_is_passed_on() {
        let told = read(br#"{"sequence":7,"subject":"ev.x","unknown":"why","data":null}"#).unwrap();
        assert!(told.sequence == 7 && told.event.is_none());
        assert!(read(b"{").is_err());
    }
}
