//! Sealing one attempt's log.
//!
//! Owns the order of the steps: the blob is stored, the event names it, the live log goes. Each step may be repeated.
//! What was reported about the log's end is checked against the bytes before anything is said of them.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use broker::sealed_log::{SealedLog, SealedLogError, SealedLogWriter};
use broker::{AppendError, BlobError, Broker, DecideError, FollowError};
use chrono::Utc;
use events::blob::{BlobKind, BlobRef};
use events::envelope::{Actor, Origin, Recorded};
use events::id::CommandId;
use events::job::{self, Command, Job, LogSealed};
use events::log::LogEnd;
use events::rejection::Code;
use events::{Aggregate, Event};
use tempfile::NamedTempFile;

use crate::ended::Ended;
use crate::live::{Chunks, ReadError};

/// What the files that logs are put together in are called.
pub(crate) const SCRATCH_PREFIX: &str = "sealing-";

/// Why a log is not sealed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It may be later.
    Passing(anyhow::Error),
    /// Not without a person's help.
    Dead(String),
    /// Nothing will be sealed any more.
    Fatal(anyhow::Error),
}

/// Seals an ended attempt's log and removes the live one. Does nothing where it is sealed already.
pub(crate) async fn seal(broker: &Broker, scratch: &Path, ended: &Ended) -> Result<(), Trouble> {
    let earlier = earlier_seal(broker, ended).await?;
    if is_complete(earlier.as_ref(), ended) {
        return purge(broker, ended, None).await;
    }
    let earlier = match &earlier {
        Some(sealed) => Some(SealedLog::open(broker, &sealed.blob).await.map_err(sealed_trouble)?),
        None => None,
    };
    let file = tempfile::Builder::new().prefix(SCRATCH_PREFIX).tempfile_in(scratch).map_err(disk)?;
    let (log, through) = write(broker, ended, (earlier, &file)).await?;
    if let Some(reason) = differs(ended, &log) {
        // Another collector may have sealed and removed it while this one read.
        let sealed = earlier_seal(broker, ended).await?;
        return if is_complete(sealed.as_ref(), ended) { Ok(()) } else { Err(Trouble::Dead(reason)) };
    }
    let blob = broker.put_blob_file(BlobKind::Log, file.path()).await.map_err(blob_trouble)?;
    append(broker, ended, (blob, log)).await?;
    match through {
        Some(_) => purge(broker, ended, through).await,
        None => Ok(()),
    }
}

/// The newest seal of this attempt's log.
async fn earlier_seal(broker: &Broker, ended: &Ended) -> Result<Option<LogSealed>, Trouble> {
    let history = broker.history(&aggregate(ended)).await.map_err(|error| Trouble::Passing(error.into()))?;
    Ok(history.into_iter().rev().find_map(|recorded| match recorded.event {
        Event::Job(job::Event::LogSealed(sealed)) if sealed.attempt == ended.attempt.attempt => Some(sealed),
        _ => None,
    }))
}

/// Whether a seal has all that was reported.
fn is_complete(sealed: Option<&LogSealed>, ended: &Ended) -> bool {
    let (Some(sealed), Some(_)) = (sealed, &ended.log) else { return false };
    differs(ended, &sealed.log).is_none()
}

/// Puts the log together in a file; returns what it amounts to and up to where the live log is in it.
async fn write(
    broker: &Broker,
    ended: &Ended,
    (earlier, file): (Option<SealedLog>, &NamedTempFile),
) -> Result<(LogEnd, Option<u64>), Trouble> {
    let mut chunks = Chunks::open(broker, &ended.attempt, earlier.as_ref()).await.map_err(read_trouble)?;
    let mut writer = SealedLogWriter::new(BufWriter::new(reopen(file)?)).map_err(disk)?;
    let last = ended.log.as_ref().map_or(u64::MAX, |log| log.chunks);
    let mut beyond = 0u64;
    while let Some(chunk) = chunks.next().await.map_err(read_trouble)? {
        if chunk.number <= last {
            writer.write(&chunk).map_err(disk)?;
        } else {
            beyond += 1;
        }
    }
    if beyond > 0 {
        tracing::warn!(
            job.id = %ended.attempt.job, attempt = ended.attempt.attempt, chunks = beyond,
            "chunks behind the reported end of the log are dropped"
        );
    }
    let (_, log) = writer.finish().map_err(disk)?;
    Ok((log, chunks.through()))
}

