//! What the collector knows: which attempts run, and which ended without a sealed log.
//!
//! Owns the state. Ended attempts leave it with their seal, so that it is as large as what is under way.

use std::collections::{BTreeMap, HashMap, HashSet};

use events::beat::Running;
use events::envelope::Recorded;
use events::id::JobId;
use events::{Aggregate, Event, job};
use serde::{Deserialize, Serialize};

use crate::ended::Ended;

/// The attempts that matter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fold {
    /// The attempt of each job that is under way.
    open: HashMap<JobId, u32>,
    /// By the sequence of the end: the oldest first.
    unsealed: BTreeMap<u64, Ended>,
    /// Where an attempt's end is in `unsealed`.
    #[serde(skip)]
    places: HashMap<Running, u64>,
    /// Attempts whose log cannot be sealed; a person has to look at them.
    dead: HashSet<Running>,
}

impl Fold {
    /// Makes the index anew, after loading a snapshot.
    pub(crate) fn reindex(&mut self) {
        self.places = self.unsealed.iter().map(|(place, ended)| (ended.attempt.clone(), *place)).collect();
    }

    /// Takes an event in.
    pub(crate) fn apply(&mut self, recorded: &Recorded) {
        let (Aggregate::Job(_, job), Event::Job(event)) = (&recorded.aggregate, &recorded.event) else {
            return;
        };
        match event {
            job::Event::Assigned(assigned) => {
                self.open.insert(*job, assigned.attempt);
            }
            // It never began, so it has no log.
            job::Event::Returned(_) => {
                self.open.remove(job);
            }
            job::Event::LogSealed(sealed) => {
                self.sealed(&Running { job: *job, attempt: sealed.attempt });
            }
            _ => {
                let Some(ended) = Ended::of(recorded) else { return };
                if self.open.get(job) == Some(&ended.attempt.attempt) {
                    self.open.remove(job);
                }
                self.end(ended);
            }
        }
    }

    /// Notes an attempt whose log is to be sealed.
    pub(crate) fn end(&mut self, ended: Ended) {
        self.dead.remove(&ended.attempt);
        self.places.insert(ended.attempt.clone(), ended.sequence);
        self.unsealed.insert(ended.sequence, ended);
    }

    /// Forgets an attempt whose log is sealed.
    pub(crate) fn sealed(&mut self, attempt: &Running) {
        self.dead.remove(attempt);
        if let Some(place) = self.places.remove(attempt) {
            self.unsealed.remove(&place);
        }
    }

    /// Notes that an attempt's log cannot be sealed.
    pub(crate) fn give_up(&mut self, attempt: &Running) {
        self.sealed(attempt);
        self.dead.insert(attempt.clone());
    }

    /// The attempts whose log is to be sealed, the oldest first.
    pub(crate) fn unsealed(&self) -> impl Iterator<Item = &Ended> {
        self.unsealed.values()
    }

    /// Whether a live log is none of the sweep's business: its attempt runs, waits for its seal or was given up.
    pub(crate) fn knows(&self, attempt: &Running) -> bool {
        self.open.get(&attempt.job) == Some(&attempt.attempt)
            || self.places.contains_key(attempt)
            || self.dead.contains(attempt)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use events::envelope::Actor;
    use events::id::{EventId, ExecutionId};
    use events::job::{Assigned, Canceled, LossCause, Lost, Returned};

    use super::*;

    fn recorded(sequence: u64, event: impl Into<job::Event>) -> Recorded {
        let execution = ExecutionId::derived(&["e"]);
        Recorded {
            sequence,
            id: EventId::derived(&[&sequence.to_string()]),
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            actor: Actor::service("scheduler"),
            correlation: execution.to_string(),
            causation: None,
            aggregate: Aggregate::Job(execution, JobId::derived(&["j"])),
            event: Event::Job(event.into()),
        }
    }

    fn attempt(number: u32) -> Running {
        Running { job: JobId::derived(&["j"]), attempt: number }
    }

    #[test]
    fn an_attempt_waits_for_its_seal_from_its_end_on() {
        let runner: events::id::RunnerId = "north".parse().unwrap();
        let mut fold = Fold::default();
        fold.apply(&recorded(10, Assigned { attempt: 1, runner: runner.clone(), secrets: Vec::new() }));
        assert!(fold.knows(&attempt(1)), "it runs");
        assert_eq!(fold.unsealed().count(), 0);
        let (cause, reason) = (LossCause::Runner, String::new());
        fold.apply(&recorded(20, Lost { attempt: 1, runner: runner.clone(), cause, reason, retry_at: None }));
        fold.apply(&recorded(30, Assigned { attempt: 2, runner, secrets: Vec::new() }));
        assert_eq!(fold.unsealed().map(|ended| ended.sequence).collect::<Vec<_>>(), [20]);
        assert!(fold.knows(&attempt(2)), "the next one runs");
        let text = serde_json::to_string(&fold).unwrap();
        let mut read: Fold = serde_json::from_str(&text).unwrap();
        read.reindex();
        assert_eq!(read, fold);
        fold.sealed(&attempt(1));
        assert_eq!(fold.unsealed().count(), 0);
        assert!(!fold.knows(&attempt(1)), "what turns up now is the sweep's");
    }

    #[test]
    fn an_attempt_that_came_back_before_it_began_has_no_log() {
        let runner: events::id::RunnerId = "north".parse().unwrap();
        let mut fold = Fold::default();
        fold.apply(&recorded(10, Assigned { attempt: 1, runner: runner.clone(), secrets: Vec::new() }));
        fold.apply(&recorded(20, Returned { attempt: 1, runner, reason: String::new() }));
        assert_eq!(fold, Fold::default());
    }

    #[test]
    fn a_job_that_is_canceled_before_it_runs_has_no_log() {
        let mut fold = Fold::default();
        fold.apply(&recorded(10, Canceled { attempt: None, log: None }));
        assert_eq!(fold, Fold::default());
    }

    #[test]
    fn what_was_given_up_waits_for_a_person() {
        let mut fold = Fold::default();
        let end = recorded(10, Canceled { attempt: Some(3), log: None });
        fold.apply(&end);
        fold.give_up(&attempt(3));
        assert_eq!(fold.unsealed().count(), 0);
        assert!(fold.knows(&attempt(3)), "the sweep leaves it alone");
        fold.end(Ended::of(&end).unwrap());
        assert_eq!(fold.unsealed().count(), 1, "a retry takes it up again");
    }
}
