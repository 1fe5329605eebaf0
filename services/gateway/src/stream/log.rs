//! An attempt's log: its live part and its sealed one as one stream of bytes.
//!
//! Owns the join. The live log is purged once it is sealed, at any moment of a reading: a reader knows the line and the
//! column where it stands, and goes on there in the sealed log. Invariant: each byte once and in order, and with `follow`
//! no end before the log's own.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Bytes;
use broker::{Broker, Follower, LogFollower, SealedLog, SealedLogError, Start};
use events::beat::Running;
use events::envelope::Recorded;
use events::id::{ExecutionId, JobId};
use events::job::LogSealed;
use events::log::LogEnd;
use events::rejection::Code;
use events::{Aggregate, Event, job, subject};
use futures::stream::{self, BoxStream, Stream, StreamExt as _};

use crate::fault::Fault;

/// How long the end of an attempt that could not say how long its log is waits for the seal, which says it.
const SEAL_PATIENCE: Duration = Duration::from_secs(60);

/// How often a sealed log is opened again when the broker was away.
pub(super) const REOPENINGS: u32 = 20;
pub(super) const REOPEN_AFTER: Duration = Duration::from_millis(500);

/// What to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// The job's execution.
    pub(crate) execution: ExecutionId,
    /// The job.
    pub(crate) job: JobId,
    /// The attempt; absent: the last one.
    pub(crate) attempt: Option<u32>,
    /// The line to begin with, from 1.
    pub(crate) from_line: u64,
    /// Whether to stay until the log is complete.
    pub(crate) follow: bool,
}

/// An attempt's log, before its first byte.
pub(crate) struct Log {
    /// Which attempt it is.
    pub(crate) attempt: u32,
    reader: Reader,
}

impl Log {
    /// The whole log, if it is complete and stored as such.
    pub(crate) fn sealed(&self) -> Option<&LogSealed> {
        match &self.reader.phase {
            Phase::Live(live) => live.story.sealed.as_ref(),
            Phase::Sealed { log, .. } => Some(log),
            Phase::Ended => None,
        }
    }

    /// Its bytes.
    pub(crate) fn read(self) -> impl Stream<Item = Result<Bytes, Fault>> + Send + use<> {
        stream::try_unfold(self.reader, |mut reader| async move {
            let part = reader.next().await?;
            Ok(part.map(|part| (part, reader)))
        })
    }
}

/// Opens an attempt's log.
pub(crate) async fn open(broker: &Broker, request: Request) -> Result<Log, Fault> {
    let aggregate = Aggregate::Job(request.execution, request.job);
    let history = broker.history(&aggregate).await?;
    let newest = Story::of(u32::MAX, &history).newest;
    // Whoever follows a job that waits for its first runner sees its first attempt.
    let attempt = request.attempt.unwrap_or_else(|| if request.follow { newest.max(1) } else { newest });
    let story = Story::of(attempt, &history);
    let to_come = request.follow && attempt == 1 && newest == 0 && !story.over;
    if attempt == 0 || (attempt > newest && !to_come) {
        let (message, hint) = match newest {
            0 => ("has not been given to a runner yet".to_owned(), "Follow it with `patchwave job logs -f`."),
            _ => (format!("has no attempt {attempt}"), "`patchwave job show` lists its attempts."),
        };
        return Err(Fault::new(Code::NotFound, format!("{} {message}", request.job), hint));
    }
    let last = history.last().map_or(0, |recorded| recorded.sequence);
    let running = Running { job: request.job, attempt };
    let reader = Reader {
        broker: broker.clone(),
        place: Place { line: 1, column: 0, from_line: request.from_line.max(1) },
        ready: VecDeque::new(),
        phase: Phase::Live(Box::new(Live {
            log: broker.follow_log(&running, 0),
            job: broker.follow_events(&[subject::aggregate_filter(&aggregate)], Start::After(last)),
            story,
            chunks: 0,
        })),
        aggregate,
        follow: request.follow,
    };
    Ok(Log { attempt, reader })
}

/// What a job's events say of one attempt's log.
#[derive(Debug, Default)]
struct Story {
    attempt: u32,
    /// The last attempt that was given out.
    newest: u32,
    /// Whether the attempt has ended, or will never begin.
    over: bool,
    end: Option<LogEnd>,
    sealed: Option<LogSealed>,
}

