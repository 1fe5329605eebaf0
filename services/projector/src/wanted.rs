//! Which rows a batch changes that are not in memory yet.
//!
//! Owns the list of rows per event; nothing else knows what an event will touch. Invariant: an event that makes a row
//! does not want that row, so that a first event never costs a look for it, unless the row may be there already and is counted.

use std::collections::HashSet;

use events::envelope::Recorded;
use events::id::{ExecutionId, JobId};
use events::{Aggregate, Event, action, execution, job, plan, repository, runner, secret, token, user};

use crate::cache::Cached;
use crate::fold::{Fold, Taken};
use crate::rows::{
    Action, Attempt, Enrollment, Execution, Job, Plan, Repository, Row, Runner, Secret, Step, Token, Total,
    User,
};

/// The rows of one table.
struct Keys<R: Row> {
    /// Made in this batch.
    born: HashSet<R::Key>,
    /// To be read.
    missing: HashSet<R::Key>,
}

impl<R: Row> Default for Keys<R> {
    fn default() -> Self {
        Self { born: HashSet::new(), missing: HashSet::new() }
    }
}

impl<R: Row> Keys<R> {
    fn born(&mut self, key: R::Key) {
        self.born.insert(key);
    }

    fn want(&mut self, key: R::Key, cached: &mut Cached<R>) {
        if !self.born.contains(&key) && !cached.want(&key) {
            self.missing.insert(key);
        }
    }
}

/// The rows to be read for a batch, by table.
#[derive(Default)]
pub(crate) struct Wanted {
    actions: Keys<Action>,
    executions: Keys<Execution>,
    jobs: Keys<Job>,
    attempts: Keys<Attempt>,
    steps: Keys<Step>,
    plans: Keys<Plan>,
    repositories: Keys<Repository>,
    runners: Keys<Runner>,
    enrollments: Keys<Enrollment>,
    secrets: Keys<Secret>,
    users: Keys<User>,
    tokens: Keys<Token>,
    totals: Keys<Total>,
}

macro_rules! missing {
    ($($name:ident: $row:ty),+) => {
        $(pub(crate) fn $name(&self) -> Vec<<$row as Row>::Key> {
            self.$name.missing.iter().cloned().collect()
        })+
    };
}

impl Wanted {
    missing! {
        actions: Action, executions: Execution, jobs: Job, attempts: Attempt, steps: Step, plans: Plan,
        repositories: Repository, runners: Runner, enrollments: Enrollment, secrets: Secret, users: User, tokens: Token, totals: Total
    }

    /// What a batch wants.
    pub(crate) fn by(events: &[Taken], fold: &mut Fold) -> Self {
        let mut wanted = Self::default();
        for taken in events {
            wanted.event(&taken.recorded, fold);
        }
        wanted
    }

    fn event(&mut self, recorded: &Recorded, fold: &mut Fold) {
        for name in totals(&recorded.event) {
            self.totals.want((name,), &mut fold.totals);
        }
        match (&recorded.aggregate, &recorded.event) {
            (Aggregate::Action(id), Event::Action(action::Event::Created(_))) => self.actions.born((*id,)),
            (Aggregate::Action(id), _) => self.actions.want((*id,), &mut fold.actions),
            (Aggregate::Execution(id), Event::Execution(execution::Event::Requested(requested))) => {
                self.executions.born((*id,));
                self.actions.want((requested.action,), &mut fold.actions);
            }
            (Aggregate::Execution(id), _) => self.executions.want((*id,), &mut fold.executions),
            (Aggregate::Job(execution, id), Event::Job(event)) => self.job(*execution, *id, event, fold),
            (Aggregate::Plan(id), Event::Plan(plan::Event::Created(created))) => {
                self.plans.born((*id,));
                self.executions.want((created.execution,), &mut fold.executions);
            }
            (Aggregate::Plan(id), _) => self.plans.want((*id,), &mut fold.plans),
            // It may be known by a new name, and is counted once.
            (
                Aggregate::Repository(id),
                Event::Repository(repository::Event::Registered(_) | repository::Event::Removed(_)),
            ) => self.repositories.want((*id,), &mut fold.repositories),
            // Whichever of its rows comes first is counted.
            (Aggregate::Runner(id) | Aggregate::Enrollment(id), _) => {
                self.runners.want((id.clone(),), &mut fold.runners);
                self.enrollments.want((id.clone(),), &mut fold.enrollments);
            }
            (Aggregate::Secret(id), Event::Secret(secret::Event::Set(set))) if set.version == 1 => {
                self.secrets.born((*id,));
            }
            (Aggregate::Secret(id), _) => self.secrets.want((*id,), &mut fold.secrets),
            (Aggregate::User(id), Event::User(user::Event::Created(_))) => self.users.born((*id,)),
            (Aggregate::User(id), _) => self.users.want((*id,), &mut fold.users),
            (Aggregate::Token(id), Event::Token(token::Event::Issued(_))) => self.tokens.born((*id,)),
            (Aggregate::Token(id), _) => self.tokens.want((*id,), &mut fold.tokens),
            // A preview has no rows: whoever asked for it has the answer.
            (
                Aggregate::Job(..)
                | Aggregate::Preview(_)
                | Aggregate::Repository(_)
                | Aggregate::SealingKey(_),
                _,
            ) => {}
        }
    }

