//! Jobs that wait in vain, or too long.
//!
//! Owns what is noted of them: that nobody of their pool takes jobs, with what is missing, and that the time in which a
//! job may wait is over. A pool is given a lease before that is said: a runner that is only started again is no lack.

use std::time::Duration;

use events::execution::{self, Lack, Starved};
use events::id::{CommandId, ExecutionId, JobId};
use events::job::{self, Command, QueueTimedOut};
use tokio::time::Instant;

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
        let pool = &execution.settings.pool;
        let reason = match lack(pool, &self.members(pool, now)) {
            Some(starved) => starved.message,
            None => format!(
                "every slot of pool {pool} was taken, or a limit on how many jobs run at once was reached"
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
        let pools: Vec<String> = self.fold.index.admission.waiting_pools().map(str::to_owned).collect();
        self.unserved.retain(|pool, _| pools.contains(pool));
        let mut facts = Vec::new();
        for pool in pools {
            let Some(starved) = lack(&pool, &self.members(&pool, now)) else {
                self.unserved.remove(&pool);
                continue;
            };
            let since = *self.unserved.entry(pool.clone()).or_insert(now);
            if now < since + LEASE {
                continue;
            }
            for id in self.fold.index.admission.waiting_for(&pool) {
                facts.extend(self.starvation(id, execution::Command::Starve(starved.clone())));
            }
        }
        for id in &self.fold.index.starved {
            let pool = self.fold.index.admission.waits_for(*id);
            if pool.is_none_or(|pool| !self.unserved.contains_key(pool)) {
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
        let living = self.leases.living(now).filter(|(_, beat)| beat.pool == pool);
        let mut members: Vec<Member> = living
            .map(|(id, beat)| Member {
                name: id.to_string(),
                draining: self.is_draining(id, beat),
                trouble: beat.trouble.clone(),
            })
            .collect();
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

/// What a pool with these runners lacks; nothing if one of them takes jobs.
fn lack(pool: &str, members: &[Member]) -> Option<Starved> {
    if members.iter().any(|member| !member.draining && member.trouble.is_none()) {
        return None;
    }
    let troubled: Vec<&Member> = members.iter().filter(|member| !member.draining).collect();
    let (lack, message, hint) = if members.is_empty() {
        let hint = format!("Start one with `patchwave runner --pool {pool}`, or ask for another pool.");
        (Lack::NoRunner, format!("there is no runner in pool {pool}"), hint)
    } else if troubled.is_empty() {
        let names = named(members.iter().map(|member| member.name.clone()));
        let hint = format!("Start another with `patchwave runner --pool {pool}`.");
        (Lack::Draining, format!("every runner in pool {pool} drains: {names}"), hint)
    } else {
        let told = troubled
            .iter()
            .map(|one| format!("{} says \"{}\"", one.name, one.trouble.as_deref().unwrap_or_default()));
        let message = format!("no runner in pool {pool} takes jobs: {}", named(told));
        let hint = "Mend that, or start another runner; `patchwave runner list` shows them.";
        (Lack::Trouble, message, hint.to_owned())
    };
    Some(Starved { pool: pool.to_owned(), lack, message, hint })
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

    fn member(name: &str, draining: bool, trouble: Option<&str>) -> Member {
        Member { name: name.to_owned(), draining, trouble: trouble.map(str::to_owned) }
    }

    #[test]
    fn one_runner_that_takes_jobs_is_enough() {
        let members =
            [member("a", true, None), member("b", false, Some("no disk")), member("c", false, None)];
        assert_eq!(lack("gpu", &members), None);
        assert_eq!(lack("gpu", &members[..2]).unwrap().lack, Lack::Trouble);
    }

    #[test]
    fn what_is_missing_is_said() {
        let starved = lack("gpu", &[]).unwrap();
        assert_eq!(
            (starved.lack, starved.message.as_str()),
            (Lack::NoRunner, "there is no runner in pool gpu")
        );
        assert!(starved.hint.contains("patchwave runner --pool gpu"), "{}", starved.hint);
        let starved = lack("gpu", &[member("a", true, None), member("b", true, Some("no disk"))]).unwrap();
        assert_eq!(
            (starved.lack, starved.message.as_str()),
            (Lack::Draining, "every runner in pool gpu drains: a, b")
        );
        let many: Vec<Member> =
            ["a", "b", "c", "d", "e"].map(|name| member(name, false, Some("no disk"))).into();
        let message = lack("gpu", &many).unwrap().message;
        assert!(message.ends_with("b says \"no disk\", c says \"no disk\" and 2 more"), "{message}");
    }
}
