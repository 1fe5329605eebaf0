//! The intake of reports: in order for each job, at once over jobs.
//!
//! Owns the acknowledgement: deliveries are acknowledged together, once the facts of all their reports are in the log, or
//! it is certain that there are none.

use std::collections::HashSet;

use anyhow::Context as _;
use events::execution::{Command, decide};
use events::id::JobId;
use events::report::Report;

use crate::facts::Fact;
use crate::outside::{ReportDelivery, time};
use crate::reports::{Verdict, command_id, judge};
use crate::service::Service;

/// A delivery, and how many of its reports are done with.
struct Opened<'a> {
    delivery: &'a ReportDelivery,
    done: usize,
}

impl<'a> Opened<'a> {
    /// The next report, if there is one.
    fn current(&self) -> Option<&'a Report> {
        self.delivery.reports.as_ref().ok()?.get(self.done)
    }
}

/// What is to be done about a delivery now.
enum Next {
    /// A fact that this job's runner tells of is to be appended.
    Append(JobId, Box<Fact>),
    /// Its next report comes after one on the same job that is under way.
    Wait,
    Finished,
    Dead(String),
}

impl Service {
    /// Turns reports into facts.
    pub(crate) async fn take_reports(&mut self, deliveries: Vec<ReportDelivery>) -> anyhow::Result<()> {
        let Some(last) = deliveries.last() else { return Ok(()) };
        let mut open: Vec<Opened> = deliveries.iter().map(|delivery| Opened { delivery, done: 0 }).collect();
        while !open.is_empty() {
            open = self.take_round(open).await?;
        }
        last.ack_up_to().await.context("acknowledging reports")
    }

    /// Takes at most one new fact of each job; returns the deliveries that are not finished, in their order.
    async fn take_round<'a>(&mut self, open: Vec<Opened<'a>>) -> anyhow::Result<Vec<Opened<'a>>> {
        let (mut facts, mut reported) = (Vec::new(), Vec::new());
        let mut busy = HashSet::new();
        let mut left = Vec::new();
        for mut opened in open {
            match self.next(&mut opened, &busy) {
                Next::Append(job, fact) => {
                    busy.insert(job);
                    facts.push(*fact);
                    reported.push(left.len());
                    left.push(opened);
                }
                Next::Wait => left.push(opened),
                Next::Finished => {}
                Next::Dead(reason) => {
                    let delivery = opened.delivery;
                    tracing::error!(runner = %delivery.runner, reason, "a report makes no sense and is set aside");
                    delivery.bury(&reason).await.context("setting a report aside")?;
                }
            }
        }
        let news = self.try_append(facts).await?;
        let mut told = Vec::new();
        for (place, index) in reported.into_iter().enumerate() {
            if !news.contains(&place) {
                told.extend(left[index].current());
                left[index].done += 1;
            }
        }
        self.keep(&told).await;
        if !news.is_empty() {
            self.take_next_events().await?;
        }
        Ok(left)
    }

    /// Passes over what changes nothing, up to the next fact.
    fn next(&self, opened: &mut Opened<'_>, busy: &HashSet<JobId>) -> Next {
        if let Err(error) = &opened.delivery.reports {
            return Next::Dead(error.to_string());
        }
        while let Some(report) = opened.current() {
            if busy.contains(&report.job) {
                return Next::Wait;
            }
            match self.judge(opened.delivery, report) {
                Verdict::Fact(event) => {
                    let fact = self.job_fact((report.execution, report.job), command_id(report), event);
                    return Next::Append(report.job, Box::new(fact));
                }
                Verdict::Images(images) => {
                    let execution = self.fold.executions.get(&report.execution);
                    let event = execution.map(|one| decide(&one.own.state, Command::PinImages(images)));
                    let Some(Ok(Some(event))) = event else {
                        opened.done += 1;
                        continue;
                    };
                    let fact = self.commanded_fact(report.execution, command_id(report), event);
                    return Next::Append(report.job, Box::new(fact));
                }
                Verdict::Done => opened.done += 1,
                Verdict::Dead(reason) => return Next::Dead(reason),
            }
        }
        Next::Finished
    }

    fn judge(&self, delivery: &ReportDelivery, report: &Report) -> Verdict {
        let job = self.fold.job(report.execution, report.job).map(|tracked| &tracked.state);
        judge(job, &delivery.runner, report, time())
    }
}
