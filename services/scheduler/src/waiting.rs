//! Jobs that wait in vain, or too long.
//!
//! Owns what is noted of them: that nobody of their pool with their labels takes jobs, with what is missing, and that the
//! time in which a job may wait is over. Nobody is said to be missing before a lease is over: a runner that is only started
//! again is no lack.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use events::execution::{self, Lack, Starved};
use events::id::{CommandId, ExecutionId, JobId};
use events::job::{self, Command, QueueTimedOut};
use events::runner::label_words;
use tokio::time::Instant;

use crate::admission::Demand;
use crate::facts::Fact;
use crate::leases::LEASE;
use crate::outside::time;
use crate::service::Service;

/// How many jobs are timed out at once.
const BATCH: usize = 1_000;

/// How many runners are named.
const NAMED: usize = 3;

/// A runner of a pool in which jobs wait.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) labels: BTreeSet<String>,
    pub(crate) draining: bool,
    /// Why it takes fewer jobs than it could.
    pub(crate) trouble: Option<String>,
}

impl Service {
    /// Ends the jobs that have waited as long as they may.
    pub(crate) async fn time_out_queued(&mut self, now: Instant) -> anyhow::Result<()> {
        let clock = time();
        let deadlines = self.fold.index.deadlines.iter();
        let due = deadlines.take_while(|(deadline, ..)| *deadline <= clock).take(BATCH);
        let due: Vec<(ExecutionId, JobId)> = due.map(|(_, execution, job)| (*execution, *job)).collect();
        let facts = due.into_iter().filter_map(|id| self.queue_time_out(id, now)).collect();
        self.append(facts).await
    }

    fn queue_time_out(&self, id: (ExecutionId, JobId), now: Instant) -> Option<Fact> {
        let execution = self.fold.executions.get(&id.0)?;
        let wait = execution.waiting.get(&id.1)?;
        let demand = execution.demand();
        let reason = match lack(&demand, &self.members(&demand.pool, now)) {
            Some(starved) => starved.message,
            None => format!(
                "every slot of pool {} was taken, or a limit on how many jobs run at once was reached",
                demand.pool
            ),
        };
        let limit = self.fold.queue_timeout(execution);
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let command = Command::TimeOutQueued(QueueTimedOut { limit_ms, reason });
        let event = job::decide(&execution.jobs.get(&id.1)?.state, command).ok()??;
        let since = wait.sequence.to_string();
        let command = CommandId::derived(&["queue_time_out", &id.1.to_string(), &since]);
        Some(self.job_fact(id, command, event))
    }

    /// Notes which executions' jobs wait in vain, and which no longer do.
    pub(crate) async fn note_starved(&mut self, now: Instant) -> anyhow::Result<()> {
        let demands: Vec<Demand> = self.fold.index.admission.waiting_demands().collect();
        let waiting: HashSet<&Demand> = demands.iter().collect();
        self.unserved.retain(|demand, _| waiting.contains(demand));
        let (mut facts, mut pools) = (Vec::new(), BTreeMap::new());
        for demand in &demands {
            let members = pools.entry(&demand.pool).or_insert_with(|| self.members(&demand.pool, now));
            let Some(starved) = lack(demand, members) else {
                self.unserved.remove(demand);
                continue;
            };
            let since = *self.unserved.entry(demand.clone()).or_insert(now);
            if now < since + LEASE {
                continue;
            }
            for id in self.fold.index.admission.waiting_for(demand) {
                facts.extend(self.starvation(id, execution::Command::Starve(starved.clone())));
            }
        }
        for id in &self.fold.index.starved {
            let demand = self.fold.index.admission.waits_for(*id);
            if demand.is_none_or(|demand| !self.unserved.contains_key(demand)) {
                facts.extend(self.starvation(*id, execution::Command::EndStarvation));
            }
        }
        self.append(facts).await
    }

    fn starvation(&self, id: ExecutionId, command: execution::Command) -> Option<Fact> {
        let own = &self.fold.executions.get(&id)?.own.state;
        let event = execution::decide(own, command).ok()??;
        Some(self.execution_fact(id, event))
    }

    fn members(&self, pool: &str, now: Instant) -> Vec<Member> {
        let mut members = Vec::new();
        for (id, beat) in self.leases.living(now) {
            let (of, labels) = self.belongs(id, beat);
            if of == pool {
                members.push(Member {
                    name: id.to_string(),
                    labels: label_words(labels),
                    draining: self.is_draining(id, beat),
                    trouble: beat.trouble.clone(),
                });
            }
        }
        members.sort_by(|one, other| one.name.cmp(&other.name));
        members
    }

    /// When a job has waited too long, or a pool has had nobody for long enough to say so.
    pub(crate) fn next_alarm(&self, now: Instant) -> Option<Instant> {
        let index = &self.fold.index;
        let times = index.deadlines.first().into_iter().chain(index.delayed.first());
        let deadline = times.map(|(deadline, ..)| deadline).min().map(|deadline| {
            let left = (*deadline - time()).to_std().unwrap_or(Duration::ZERO);
            // A timer that is set so far ahead would be out of its range.
            now + left.min(Duration::from_secs(24 * 60 * 60))
        });
        let lacks = self.unserved.values().map(|since| *since + LEASE).filter(|alarm| *alarm > now);
        lacks.chain(deadline).min()
    }
}

