//! The outbox: what an attempt has to report, written down before it is sent.
//!
//! Owns the numbers of an attempt's reports and their order. After a restart all of them are sent again, which is no news to
//! a scheduler that has them. Like the spool it is not synced: after a power failure the attempt is lost, and a report that
//! went out under a number that is used again is the one that counts.

use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};
use broker::Broker;
use events::beat::Running;
use events::id::{ExecutionId, RunnerId};
use events::report::{Report, What};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::journal::{self, ATTEMPT};

/// How many reports go out at once. They are small, and a message may have 1 MiB.
const TOGETHER: usize = 64;

/// The outbox of one attempt.
pub(crate) struct Outbox {
    execution: ExecutionId,
    attempt: Running,
    file: File,
    last: Option<Report>,
    queue: mpsc::UnboundedSender<Report>,
    sender: AbortOnDropHandle<()>,
}

/// Whether nothing follows a report.
pub(crate) const fn is_final(what: &What) -> bool {
    match what {
        What::Started
        | What::Images { .. }
        | What::StepStarted { .. }
        | What::StepFinished { .. }
        | What::StepSkipped { .. }
        | What::Reused { .. } => false,
        What::Succeeded { .. }
        | What::Failed { .. }
        | What::TimedOut { .. }
        | What::Canceled { .. }
        | What::Abandoned { .. }
        | What::Returned { .. } => true,
    }
}

impl Outbox {
    /// Opens the outbox in an attempt's folder, and sends what an earlier process left in it.
    pub(crate) fn open(
        folder: &Path,
        broker: Broker,
        runner: RunnerId,
        (execution, attempt): (ExecutionId, Running),
    ) -> Result<Self> {
        let path = folder.join(ATTEMPT);
        let found = read(&path).context("the reports of an attempt cannot be read")?;
        let file = File::options().append(true).open(&path);
        let file = file.context("the reports of an attempt cannot be written")?;
        let last = found.last().cloned();
        let (queue, reports) = mpsc::unbounded_channel();
        for report in found {
            // The receiver is right here.
            let _ = queue.send(report);
        }
        let sender = AbortOnDropHandle::new(tokio::spawn(send(broker, runner, reports)));
        Ok(Self { execution, attempt, file, last, queue, sender })
    }

    /// Whether the attempt's end is among the reports.
    pub(crate) fn is_complete(&self) -> bool {
        self.last.as_ref().is_some_and(|last| is_final(&last.what))
    }

    /// Writes a report down and lets it be sent.
    pub(crate) fn push(&mut self, what: What) {
        let number = self.last.as_ref().map_or(1, |last| last.number + 1);
        let Running { job, attempt } = self.attempt;
        let report =
            Report { execution: self.execution, job, attempt, number, time: chrono::Utc::now(), what };
        if let Err(error) = self.append(&report) {
            // A full disk ends the attempt elsewhere; what happened can still be told.
            tracing::warn!(job.id = %job, attempt, %error, "a report is sent without being written down");
        }
        self.last = Some(report.clone());
        let _ = self.queue.send(report);
    }

    fn append(&self, report: &Report) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        journal::append(&self.file, &line)
    }

    /// Waits until the broker has all reports.
    pub(crate) async fn close(self) -> Result<()> {
        drop(self.queue);
        self.sender.await.context("the sender of reports failed")
    }
}

/// Reads the reports below the ticket up to the first that is torn, and takes the rest away.
fn read(path: &Path) -> io::Result<Vec<Report>> {
    let text = std::fs::read(path)?;
    let mut reports = Vec::new();
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let mut whole = lines.next().map_or(0, <[u8]>::len);
    for line in lines {
        let next = reports.len() as u32 + 1;
        match serde_json::from_slice::<Report>(line) {
            Ok(report) if line.ends_with(b"\n") && report.number == next => reports.push(report),
            _ => break,
        }
        whole += line.len();
    }
    if whole < text.len() {
        File::options().write(true).open(path)?.set_len(whole as u64)?;
    }
    Ok(reports)
}

/// Sends what there is; what comes meanwhile goes out together.
async fn send(broker: Broker, runner: RunnerId, mut queue: mpsc::UnboundedReceiver<Report>) {
    let mut reports = Vec::new();
    while queue.recv_many(&mut reports, TOGETHER).await > 0 {
        if let Err(error) = broker.report(&runner, &reports).await {
            // It waits for a broker that is away by itself; what comes here can never be sent.
            let (job, attempt) = (reports[0].job, reports[0].attempt);
            tracing::error!(job.id = %job, attempt, %error, "reports cannot be sent");
        }
        reports.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use events::id::JobId;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn report(number: u32) -> Report {
        Report {
            execution: ExecutionId::from_uuid(Uuid::from_u128(7_000)),
            job: JobId::from_uuid(Uuid::from_u128(9_000_000)),
            attempt: 3,
            number,
            time: "2026-05-06T07:08:09.123Z".parse().unwrap(),
            what: What::StepStarted { step: number },
        }
    }

    proptest! {
        #[test]
        fn a_cut_anywhere_loses_the_torn_report_and_nothing_else(count in 0..6u32, cut: proptest::sample::Index) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(ATTEMPT);
            let ticket = b"{}\n";
            let reports: Vec<Report> = (1..=count).map(report).collect();
            let lines: Vec<Vec<u8>> = reports
                .iter()
                .map(|report| [serde_json::to_vec(report).unwrap(), b"\n".to_vec()].concat())
                .collect();
            let text = [ticket, lines.concat().as_slice()].concat();
            let size = ticket.len() + cut.index(text.len() + 1 - ticket.len());
            std::fs::write(&path, &text[..size]).unwrap();
            let mut end = ticket.len();
            let whole = lines.iter().take_while(|line| { end += line.len(); end <= size }).count();
            prop_assert_eq!(read(&path).unwrap(), reports[..whole].to_vec());
            let kept = [ticket, lines[..whole].concat().as_slice()].concat();
            prop_assert_eq!(std::fs::read(&path).unwrap(), kept);
        }
    }
}
