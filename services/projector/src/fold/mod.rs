//! The fold: what each event does to the rows.
//!
//! Owns the meaning of events in SQL. Never reads or writes the database itself, and never fails: what an event speaks of
//! and nobody knows (its own event is a dead letter, for one) is passed over. Invariant: the rows depend on the events and
//! their order alone, never on where a batch ends.

mod action;
mod execution;
mod job;
mod runner;
mod user;

use std::collections::BTreeSet;

use events::envelope::Recorded;
use events::id::{PlanId, RepositoryId, SecretId};
use events::{Aggregate, Event, document, plan, repository, secret};

use crate::cache::{Cached, Fresh};
use crate::columns::Word;
use crate::rows::{
    Action, ActionRevision, Attempt, ChangesetSpec, Enrollment, Execution, ExecutionSkip, Job, Plan,
    PlanImport, PlanMissing, PlanUnchanged, Repository, RepositoryHead, Runner, Secret, Step, Token, Total,
    User,
};

/// A document that an event names.
#[derive(Clone, Debug)]
pub(crate) enum Document {
    Scope(document::Scope),
    Plan(document::Plan),
}

/// An event with what it takes to make rows of it.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) recorded: Recorded,
    /// Absent where the event names none, and where it cannot be had: the event's own rows are made even so.
    pub(crate) document: Option<Document>,
}

/// The rows that a batch makes and changes.
#[derive(Default)]
pub(crate) struct Fold {
    pub(crate) actions: Cached<Action>,
    pub(crate) revisions: Fresh<ActionRevision>,
    pub(crate) executions: Cached<Execution>,
    pub(crate) skips: Fresh<ExecutionSkip>,
    pub(crate) jobs: Cached<Job>,
    pub(crate) attempts: Cached<Attempt>,
    pub(crate) steps: Cached<Step>,
    pub(crate) plans: Cached<Plan>,
    pub(crate) specs: Fresh<ChangesetSpec>,
    pub(crate) missing: Fresh<PlanMissing>,
    pub(crate) unchanged: Fresh<PlanUnchanged>,
    pub(crate) imports: Fresh<PlanImport>,
    pub(crate) repositories: Cached<Repository>,
    pub(crate) heads: Fresh<RepositoryHead>,
    pub(crate) runners: Cached<Runner>,
    pub(crate) enrollments: Cached<Enrollment>,
    pub(crate) secrets: Cached<Secret>,
    pub(crate) users: Cached<User>,
    pub(crate) tokens: Cached<Token>,
    pub(crate) totals: Cached<Total>,
    /// Repositories whose rows go before the others are written.
    pub(crate) removed: BTreeSet<RepositoryId>,
}

impl Fold {
    /// Takes an event in. The rows that it changes must have been loaded.
    pub(crate) fn apply(&mut self, taken: &Taken) {
        let recorded = &taken.recorded;
        match (&recorded.aggregate, &recorded.event) {
            (Aggregate::Action(id), Event::Action(event)) => self.action(recorded, *id, event),
            (Aggregate::Execution(id), Event::Execution(event)) => self.execution(recorded, *id, event),
            (Aggregate::Job(execution, id), Event::Job(event)) => {
                self.job(recorded, (*execution, *id), event);
            }
            (Aggregate::Plan(id), Event::Plan(event)) => self.plan(recorded, *id, event),
            (Aggregate::Repository(id), Event::Repository(event)) => self.repository(recorded, *id, event),
            (Aggregate::Runner(id), Event::Runner(event)) => self.runner(recorded, id, event),
            (Aggregate::Enrollment(id), Event::Enrollment(event)) => self.enrollment(recorded, id, event),
            (Aggregate::Secret(id), Event::Secret(event)) => self.secret(recorded, *id, event),
            (Aggregate::User(id), Event::User(event)) => self.user(recorded, *id, event),
            (Aggregate::Token(id), Event::Token(event)) => self.token(recorded, *id, event),
            _ => {}
        }
        self.document(taken);
    }

    fn plan(&mut self, recorded: &Recorded, id: PlanId, event: &plan::Event) {
        match event {
            plan::Event::Created(created) => {
                self.plans.put(Plan {
                    id,
                    execution_id: created.execution,
                    state: Word::Borrowed("current"),
                    superseded_by: None,
                    changesets: created.changesets,
                    missing: created.missing,
                    unchanged: created.unchanged,
                    imports: created.imports,
                    created_at: recorded.time,
                    document_sha256: created.document.sha256.to_string(),
                    document_size: created.document.size,
                });
                if let Some(execution) = self.executions.change(&(created.execution,)) {
                    execution.plan_id = Some(id);
                    execution.plan_is_current = execution.completed_at.is_some();
                }
            }
            plan::Event::Superseded(superseded) => {
                if let Some(plan) = self.plans.change(&(id,)) {
                    plan.state = Word::Borrowed("superseded");
                    plan.superseded_by = Some(superseded.by);
                }
            }
        }
    }

