//! An attempt's log as lines of text, in batches.
//!
//! Owns where a batch ends: whatever is there goes at once, up to a bound. Invariant: each line once, whole and in order, with
//! its number; a line is shown when it has ended. Bytes that are no UTF-8, and the rest of a line that is very long, are
//! left to the log's own bytes.

use axum::body::Bytes;
use broker::Broker;
use futures::FutureExt as _;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};

use super::log::{self, Request};
use crate::fault::Fault;

/// How many lines one batch has at most.
const LINES: usize = 1_000;

/// How many bytes one batch has, roughly: it ends with the line that reaches this.
const BATCH_BYTES: usize = 256 * 1024;

/// How much of a line is shown.
const LINE_BYTES: usize = 64 * 1024;

/// Lines that came together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lines {
    /// Which attempt's log it is.
    pub(crate) attempt: u32,
    /// The number of the first of them, from 1.
    pub(crate) first_line: u64,
    /// The lines, without line feeds.
    pub(crate) lines: Vec<String>,
    /// Whether this is the end of the log.
    pub(crate) ended: bool,
}

impl Lines {
    /// The line to go on with.
    pub(crate) fn next_line(&self) -> u64 {
        self.first_line + self.lines.len() as u64
    }
}

/// Opens an attempt's log at a line.
pub(crate) async fn read(
    broker: &Broker,
    request: Request,
) -> Result<impl Stream<Item = Result<Lines, Fault>> + Send + use<>, Fault> {
    let from_line = request.from_line.max(1);
    let log = log::open(broker, request).await?;
    let splitter = Splitter::new(log.attempt, from_line);
    let state = Some((splitter, log.read().boxed()));
    Ok(stream::try_unfold(state, |state| async move {
        let Some((mut splitter, mut bytes)) = state else { return Ok(None) };
        let batch = splitter.next(&mut bytes).await?;
        let ended = batch.ended;
        Ok(Some((batch, (!ended).then_some((splitter, bytes)))))
    }))
}

/// Divides bytes into lines.
struct Splitter {
    batch: Lines,
    /// How many bytes the batch has.
    bytes: usize,
    /// What came and is not divided yet.
    rest: Bytes,
    line: Line,
}

/// A line that has not ended.
#[derive(Default)]
struct Line {
    begun: bool,
    shown: Vec<u8>,
    /// How many bytes more it has than are shown.
    left_out: u64,
}

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        self.begun |= !bytes.is_empty();
        let room = LINE_BYTES.saturating_sub(self.shown.len()).min(bytes.len());
        self.shown.extend_from_slice(&bytes[..room]);
        self.left_out += (bytes.len() - room) as u64;
    }

    /// The text; the line begins anew.
    fn end(&mut self) -> String {
        let Self { shown, left_out, .. } = std::mem::take(self);
        let text = String::from_utf8(shown);
        let mut text = text.unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        if left_out > 0 {
            text.push_str(&format!(" [{left_out} bytes more of this line: GET /jobs/{{id}}/log has them]"));
        }
        text
    }
}

impl Splitter {
    fn new(attempt: u32, from_line: u64) -> Self {
        let batch = Lines { attempt, first_line: from_line, ..Lines::default() };
        Self { batch, bytes: 0, rest: Bytes::new(), line: Line::default() }
    }

    /// The next batch: waits for one line, and takes what else is there.
    async fn next(&mut self, bytes: &mut BoxStream<'static, Result<Bytes, Fault>>) -> Result<Lines, Fault> {
        loop {
            self.divide();
            if self.is_full() {
                return Ok(self.hand_over());
            }
            let more = if self.batch.lines.is_empty() {
                bytes.next().await
            } else {
                match bytes.next().now_or_never() {
                    Some(more) => more,
                    None => return Ok(self.hand_over()),
                }
            };
            match more {
                Some(more) => self.rest = more?,
                None => {
                    if self.line.begun {
                        self.end_line();
                    }
                    self.batch.ended = true;
                    return Ok(self.hand_over());
                }
            }
        }
    }

