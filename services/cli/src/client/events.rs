//! Events as the gateway streams them: each once, whole and in order, over any number of connections.
//!
//! Owns the place in the stream, and how long a gateway may be away. What the end of a stream means is its reader's to know.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::Response;
use serde::Deserialize;
use tokio::time::Instant;

use super::again::PAUSE;
use super::lines::Lines;
use super::{Client, Failed};
use crate::output::shortened;

/// How long nobody may answer until it is given up.
const PATIENCE: Duration = Duration::from_secs(300);

/// A reader of a stream of events.
pub(crate) struct Events<'c> {
    client: &'c Client,
    path: Vec<String>,
    /// What is asked for, but for where it begins.
    query: Vec<(&'static str, String)>,
    begin: Option<(&'static str, String)>,
    unseen: Unseen,
    response: Option<Response>,
    /// When somebody answered last; nothing: whoever is not there at the first try is not waited for.
    last_word: Option<Instant>,
    /// Whether it was said that nobody answers.
    away: bool,
}

impl<'c> Events<'c> {
    /// Of what is under a path, from a place on that a parameter says.
    pub(crate) fn new(
        client: &'c Client,
        path: &[&str],
        query: Vec<(&'static str, String)>,
        begin: Option<(&'static str, String)>,
    ) -> Self {
        Self {
            client,
            path: path.iter().map(|&segment| segment.to_owned()).collect(),
            query,
            begin,
            unseen: Unseen::default(),
            response: None,
            last_word: None,
            away: false,
        }
    }

    /// The same, for whoever knows that there is a gateway: it is waited for from the first try on.
    pub(crate) fn patiently(mut self) -> Self {
        self.last_word = Some(Instant::now());
        self
    }

    /// The next event as the gateway wrote it: one line of JSON. Nothing where the gateway ended the stream in order; to ask
    /// again then asks for what follows.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<String>> {
        loop {
            if let Some(text) = self.unseen.next()? {
                return Ok(Some(text));
            }
            match self.read().await {
                Ok(more) => {
                    self.last_word = Some(Instant::now());
                    self.away = false;
                    if !more {
                        return Ok(None);
                    }
                }
                Err(Failed::Last(error)) => return Err(error),
                Err(Failed::Away(error)) => {
                    if self.last_word.is_none_or(|last_word| last_word.elapsed() >= PATIENCE) {
                        return Err(error);
                    }
                    if !std::mem::replace(&mut self.away, true) {
                        let error = crate::logging::chain(&error);
                        tracing::warn!(error, "the connection was lost, following on when it is back");
                    }
                    self.hang_up();
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Reads what comes next; `false`: the gateway ended the stream.
    async fn read(&mut self) -> Result<bool, Failed> {
        let response = match &mut self.response {
            Some(response) => response,
            None => {
                let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
                let after = ("after", self.unseen.after.to_string());
                let begin = if self.unseen.after > 0 { Some(&after) } else { self.begin.as_ref() };
                let query: Vec<_> = self.query.iter().chain(begin).cloned().collect();
                self.response.insert(self.client.get(&path, &query).await?)
            }
        };
        match response.chunk().await {
            Ok(Some(chunk)) => self.unseen.lines.push(&chunk),
            Ok(None) => {
                self.hang_up();
                return Ok(false);
            }
            Err(error) => return Err(Failed::Away(error.without_url().into())),
        }
        Ok(true)
    }

    fn hang_up(&mut self) {
        self.response = None;
        self.unseen.lines.forget_partial();
    }
}

/// Reads lines, and passes over what was read before.
#[derive(Default)]
struct Unseen {
    lines: Lines,
    /// The last sequence that was handed out.
    after: u64,
}

/// The part of an event document that says where it stands.
#[derive(Deserialize)]
struct Place {
    sequence: u64,
}

impl Unseen {
    fn next(&mut self) -> anyhow::Result<Option<String>> {
        while let Some(line) = self.lines.next() {
            let text = std::str::from_utf8(line).context("an event of the server is not UTF-8")?.trim();
            let read = serde_json::from_str::<Place>(text);
            let Place { sequence } = read.with_context(|| {
                format!("an event of the server cannot be read: {}", shortened(text, 200))
            })?;
            if sequence > self.after {
                self.after = sequence;
                return Ok(Some(text.to_owned()));
            }
        }
        Ok(None)
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
        let lines: Vec<String> = (1..=5).map(|n| line(n * 3)).collect();
        let story = lines.concat();
        for cut in 0..story.len() {
            let mut unseen = Unseen::default();
            let mut seen = Vec::new();
            let mut drain = |unseen: &mut Unseen| {
                while let Some(text) = unseen.next().unwrap() {
                    seen.push((unseen.after, text + "\n"));
                }
            };
            unseen.lines.push(&story.as_bytes()[..cut]);
            drain(&mut unseen);
            unseen.lines.forget_partial();
            // A gateway that sends more than it was asked for does no harm.
            unseen.lines.push(story.as_bytes());
            drain(&mut unseen);
            let sequences: Vec<u64> = seen.iter().map(|(sequence, _)| *sequence).collect();
            assert_eq!(sequences, [3, 6, 9, 12, 15], "cut at {cut}");
            assert!(seen.iter().map(|(_, text)| text).eq(&lines), "each is whole: cut at {cut}");
        }
    }
}
