//! From jobs to a plan's content.
//!
//! Owns the rules: which jobs give a changeset, which repositories are missing and why, and that no two changesets share
//! a repository and a branch. Pure; the same jobs always give the same plan. Every job and every skipped repository is in
//! it exactly once.

use std::collections::BTreeMap;

use events::blob::BlobRef;
use events::document::{ChangesetSpec, Missing, Plan, Skipped, Unchanged};
use events::id::JobId;
use events::job::{DiffStat, Failure};
use spec::{BatchChange, Changeset, Context, Definition, FileChanges, Repository, Steps};

use crate::story::{End, Job};

/// A plan's content in the making.
pub(crate) struct Builder<'a> {
    definition: &'a Definition,
    plan: Plan,
    /// The place in its repository of each changeset's job, for those that turn out to be in each other's way.
    places: BTreeMap<JobId, String>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(definition: &'a Definition) -> Self {
        Self { definition, plan: Plan::default(), places: BTreeMap::new() }
    }

    /// Adds what the scope left out.
    pub(crate) fn add_skipped(&mut self, skipped: Vec<Skipped>) {
        for Skipped { repository, reason, message } in skipped {
            if reason.is_failure() {
                self.plan.missing.push(Missing { job: None, repository, reason: message });
            } else {
                self.plan.unchanged.push(Unchanged { job: None, repository, reason: message });
            }
        }
    }

    /// Adds a job. `files` is what its patch touches.
    pub(crate) fn add_job(&mut self, id: JobId, job: &Job, files: FileChanges) {
        let (patch, diff_stat) = match &job.end {
            Some(End::Succeeded { patch: Some(patch), diff_stat }) if patch.size > 0 => (patch, *diff_stat),
            Some(End::Succeeded { .. }) => {
                let reason = "the steps changed nothing".to_owned();
                let repository = job.repository.clone();
                return self.plan.unchanged.push(Unchanged { job: Some(id), repository, reason });
            }
            other => return self.miss(id, job, why(other.as_ref())),
        };
        let Some(template) = &self.definition.changeset_template else {
            let reason = "the definition has no changesetTemplate: add one and run the action again";
            return self.miss(id, job, reason.to_owned());
        };
        match template.render(&self.context(job, files), &job.base_ref) {
            Ok(changeset) => {
                self.places.insert(id, job.place());
                self.plan.changeset_specs.push(changeset_spec((id, job), changeset, (patch, diff_stat)));
            }
            Err(error) => self.miss(id, job, error.to_string()),
        }
    }

    /// Adds a job that gives no changeset.
    pub(crate) fn miss(&mut self, id: JobId, job: &Job, reason: String) {
        self.plan.missing.push(Missing { job: Some(id), repository: job.repository.clone(), reason });
    }

    /// Ends it: drops the changesets that are in each other's way and puts everything in order.
    pub(crate) fn finish(mut self) -> Plan {
        let mut branches: BTreeMap<(String, String), Vec<ChangesetSpec>> = BTreeMap::new();
        for changeset in self.plan.changeset_specs.drain(..) {
            let key = (changeset.repository.clone(), changeset.head_ref.as_str().to_owned());
            branches.entry(key).or_default().push(changeset);
        }
        for (_, changesets) in branches {
            match <[ChangesetSpec; 1]>::try_from(changesets) {
                Ok([changeset]) => self.plan.changeset_specs.push(changeset),
                Err(changesets) => self.plan.missing.extend(clash(&changesets, &self.places)),
            }
        }
        self.plan.missing.sort_by(|a, b| (&a.repository, a.job).cmp(&(&b.repository, b.job)));
        self.plan.unchanged.sort_by(|a, b| (&a.repository, a.job).cmp(&(&b.repository, b.job)));
        self.plan
    }

    fn context(&self, job: &Job, changes: FileChanges) -> Context {
        Context {
            repository: Repository {
                name: job.repository.clone(),
                branch: job.base_ref.short().to_owned(),
                ..Repository::default()
            },
            batch_change: BatchChange {
                name: self.definition.name.clone(),
                description: self.definition.description.clone(),
            },
            steps: Steps { changes, path: job.path.clone() },
            ..Context::default()
        }
    }
}

fn changeset_spec(
    (id, job): (JobId, &Job),
    changeset: Changeset,
    (patch, diff_stat): (&BlobRef, DiffStat),
) -> ChangesetSpec {
    ChangesetSpec {
        job: id,
        repository: job.repository.clone(),
        url: job.url.clone(),
        base_ref: job.base_ref.clone(),
        base_oid: job.base_oid.clone(),
        head_ref: changeset.branch,
        title: changeset.title,
        body: changeset.body,
        message: changeset.message,
        author: changeset.author.map(|author| format!("{} <{}>", author.name, author.email)),
        patch: patch.clone(),
        diff_stat,
    }
}

/// Changesets that would be pushed to the same branch: none of them can be.
fn clash(changesets: &[ChangesetSpec], places: &BTreeMap<JobId, String>) -> Vec<Missing> {
    let place = |changeset: &ChangesetSpec| {
        let place = places.get(&changeset.job).map_or("", String::as_str);
        format!("{} ({place})", changeset.job)
    };
    let all: Vec<String> = changesets.iter().map(place).collect();
    let branch = changesets.first().map_or("", |changeset| changeset.head_ref.short());
    let reason = format!(
        "{} would all be pushed to the branch `{branch}`: make changesetTemplate.branch another one for each, for \
         example with ${{{{ steps.path }}}} or ${{{{ repository.branch }}}}",
        all.join(" and ")
    );
    let miss = |changeset: &ChangesetSpec| Missing {
        job: Some(changeset.job),
        repository: changeset.repository.clone(),
        reason: reason.clone(),
    };
    changesets.iter().map(miss).collect()
}

/// Why a job that did not succeed gives no changeset.
fn why(end: Option<&End>) -> String {
    match end {
        Some(End::Failed(Failure { message, .. })) => message.clone(),
        Some(End::TimedOut(end)) => end.message(),
        Some(End::QueueTimedOut(end)) => end.message(),
        Some(End::Canceled) => "it was canceled".to_owned(),
        Some(End::Succeeded { .. }) | None => "it has not ended".to_owned(),
    }
}