    fn repository(&mut self, recorded: &Recorded, id: RepositoryId, event: &repository::Event) {
        match event {
            repository::Event::Registered(registered) => {
                if !self.repositories.has(&(id,)) {
                    self.tally(Total::REPOSITORIES, 1);
                }
                self.repositories.put(Repository {
                    id,
                    name: registered.name.clone(),
                    url: registered.url.clone(),
                    registered_at: recorded.time,
                });
            }
            repository::Event::HeadMoved(moved) => self.heads.put(RepositoryHead {
                repository_id: id,
                branch: moved.branch.to_string(),
                oid: moved.oid.to_string(),
                moved_at: recorded.time,
            }),
            repository::Event::Removed(repository::Removed {}) => {
                if self.repositories.forget(&(id,)) {
                    self.tally(Total::REPOSITORIES, -1);
                }
                self.heads.retain(|row| row.repository_id != id);
                self.removed.insert(id);
            }
        }
    }

    fn secret(&mut self, recorded: &Recorded, id: SecretId, event: &secret::Event) {
        match event {
            secret::Event::Set(set) => {
                // One that was deleted may be set again.
                if self.secrets.change(&(id,)).is_none_or(|row| row.deleted) {
                    self.tally(Total::SECRETS, 1);
                }
                self.secrets.put(Secret {
                    id,
                    name: set.name.to_string(),
                    scope: match set.scope {
                        secret::Scope::Global => String::new(),
                        secret::Scope::Action { action } => action.to_string(),
                    },
                    version: set.version,
                    deleted: false,
                    actor: recorded.actor.to_string(),
                    set_at: recorded.time,
                });
            }
            secret::Event::Deleted(secret::Deleted {}) => {
                let Some(row) = self.secrets.change(&(id,)) else { return };
                row.deleted = true;
                self.tally(Total::SECRETS, -1);
            }
        }
    }

    /// Counts how long a list has become. Its total must have been loaded.
    fn tally(&mut self, name: &str, by: i64) {
        match self.totals.change(&(name.to_owned(),)) {
            Some(total) => total.count += by,
            None => self.totals.put(Total { name: name.to_owned(), count: by }),
        }
    }

    /// Makes the rows of a document. They depend on nothing but the document, so that they can come later than the rest.
    pub(crate) fn document(&mut self, taken: &Taken) {
        match (&taken.recorded.aggregate, &taken.document) {
            (Aggregate::Execution(id), Some(Document::Scope(scope))) => {
                for (position, skipped) in (1..).zip(&scope.skipped) {
                    self.skips.put(ExecutionSkip {
                        execution_id: *id,
                        position,
                        repository: skipped.repository.clone(),
                        reason: Word::Borrowed(skipped.reason.as_str()),
                        message: skipped.message.clone(),
                    });
                }
            }
            (Aggregate::Plan(id), Some(Document::Plan(plan))) => self.plan_content(*id, plan),
            _ => {}
        }
    }

    fn plan_content(&mut self, plan_id: PlanId, plan: &document::Plan) {
        for (position, spec) in (1..).zip(&plan.changeset_specs) {
            self.specs.put(changeset_spec(plan_id, position, spec));
        }
        for (position, missing) in (1..).zip(&plan.missing) {
            let (repository, reason) = (missing.repository.clone(), missing.reason.clone());
            self.missing.put(PlanMissing { plan_id, position, job_id: missing.job, repository, reason });
        }
        for (position, unchanged) in (1..).zip(&plan.unchanged) {
            let (repository, reason) = (unchanged.repository.clone(), unchanged.reason.clone());
            self.unchanged.put(PlanUnchanged {
                plan_id,
                position,
                job_id: unchanged.job,
                repository,
                reason,
            });
        }
        for (position, import) in (1..).zip(&plan.imports) {
            let (repository, external_id) = (import.repository.clone(), import.external_id.clone());
            self.imports.put(PlanImport { plan_id, position, repository, external_id });
        }
    }

    /// Everything is written.
    pub(crate) fn settle(&mut self) {
        self.actions.settle();
        self.revisions.settle();
        self.executions.settle();
        self.skips.settle();
        self.jobs.settle();
        self.attempts.settle();
        self.steps.settle();
        self.plans.settle();
        self.specs.settle();
        self.missing.settle();
        self.unchanged.settle();
        self.imports.settle();
        self.repositories.settle();
        self.heads.settle();
        self.runners.settle();
        self.enrollments.settle();
        self.secrets.settle();
        self.users.settle();
        self.tokens.settle();
        self.totals.settle();
        self.removed.clear();
    }
}

fn changeset_spec(plan_id: PlanId, position: u64, spec: &document::ChangesetSpec) -> ChangesetSpec {
    ChangesetSpec {
        plan_id,
        position,
        job_id: spec.job,
        repository: spec.repository.clone(),
        url: spec.url.clone(),
        base_ref: spec.base_ref.to_string(),
        base_oid: spec.base_oid.to_string(),
        head_ref: spec.head_ref.to_string(),
        title: spec.title.clone(),
        body: spec.body.clone(),
        message: spec.message.clone(),
        author: spec.author.clone(),
        fork: spec.fork,
        publication: spec.publication.as_str().into(),
        patch_sha256: spec.patch.sha256.to_string(),
        patch_size: spec.patch.size,
        files: spec.diff_stat.files,
        insertions: spec.diff_stat.insertions,
        deletions: spec.diff_stat.deletions,
    }
}

/// Small maps of texts; there is nothing in them that JSON could not say.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