    /// Divides what came until the batch is full.
    fn divide(&mut self) {
        while !self.rest.is_empty() && !self.is_full() {
            let feed = self.rest.iter().position(|byte| *byte == b'\n');
            let part = self.rest.split_to(feed.unwrap_or(self.rest.len()));
            self.line.extend(&part);
            if feed.is_some() {
                let _ = self.rest.split_to(1);
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let text = self.line.end();
        self.bytes += text.len();
        self.batch.lines.push(text);
    }

    fn is_full(&self) -> bool {
        self.batch.lines.len() >= LINES || self.bytes >= BATCH_BYTES
    }

    fn hand_over(&mut self) -> Lines {
        self.bytes = 0;
        let next =
            Lines { attempt: self.batch.attempt, first_line: self.batch.next_line(), ..Lines::default() };
        std::mem::replace(&mut self.batch, next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    /// The batches of a log whose parts are all there, beginning with a line.
    async fn batches(parts: Vec<Vec<u8>>, from_line: u64) -> Vec<Lines> {
        let mut bytes = stream::iter(parts.into_iter().map(|part| Ok(part.into()))).boxed();
        let mut splitter = Splitter::new(1, from_line);
        let mut batches: Vec<Lines> = Vec::new();
        while batches.last().is_none_or(|batch| !batch.ended) {
            let batch = splitter.next(&mut bytes).await.unwrap();
            let expected = batches.last().map_or(from_line, Lines::next_line);
            assert_eq!(batch.first_line, expected, "no gap and no double");
            batches.push(batch);
        }
        batches
    }

    async fn lines(parts: &[&[u8]]) -> Vec<String> {
        let batches = batches(parts.iter().map(|part| part.to_vec()).collect(), 1).await;
        batches.into_iter().flat_map(|batch| batch.lines).collect()
    }

    #[tokio::test]
    async fn a_line_is_whole_wherever_its_bytes_are_divided() {
        assert_eq!(lines(&[b"one\ntw", b"o\n", b"\nfour"]).await, ["one", "two", "", "four"]);
        assert_eq!(lines(&[b"one\n"]).await, ["one"]);
        assert_eq!(lines(&[b"\n"]).await, [""]);
        assert_eq!(lines(&[]).await, [""; 0]);
        assert_eq!(lines(&[b"\xe2\x82", b"\xac\n"]).await, ["€"], "a character is not two halves");
        assert_eq!(lines(&[b"a\xffb\r\n\xe2\x82"]).await, ["a\u{fffd}b\r", "\u{fffd}"]);
    }

    #[tokio::test]
    async fn a_batch_is_bounded_in_lines_and_bytes() {
        let short = batches(vec![b"x\n".repeat(2_500)], 7).await;
        let counts: Vec<usize> = short.iter().map(|batch| batch.lines.len()).collect();
        assert_eq!(counts, [1_000, 1_000, 500]);
        assert_eq!((short[0].first_line, short[2].next_line(), short[2].ended), (7, 2_507, true));

        let line = [vec![b'y'; 50_000], b"\n".to_vec()].concat();
        let long = batches(vec![line.repeat(20)], 1).await;
        assert!(long.iter().all(|batch| batch.lines.len() <= 6), "{long:?}");
        assert_eq!(long.iter().map(|batch| batch.lines.len()).sum::<usize>(), 20);
    }

    #[tokio::test]
    async fn of_a_line_without_an_end_a_part_is_held() {
        let parts = vec![vec![b'z'; 60_000]; 50];
        let all = batches([parts, vec![b"\nnext".to_vec()]].concat(), 1).await;
        let lines: Vec<&String> = all.iter().flat_map(|batch| &batch.lines).collect();
        assert_eq!(lines.len(), 2);
        let (shown, rest) = lines[0].split_at(LINE_BYTES);
        assert!(shown.bytes().all(|byte| byte == b'z'));
        let left_out = 50 * 60_000 - LINE_BYTES;
        assert!(rest.starts_with(&format!(" [{left_out} bytes more of this line")), "{rest}");
        assert_eq!(lines[1], "next");
    }

    #[tokio::test]
    async fn what_is_there_is_not_held_back() {
        let waiting = stream::iter([Ok(Bytes::from_static(b"one\ntw"))]).chain(stream::pending()).boxed();
        let (mut waiting, mut splitter) = (waiting, Splitter::new(1, 1));
        let batch = splitter.next(&mut waiting).await.unwrap();
        assert_eq!((batch.lines, batch.ended), (vec!["one".to_owned()], false));
        assert!(splitter.next(&mut waiting).now_or_never().is_none(), "the second has not ended");
    }
}
