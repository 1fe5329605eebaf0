//! The log of an attempt, from a step's pipes to the broker.
//!
//! Owns the one way in. Bytes are masked, cut into chunks and written to the spool by one task, and sent from there by
//! another: a step waits for the disk at most, never for the broker. Invariant: what [`Log::close`] says is stored.

mod chunker;
mod gate;
mod mask;
mod shipper;
mod spool;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use broker::Broker;
use bytes::Bytes;
use events::Timestamp;
use events::beat::Running;
use events::id::RunnerId;
use events::log::{Chunk, LogEnd, Stream};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::limits::LogLimits;
use crate::mask::Masker;
use chunker::{Chunker, Tally};
use gate::{Gate, Part};
use mask::Mask;
use shipper::{Shipper, Written};
use spool::Spool;

/// The name of the spool in an attempt's folder.
const SPOOL: &str = "log";

/// How long bytes may wait for more before they become a chunk.
const LINGER: Duration = Duration::from_millis(100);

/// How many pieces may wait for the writer; a step that is faster than the disk waits then.
const QUEUED: usize = 64;

/// The log of one attempt.
pub(crate) struct Log {
    pieces: mpsc::Sender<Piece>,
    failure: watch::Receiver<Option<String>>,
    full: watch::Receiver<bool>,
    writer: AbortOnDropHandle<LogEnd>,
    shipper: AbortOnDropHandle<Result<()>>,
}

struct Piece {
    step: u32,
    stream: Stream,
    what: What,
}

enum What {
    Bytes(Bytes),
    /// The stream's end in this step.
    End,
}

impl Log {
    /// Opens the log in an attempt's folder, empty or with what an earlier process left, and begins to send it.
    pub(crate) fn open(
        folder: &Path,
        broker: Broker,
        (runner, attempt): (RunnerId, Running),
        (limits, masker): (LogLimits, &Masker),
    ) -> Result<Self> {
        let path = folder.join(SPOOL);
        let opened = on_disk(|| Spool::open(&path));
        let (spool, tally) = opened.context("the log's spool cannot be opened")?;
        let found = spool.end();
        let (written_sender, written) = watch::channel(Written { end: found, complete: false });
        let (failed, failure) = watch::channel(None);
        let (filled, full) = watch::channel(false);
        let (pieces, queue) = mpsc::channel(QUEUED);
        let chunker = Chunker::after(&tally);
        let writer = Writer {
            spool,
            tally,
            chunker,
            mask: Mask::new(masker),
            gate: Gate::new(limits),
            through: Vec::new(),
            written: written_sender,
            failed,
            filled,
        };
        let shipper = Shipper { broker, runner, attempt, found, written };
        Ok(Self {
            pieces,
            failure,
            full,
            writer: AbortOnDropHandle::new(tokio::spawn(writer.run(queue))),
            shipper: AbortOnDropHandle::new(tokio::spawn(shipper.run(path))),
        })
    }

    /// Takes what a step wrote.
    pub(crate) async fn write(&self, step: u32, stream: Stream, bytes: Bytes) {
        // The writer ends only after this handle is gone.
        let _ = self.pieces.send(Piece { step, stream, what: What::Bytes(bytes) }).await;
    }

    /// Notes that a step wrote its last.
    pub(crate) async fn end_step(&self, step: u32) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let _ = self.pieces.send(Piece { step, stream, what: What::End }).await;
        }
    }

    /// Adds a line of the runner's own.
    pub(crate) async fn tell(&self, line: &str) {
        let _ = self.pieces.send(said(line)).await;
    }

    /// Adds a line of the runner's own that may be left out when there is too much to write.
    pub(crate) fn mention(&self, line: &str) {
        let _ = self.pieces.try_send(said(line));
    }

    /// Waits until the log cannot be written any more, and says why.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        if let Ok(failure) = failure.wait_for(Option::is_some).await
            && let Some(reason) = failure.as_ref()
        {
            return reason.clone();
        }
        std::future::pending().await
    }

    /// Waits until the log takes no more of what the steps print.
    pub(crate) async fn full(&self) {
        let mut full = self.full.clone();
        if full.wait_for(|is_full| *is_full).await.is_err() {
            std::future::pending().await
        }
    }

    /// Ends the log, and waits until the broker has all of it.
    ///
    /// # Errors
    /// When it cannot be sent at all.
    pub(crate) async fn close(self) -> Result<LogEnd> {
        drop(self.pieces);
        let end = self.writer.await.context("the log's writer failed")?;
        self.shipper.await.context("the log's sender failed")??;
        Ok(end)
    }
}