    fn job(&mut self, execution: ExecutionId, id: JobId, event: &job::Event, fold: &mut Fold) {
        let attempt = match event {
            job::Event::Queued(_) => {
                self.jobs.born((id,));
                self.executions.want((execution,), &mut fold.executions);
                return;
            }
            job::Event::StepStarted(step) => return self.steps.born((id, step.attempt, step.step)),
            job::Event::StepSkipped(step) => return self.steps.born((id, step.attempt, step.step)),
            job::Event::StepFinished(step) => {
                return self.steps.want((id, step.attempt, step.step), &mut fold.steps);
            }
            job::Event::StepsReused(reused) => {
                return self.attempts.want((id, reused.attempt), &mut fold.attempts);
            }
            job::Event::LogSealed(sealed) => {
                return self.attempts.want((id, sealed.attempt), &mut fold.attempts);
            }
            job::Event::Assigned(assigned) => {
                self.attempts.born((id, assigned.attempt));
                None
            }
            job::Event::Started(event) => Some(event.attempt),
            job::Event::Succeeded(event) => Some(event.attempt),
            job::Event::Failed(event) => Some(event.attempt),
            job::Event::Lost(event) => Some(event.attempt),
            job::Event::Returned(event) => Some(event.attempt),
            job::Event::TimedOut(event) => Some(event.attempt),
            job::Event::Canceled(event) => event.attempt,
            job::Event::CancelRequested(_) | job::Event::Retried(_) | job::Event::QueueTimedOut(_) => None,
        };
        if let Some(attempt) = attempt {
            self.attempts.want((id, attempt), &mut fold.attempts);
        }
        self.jobs.want((id,), &mut fold.jobs);
        self.executions.want((execution,), &mut fold.executions);
    }
}

/// The counts that an event may change.
fn totals(event: &Event) -> Vec<String> {
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    match event {
        Event::Action(action::Event::Created(_) | action::Event::Archived(_)) => {
            named(&[Total::ACTIONS, Total::ARCHIVED_ACTIONS])
        }
        Event::Execution(execution::Event::Requested(_)) => {
            named(&[Total::EXECUTIONS, &Total::executions_in("requested")])
        }
        Event::Execution(
            execution::Event::Resolved(_)
            | execution::Event::Completed(_)
            | execution::Event::RetryRequested(_),
        ) => ["requested", "running"]
            .into_iter()
            .chain(execution::Outcome::ALL.iter().map(|outcome| outcome.as_str()))
            .map(Total::executions_in)
            .collect(),
        Event::Repository(repository::Event::Registered(_) | repository::Event::Removed(_)) => {
            named(&[Total::REPOSITORIES])
        }
        Event::Runner(runner::Event::Registered(_)) | Event::Enrollment(_) => named(&[Total::RUNNERS]),
        Event::Secret(_) => named(&[Total::SECRETS]),
        Event::User(user::Event::Created(_) | user::Event::Removed(_)) => named(&[Total::USERS]),
        _ => Vec::new(),
    }
}
