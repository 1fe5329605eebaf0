//! The end of a failed job's log, shown beside its failure.
//!
//! Owns how much of it is read. A log that cannot be read is no failure of the run: the user is told how to read it.

use std::collections::VecDeque;
use std::time::Duration;

use super::progress::FailedLog;
use crate::client::{Client, Failed};
use crate::output::shortened;
use crate::terminal::{log_text, stderr_has_colours};

/// How many lines are shown.
const LINES: usize = 10;

/// How long a line may be.
const MAX_CHARACTERS: usize = 400;

/// How many failed jobs show their log; many fail for one reason.
const MAX_JOBS: usize = 10;

/// How long reading may take: a log that is not complete yet may be slow to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much of one line is kept while it is read.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// Reads the ends of logs.
pub(super) struct FailedLogs<'c> {
    client: &'c Client,
    shown: usize,
    colours: bool,
}

impl<'c> FailedLogs<'c> {
    pub(super) fn new(client: &'c Client) -> Self {
        Self { client, shown: 0, colours: stderr_has_colours() }
    }

    /// What is to be shown of a log.
    pub(super) async fn lines(&mut self, log: Option<FailedLog>) -> Vec<String> {
        let Some(log) = log else { return Vec::new() };
        self.shown += 1;
        let hint = format!("patchwave job logs --attempt {} {}", log.attempt, log.job);
        if self.shown > MAX_JOBS {
            return vec![hint];
        }
        let read = tokio::time::timeout(PATIENCE, self.tail(log)).await;
        let mut lines = match read {
            Ok(Ok(lines)) => lines,
            Ok(Err(error)) => {
                let error = anyhow::Error::from(error);
                tracing::debug!(error = crate::logging::chain(&error), "the end of a log cannot be read");
                Vec::new()
            }
            Err(_) => Vec::new(),
        };
        lines.push(hint);
        lines
    }

    async fn tail(&self, log: FailedLog) -> Result<Vec<String>, Failed> {
        let from = log.lines.map_or(1, |lines| lines.saturating_sub(LINES as u64 - 1).max(1));
        let query = [("attempt", log.attempt.to_string()), ("fromLine", from.to_string())];
        let mut response = self.client.get(&["jobs", &log.job.to_string(), "log"], &query).await?;
        let mut tail = Tail::default();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| Failed::Away(error.without_url().into()))?
        {
            tail.push(&chunk);
        }
        Ok(tail.lines(self.colours))
    }
}

/// The last lines of what goes by.
#[derive(Default)]
struct Tail {
    lines: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE_BYTES.saturating_sub(self.partial.len());
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            self.partial.extend_from_slice(&text[..text.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.lines.push_back(std::mem::take(&mut self.partial));
                if self.lines.len() > LINES {
                    self.lines.pop_front();
                }
            }
        }
    }

    fn lines(mut self, colours: bool) -> Vec<String> {
        if !self.partial.is_empty() {
            self.push(b"\n");
        }
        let shown = |line: &Vec<u8>| {
            let text = log_text(line, colours);
            // A line that returned to its beginning shows what it ended with.
            let end =
                text.trim_end_matches("\u{1b}[0m").lines().rfind(|part| !part.is_empty()).unwrap_or_default();
            let end = shortened(end, MAX_CHARACTERS);
            if end.contains('\u{1b}') { end + "\u{1b}[0m" } else { end }
        };
        self.lines.iter().map(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_made_harmless() {
        let mut tail = Tail::default();
        for n in 1..=20 {
            tail.push(b"li");
            tail.push(format!("ne {n}\n").as_bytes());
        }
        tail.push(b"10%\r20%\r\x1b[2J\x1b[31mred");
        let lines = tail.lines(true);
        assert_eq!(lines.len(), LINES);
        assert_eq!((lines[0].as_str(), lines[9].as_str()), ("line 12", "\u{1b}[31mred\u{1b}[0m"));
    }

    #[test]
    fn an_endless_line_takes_no_endless_memory() {
        let mut tail = Tail::default();
        (0..100).for_each(|_| tail.push(&[b'x'; 8_192]));
        assert_eq!(tail.partial.len(), MAX_LINE_BYTES);
        assert_eq!(tail.lines(false)[0].chars().count(), MAX_CHARACTERS + 1);
    }
}