fn said(line: &str) -> Piece {
    let what = What::Bytes(Bytes::from(format!("{line}\n")));
    Piece { step: 0, stream: Stream::Runner, what }
}

/// Does what may wait for the disk, without keeping heartbeats waiting.
fn on_disk<T>(work: impl FnOnce() -> T) -> T {
    match Handle::current().runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Writes the spool.
struct Writer {
    spool: Spool,
    tally: Tally,
    chunker: Chunker,
    mask: Mask,
    gate: Gate,
    /// What has just come through the gate.
    through: Vec<Part>,
    written: watch::Sender<Written>,
    failed: watch::Sender<Option<String>>,
    filled: watch::Sender<bool>,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Piece>) -> LogEnd {
        let mut chunks = Vec::new();
        let mut due = Instant::now();
        loop {
            let waiting = self.chunker.is_waiting();
            let piece = tokio::select! {
                biased;
                () = tokio::time::sleep_until(due), if waiting => {
                    chunks.extend(self.chunker.flush());
                    self.append(&mut chunks);
                    continue;
                }
                piece = queue.recv() => piece,
            };
            let Some(piece) = piece else { break };
            self.take(piece, &mut chunks);
            if !waiting || !chunks.is_empty() {
                due = Instant::now() + LINGER;
            }
            self.append(&mut chunks);
        }
        chunks.extend(self.chunker.flush());
        self.append(&mut chunks);
        self.written.send_modify(|written| written.complete = true);
        self.tally.end()
    }

    fn take(&mut self, piece: Piece, chunks: &mut Vec<Chunk>) {
        let Piece { step, stream, what } = piece;
        let now = chrono::Utc::now();
        let ends = matches!(what, What::End);
        let bytes = match (what, stream) {
            (What::Bytes(bytes), Stream::Runner) => {
                let line = self.mask.pass(stream, bytes);
                return self.say((step, &line), now, chunks);
            }
            (What::Bytes(bytes), _) => self.mask.pass(stream, bytes),
            (What::End, _) => self.mask.finish(stream),
        };
        self.gate.pass(stream, bytes, &mut self.through);
        let mut through = std::mem::take(&mut self.through);
        for part in through.drain(..) {
            match part {
                Part::Bytes(bytes) => self.chunker.push((step, stream), &bytes, now, chunks),
                Part::Note(note) => self.say((0, format!("{note}\n").as_bytes()), now, chunks),
            }
        }
        self.through = through;
        if ends {
            self.gate.end(stream);
        }
        if self.gate.is_full() {
            self.filled.send_if_modified(|is_full| !std::mem::replace(is_full, true));
        }
    }

    /// Adds a line of the runner's own. It begins a line, whatever the step left unfinished.
    fn say(&mut self, (step, line): (u32, &[u8]), now: Timestamp, chunks: &mut Vec<Chunk>) {
        chunks.extend(self.chunker.flush());
        let inside =
            chunks.last().map_or(self.tally.is_inside_a_line(), |chunk| chunk.bytes.last() != Some(&b'\n'));
        if inside {
            self.chunker.push((step, Stream::Runner), b"\n", now, chunks);
        }
        self.chunker.push((step, Stream::Runner), line, now, chunks);
    }

    /// Writes chunks down. Once that failed, the log ends where it failed, and the attempt with it.
    fn append(&mut self, chunks: &mut Vec<Chunk>) {
        for chunk in chunks.drain(..) {
            if self.failed.borrow().is_some() {
                continue;
            }
            match on_disk(|| self.spool.append(&chunk)) {
                Ok(end) => {
                    self.tally.add(&chunk);
                    self.written.send_modify(|written| written.end = end);
                }
                Err(error) => {
                    self.failed.send_replace(Some(format!("the log cannot be written to disk: {error}")));
                }
            }
        }
    }
}