impl Story {
    fn of(attempt: u32, history: &[Recorded]) -> Self {
        let mut story = Self { attempt, ..Self::default() };
        history.iter().for_each(|recorded| story.take(recorded));
        story
    }

    fn take(&mut self, recorded: &Recorded) {
        use job::Event as Job;
        let Event::Job(event) = &recorded.event else { return };
        let (attempt, end) = match event {
            Job::Assigned(assigned) => {
                self.newest = self.newest.max(assigned.attempt);
                return;
            }
            Job::Succeeded(succeeded) => (succeeded.attempt, Some(&succeeded.log)),
            Job::Failed(failed) => (failed.attempt, failed.log.as_ref()),
            Job::TimedOut(timed_out) => (timed_out.attempt, Some(&timed_out.log)),
            Job::Lost(lost) => (lost.attempt, None),
            Job::Canceled(canceled) => (canceled.attempt.unwrap_or(self.newest + 1), None),
            Job::LogSealed(sealed) if sealed.attempt == self.attempt => {
                self.sealed = Some(sealed.clone());
                return;
            }
            _ => return,
        };
        if attempt == self.attempt {
            self.over = true;
            self.end = end.cloned();
        }
    }

    /// Whether there is nothing behind so many chunks.
    fn ends_at(&self, chunks: u64) -> bool {
        let never_began = self.over && self.attempt > self.newest;
        never_began || (self.over && self.end.as_ref().is_some_and(|end| end.chunks <= chunks))
    }
}

/// Where in the log the next byte stands.
#[derive(Debug)]
struct Place {
    line: u64,
    /// How many bytes of that line went by.
    column: u64,
    from_line: u64,
}

impl Place {
    /// Passes bytes by; returns those that the reader wants.
    fn pass(&mut self, bytes: Bytes) -> Bytes {
        let mut wanted = bytes;
        while self.line < self.from_line {
            let Some(feed) = wanted.iter().position(|byte| *byte == b'\n') else { return Bytes::new() };
            wanted = wanted.slice(feed + 1..);
            self.line += 1;
        }
        let feeds = wanted.iter().filter(|byte| **byte == b'\n').count() as u64;
        let behind = wanted.iter().rev().position(|byte| *byte == b'\n').map(|behind| behind as u64);
        self.column = behind.unwrap_or(self.column + wanted.len() as u64);
        self.line += feeds;
        wanted
    }

    /// The line to go on with, and how many of its bytes went by.
    fn resume(&self) -> (u64, u64) {
        if self.line < self.from_line { (self.from_line, 0) } else { (self.line, self.column) }
    }
}

struct Reader {
    broker: Broker,
    aggregate: Aggregate,
    follow: bool,
    place: Place,
    ready: VecDeque<Bytes>,
    phase: Phase,
}

enum Phase {
    Live(Box<Live>),
    Sealed {
        log: LogSealed,
        bytes: BoxStream<'static, Result<Bytes, SealedLogError>>,
        skip: u64,
        opened: u32,
    },
    Ended,
}

struct Live {
    log: LogFollower,
    job: Follower,
    story: Story,
    /// How many chunks went by.
    chunks: u64,
}

