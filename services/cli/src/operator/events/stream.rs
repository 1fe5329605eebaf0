//! The event log as the gateway tells it, over any number of connections.
//!
//! Owns the place in it. Invariant: an event is handed out once, whole, and after the one before it.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Response;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::{Client, Failed, Lines};

/// How long nobody may answer until it is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(500);

/// A reader of the log.
pub(super) struct Stream {
    client: Client,
    /// What is asked for, but for where it begins.
    query: Vec<(&'static str, String)>,
    begin: Option<(&'static str, String)>,
    follow: bool,
    response: Option<Response>,
    lines: Lines,
    /// Since when nobody answers; nothing before anybody did.
    last_word: Option<Instant>,
}

impl Stream {
    /// Of these subjects, from a place on: a parameter of `GET /events`.
    pub(super) fn new(
        client: Client,
        subjects: &[String],
        begin: Option<(&'static str, String)>,
        follow: bool,
    ) -> Self {
        let query = vec![("filters", subjects.join(",")), ("follow", follow.to_string())];
        Self { client, query, begin, follow, response: None, lines: Lines::default(), last_word: None }
    }

    /// The next event as the gateway wrote it, and what it says; nothing at the end.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<(String, Value)>> {
        loop {
            if let Some(line) = self.lines.next() {
                let text = std::str::from_utf8(line).context("an event of the server is not UTF-8")?;
                let document: Value =
                    serde_json::from_str(text).context("an event of the server is no JSON")?;
                let text = text.to_owned();
                let sequence =
                    document["sequence"].as_u64().context("an event of the server has no sequence")?;
                self.begin = Some(("after", sequence.to_string()));
                return Ok(Some((text, document)));
            }
            match self.read().await {
                Ok(true) => self.last_word = Some(Instant::now()),
                Ok(false) => return Ok(None),
                Err(Failed::Last(error)) => return Err(error),
                Err(Failed::Away(error)) => {
                    if self.last_word.is_none_or(|last_word| last_word.elapsed() >= PATIENCE) {
                        return Err(error);
                    }
                    self.response = None;
                    self.lines.forget_partial();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Reads what comes next; `false`: that was all.
    async fn read(&mut self) -> Result<bool, Failed> {
        let response = match &mut self.response {
            Some(response) => response,
            None => {
                let query: Vec<_> = self.query.iter().chain(&self.begin).cloned().collect();
                self.response.insert(self.client.get(&["events"], &query).await?)
            }
        };
        match response.chunk().await {
            Ok(Some(chunk)) => self.lines.push(&chunk),
            // A gateway that stops ends what would go on.
            Ok(None) if self.follow => {
                self.response = None;
                self.lines.forget_partial();
                tokio::time::sleep(PAUSE).await;
            }
            Ok(None) => return Ok(false),
            Err(error) => return Err(Failed::Away(error.without_url().into())),
        }
        Ok(true)
    }
}