/// What a pool with these runners lacks for such jobs; nothing if one of them takes them.
fn lack(demand: &Demand, members: &[Member]) -> Option<Starved> {
    let fitting: Vec<&Member> =
        members.iter().filter(|member| demand.labels.is_subset(&member.labels)).collect();
    if fitting.iter().any(|member| !member.draining && member.trouble.is_none()) {
        return None;
    }
    let pool = &*demand.pool;
    // The pool and the labels, as a runner is started with them and as a sentence goes on with them.
    let options: String = [format!("--pool {pool}")]
        .into_iter()
        .chain(demand.labels.iter().map(|label| format!("--label {label}")))
        .collect::<Vec<_>>()
        .join(" ");
    let with = match demand.labels.is_empty() {
        true => String::new(),
        false => format!(" with {}", listed(&demand.labels)),
    };
    let troubled: Vec<&&Member> = fitting.iter().filter(|member| !member.draining).collect();
    let (lack, message, hint) = if members.is_empty() {
        let hint = format!("Start one with `patchwave runner {options}`, or ask for another pool.");
        (Lack::NoRunner, format!("there is no runner in pool {pool}"), hint)
    } else if fitting.is_empty() {
        let hint = format!("Start one with `patchwave runner {options}`, or ask for other labels.");
        (Lack::Labels, format!("no runner in pool {pool} has {}", missing(demand, members)), hint)
    } else if troubled.is_empty() {
        let names = named(fitting.iter().map(|member| member.name.clone()));
        let hint = format!("Start another with `patchwave runner {options}`.");
        (Lack::Draining, format!("every runner in pool {pool}{with} drains: {names}"), hint)
    } else {
        let told = troubled
            .iter()
            .map(|one| format!("{} says \"{}\"", one.name, one.trouble.as_deref().unwrap_or_default()));
        let message = format!("no runner in pool {pool}{with} takes jobs: {}", named(told));
        let hint = "Mend that, or start another runner; `patchwave runner list` shows them.";
        (Lack::Trouble, message, hint.to_owned())
    };
    Some(Starved { pool: pool.to_owned(), lack, message, hint })
}

/// What none of these runners has: the labels that are nowhere, else all of them together.
fn missing(demand: &Demand, members: &[Member]) -> String {
    let nowhere = |label: &&String| !members.iter().any(|member| member.labels.contains(*label));
    let missing: BTreeSet<String> = demand.labels.iter().filter(nowhere).cloned().collect();
    match missing.is_empty() {
        true => format!("{} together", listed(&demand.labels)),
        false => listed(&missing),
    }
}

fn listed(labels: &BTreeSet<String>) -> String {
    labels.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn named(all: impl ExactSizeIterator<Item = String>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let mut names = all.take(NAMED).collect::<Vec<_>>().join(", ");
    if more > 0 {
        names.push_str(&format!(" and {more} more"));
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn set(labels: &[&str]) -> BTreeSet<String> {
        labels.iter().map(|label| (*label).to_owned()).collect()
    }

    fn gpu(labels: &[&str]) -> Demand {
        Demand { pool: "gpu".into(), labels: set(labels).into() }
    }

    fn member(name: &str, draining: bool, trouble: Option<&str>) -> Member {
        let trouble = trouble.map(str::to_owned);
        Member { name: name.to_owned(), labels: BTreeSet::new(), draining, trouble }
    }

    fn labeled(labels: &[&str], member: Member) -> Member {
        Member { labels: set(labels), ..member }
    }

    /// What is missing, and the message.
    fn told(demand: &Demand, members: &[Member]) -> (Lack, String) {
        let starved = lack(demand, members).unwrap();
        (starved.lack, starved.message)
    }

    #[test]
    fn one_runner_that_takes_jobs_is_enough() {
        let members =
            [member("a", true, None), member("b", false, Some("no disk")), member("c", false, None)];
        assert_eq!(lack(&gpu(&[]), &members), None);
        assert_eq!(told(&gpu(&[]), &members[..2]).0, Lack::Trouble);
    }

    #[test]
    fn what_is_missing_is_said() {
        let starved = lack(&gpu(&["big"]), &[]).unwrap();
        assert_eq!(
            (starved.lack, starved.message.as_str()),
            (Lack::NoRunner, "there is no runner in pool gpu")
        );
        assert!(starved.hint.contains("`patchwave runner --pool gpu --label big`"), "{}", starved.hint);
        let all = [member("a", true, None), member("b", true, Some("no disk"))];
        let drains = "every runner in pool gpu drains: a, b".to_owned();
        assert_eq!(told(&gpu(&[]), &all), (Lack::Draining, drains));
        let many: Vec<Member> =
            ["a", "b", "c", "d", "e"].map(|name| member(name, false, Some("no disk"))).into();
        let message = told(&gpu(&[]), &many).1;
        assert!(message.ends_with("b says \"no disk\", c says \"no disk\" and 2 more"), "{message}");
    }

    #[test]
    fn the_labels_that_are_missing_are_named() {
        let members = [
            labeled(&["arm", "big"], member("a", true, None)),
            labeled(&["fast"], member("b", false, None)),
            member("c", false, None),
        ];
        let lack_of = |labels: &[&str], words: &str| {
            let expected = (Lack::Labels, format!("no runner in pool gpu has {words}"));
            assert_eq!(told(&gpu(labels), &members), expected);
        };
        lack_of(&["arm", "new", "strange"], "new, strange");
        lack_of(&["arm", "fast"], "arm, fast together");
        let drains = "every runner in pool gpu with arm, big drains: a".to_owned();
        assert_eq!(told(&gpu(&["arm", "big"]), &members), (Lack::Draining, drains));
        assert_eq!(lack(&gpu(&["fast"]), &members), None);
    }
}
