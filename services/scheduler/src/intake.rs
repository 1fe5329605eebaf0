//! The intake of reports: in order for each job, at once over jobs.
//!
//! Owns the acknowledgement: a report is acknowledged once its fact is in the log, or once it is certain that there is
//! none.

use std::collections::HashSet;

use anyhow::Context as _;

use crate::facts::Fact;
use crate::outside::{ReportDelivery, time};
use crate::reports::{Verdict, command_id, judge};
use crate::service::Service;

impl Service {
    /// Turns reports into facts.
    pub(crate) async fn take_reports(&mut self, deliveries: Vec<ReportDelivery>) -> anyhow::Result<()> {
        let mut waiting = deliveries;
        while !waiting.is_empty() {
            let mut busy = HashSet::new();
            let (round, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|delivery| match &delivery.report {
                    Ok(report) => busy.insert(report.job),
                    Err(_) => true,
                });
            // What met news goes first in the next round: the order of a job's reports is kept.
            waiting = self.take_round(round).await?;
            if !waiting.is_empty() {
                self.take_next_events().await?;
            }
            waiting.extend(later);
        }
        Ok(())
    }

    /// Takes at most one report of each job; returns those that met news.
    async fn take_round(&mut self, round: Vec<ReportDelivery>) -> anyhow::Result<Vec<ReportDelivery>> {
        let (mut facts, mut reported) = (Vec::new(), Vec::new());
        for delivery in round {
            match self.judge(&delivery) {
                Judged::Fact(fact) => {
                    facts.push(*fact);
                    reported.push(delivery);
                }
                Judged::Done => delivery.ack().await.context("acknowledging a report")?,
                Judged::Dead(reason) => {
                    tracing::error!(runner = %delivery.runner, reason, "a report makes no sense and is set aside");
                    delivery.bury(&reason).await.context("setting a report aside")?;
                }
            }
        }
        let news = self.try_append(facts).await?;
        let mut again = Vec::new();
        for (place, delivery) in reported.into_iter().enumerate() {
            if news.contains(&place) {
                again.push(delivery);
            } else {
                delivery.ack().await.context("acknowledging a report")?;
            }
        }
        Ok(again)
    }

    fn judge(&self, delivery: &ReportDelivery) -> Judged {
        let report = match &delivery.report {
            Ok(report) => report,
            Err(error) => return Judged::Dead(error.to_string()),
        };
        let job = self.fold.job(report.execution, report.job).map(|tracked| &tracked.state);
        match judge(job, &delivery.runner, report, time()) {
            Verdict::Fact(event) => {
                let fact = self.job_fact((report.execution, report.job), command_id(report), event);
                Judged::Fact(Box::new(fact))
            }
            Verdict::Done => Judged::Done,
            Verdict::Dead(reason) => Judged::Dead(reason),
        }
    }
}

enum Judged {
    Fact(Box<Fact>),
    Done,
    Dead(String),
}