impl Reader {
    /// The next bytes; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            match &mut self.phase {
                Phase::Ended => return Ok(None),
                Phase::Live(_) => self.read_live().await?,
                Phase::Sealed { .. } => self.read_sealed().await?,
            }
        }
    }

    async fn read_live(&mut self) -> Result<(), Fault> {
        let Phase::Live(live) = &mut self.phase else { return Ok(()) };
        if let Some(sealed) = live.story.sealed.take() {
            return self.open(sealed, 0, 0).await;
        }
        if live.story.ends_at(live.chunks) {
            self.phase = Phase::Ended;
            return Ok(());
        }
        let unsaid = live.story.over && live.story.end.is_none();
        let (chunks, at_end) = tokio::select! {
            batch = live.job.next() => {
                for event in batch?.messages.iter().filter_map(|message| message.event().ok()) {
                    live.story.take(&event);
                }
                return Ok(());
            }
            chunks = live.log.next() => {
                let chunks = chunks?;
                (chunks.chunks, chunks.pending == 0 && !self.follow)
            }
            () = tokio::time::sleep(SEAL_PATIENCE), if unsaid => {
                let rest = live.log.rest();
                (rest.chunks, rest.pending == 0)
            }
        };
        live.chunks += chunks.len() as u64;
        let passed = chunks.into_iter().map(|chunk| self.place.pass(chunk.bytes.into()));
        self.ready.extend(passed.filter(|bytes| !bytes.is_empty()));
        if at_end { self.end_live().await } else { Ok(()) }
    }

    /// Ends at the end of the live log, unless it was sealed and purged while it was read.
    async fn end_live(&mut self) -> Result<(), Fault> {
        let Phase::Live(live) = &mut self.phase else { return Ok(()) };
        let history = self.broker.history(&self.aggregate).await?;
        let story = Story::of(live.story.attempt, &history);
        if story.sealed.is_some() {
            live.story = story;
            return Ok(());
        }
        if story.over {
            let rest = live.log.rest();
            let passed = rest.chunks.into_iter().map(|chunk| self.place.pass(chunk.bytes.into()));
            self.ready.extend(passed.filter(|bytes| !bytes.is_empty()));
            if rest.pending > 0 {
                return Ok(());
            }
        }
        self.phase = Phase::Ended;
        Ok(())
    }

    /// Goes on in the sealed log, where the reader stands; `unskipped` bytes behind that went by before.
    async fn open(&mut self, log: LogSealed, opened: u32, unskipped: u64) -> Result<(), Fault> {
        let (line, column) = self.place.resume();
        let skip = column + unskipped;
        let bytes = match SealedLog::open(&self.broker, &log.blob).await {
            Ok(sealed) => sealed.from_line(line),
            Err(error) if is_passing(&error) && opened < REOPENINGS => {
                stream::once(std::future::ready(Err(error))).boxed()
            }
            Err(error) => return Err(error.into()),
        };
        // What comes begins with this line: the place is counted from there again.
        self.place = Place { line, column: 0, from_line: line };
        self.phase = Phase::Sealed { log, bytes, skip, opened };
        Ok(())
    }

    async fn read_sealed(&mut self) -> Result<(), Fault> {
        let Phase::Sealed { log, bytes, skip, opened } = &mut self.phase else { return Ok(()) };
        match bytes.next().await {
            None => self.phase = Phase::Ended,
            Some(Ok(part)) => {
                let part = self.place.pass(part);
                let known = usize::try_from(*skip).unwrap_or(usize::MAX).min(part.len());
                *skip -= known as u64;
                self.ready.extend(Some(part.slice(known..)).filter(|part| !part.is_empty()));
            }
            Some(Err(error)) if is_passing(&error) && *opened < REOPENINGS => {
                let (log, opened, unskipped) = (log.clone(), *opened + 1, *skip);
                tokio::time::sleep(REOPEN_AFTER).await;
                self.open(log, opened, unskipped).await?;
            }
            Some(Err(error)) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Whether the broker was only away.
pub(super) fn is_passing(error: &SealedLogError) -> bool {
    matches!(error, SealedLogError::Blob(broker::BlobError::Read(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(parts: &[&'static str], from_line: u64) -> (String, (u64, u64)) {
        let mut place = Place { line: 1, column: 0, from_line };
        let wanted = parts.iter().map(|part| place.pass(Bytes::from_static(part.as_bytes())));
        let wanted: Vec<u8> = wanted.flatten().collect();
        (String::from_utf8_lossy(&wanted).into_owned(), place.resume())
    }

    #[test]
    fn a_place_is_a_line_and_a_column() {
        assert_eq!(passed(&["one\ntw", "o\nthree"], 1), ("one\ntwo\nthree".to_owned(), (3, 5)));
        assert_eq!(passed(&["one\ntw", "o\nthree\n"], 2), ("two\nthree\n".to_owned(), (4, 0)));
        assert_eq!(passed(&["one\ntw", "o\nthr", "ee"], 3), ("three".to_owned(), (3, 5)));
        assert_eq!(passed(&["one\ntwo"], 7), (String::new(), (7, 0)));
        assert_eq!(passed(&[], 1), (String::new(), (1, 0)));
    }

    #[test]
    fn an_attempt_that_never_began_has_no_log() {
        let story = Story { attempt: 1, newest: 0, over: true, ..Story::default() };
        assert!(story.ends_at(0));
        let lost = Story { attempt: 1, newest: 1, over: true, ..Story::default() };
        assert!(!lost.ends_at(5), "only the seal says how long it is");
    }
}