fn reopen(file: &NamedTempFile) -> Result<File, Trouble> {
    file.reopen().map_err(disk)
}

/// What is wrong with a log, if it is not what was reported.
fn differs(ended: &Ended, log: &LogEnd) -> Option<String> {
    let reported = ended.log.as_ref()?;
    let same = reported.chunks == log.chunks && reported.bytes == log.bytes && reported.sha256 == log.sha256;
    (!same).then(|| {
        let lost = if log.chunks < reported.chunks { "the broker lost chunks of it" } else { "its bytes differ" };
        format!(
            "the log of attempt {} of {} is not what its runner reported: {lost}. Reported: {} chunks, {} bytes, \
             sha256 {}; found: {} chunks, {} bytes, sha256 {}. The live log is kept: restore the broker's LOGS stream \
             and retry, or run the job again",
            ended.attempt.attempt,
            ended.attempt.job,
            reported.chunks,
            reported.bytes,
            reported.sha256,
            log.chunks,
            log.bytes,
            log.sha256,
        )
    })
}

async fn append(broker: &Broker, ended: &Ended, (blob, log): (BlobRef, LogEnd)) -> Result<(), Trouble> {
    let attempt = ended.attempt.attempt;
    let (job, number) = (ended.attempt.job.to_string(), attempt.to_string());
    let chunks = log.chunks.to_string();
    let origin = Origin {
        command: CommandId::derived(&["seal_log", &job, &number, &chunks, log.sha256.as_str()]),
        actor: Actor::service("log-collector"),
        correlation: ended.execution.to_string(),
        causation: Some(ended.event),
        trace_parent: None,
    };
    let decide = |history: &[Recorded]| {
        let command = Command::SealLog { attempt, blob: blob.clone(), log: log.clone() };
        Ok(job::decide(&fold(history), command)?.map(Event::Job))
    };
    match broker.decide(&aggregate(ended), &origin, Utc::now(), decide).await {
        Ok(_) => Ok(()),
        Err(DecideError::Rejected(rejection)) if rejection.code != Code::Busy => {
            Err(Trouble::Dead(format!("{}. {}", rejection.message, rejection.hint)))
        }
        Err(DecideError::Append(error @ AppendError::NoLog)) => Err(Trouble::Fatal(error.into())),
        Err(error) => Err(Trouble::Passing(error.into())),
    }
}

fn fold(history: &[Recorded]) -> Job {
    history.iter().fold(Job::default(), |job, recorded| match &recorded.event {
        Event::Job(event) => job::evolve(job, event),
        _ => job,
    })
}

async fn purge(broker: &Broker, ended: &Ended, through: Option<u64>) -> Result<(), Trouble> {
    broker.purge_log(&ended.attempt, through).await.map_err(|error| Trouble::Passing(error.into()))
}

const fn aggregate(ended: &Ended) -> Aggregate {
    Aggregate::Job(ended.execution, ended.attempt.job)
}

fn disk(error: io::Error) -> Trouble {
    Trouble::Passing(anyhow::Error::new(error).context(
        "the log cannot be put together in the scratch folder: make room there and see that it can be written",
    ))
}

fn read_trouble(error: ReadError) -> Trouble {
    match error {
        ReadError::Live(error @ FollowError::StreamMissing(_)) => Trouble::Fatal(error.into()),
        ReadError::Sealed(error) => sealed_trouble(error),
    }
}

fn sealed_trouble(error: SealedLogError) -> Trouble {
    match error {
        SealedLogError::Blob(error) => blob_trouble(error),
        damaged @ SealedLogError::Damaged { .. } => Trouble::Dead(damaged.to_string()),
    }
}

fn blob_trouble(error: BlobError) -> Trouble {
    match error {
        BlobError::Missing(_) | BlobError::Corrupt(_) => Trouble::Dead(error.to_string()),
        error => Trouble::Passing(error.into()),
    }
}
