//! From jobs to a plan's content.
//!
//! Owns the rules: which jobs give which changesets, which repositories are missing and why, and that no two changesets
//! of a repository have branches that are in each other's way. Pure; the same jobs always give the same plan. Every job
//! and every skipped repository is in it exactly once.

use std::collections::BTreeMap;

use events::blob::BlobRef;
use events::document::{ChangesetSpec, Import, Missing, Plan, Skipped, Unchanged};
use events::id::JobId;
use events::job::{DiffStat, Failure};
use spec::{BATCH_CHANGE_LINK, Changeset, Context, Definition, Share};

use crate::changed_files::Touched;
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
        let imports = definition.import_changesets.iter().map(|import| Import {
            repository: import.repository.clone(),
            external_id: import.external_id.clone(),
        });
        let plan = Plan { imports: imports.collect(), ..Plan::default() };
        Self { definition, plan, places: BTreeMap::new() }
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

    /// The changesets that a job's changes become; none if the job is in the plan already, with the reason.
    pub(crate) fn shares(&mut self, (id, job): (JobId, &Job), touched: &Touched) -> Vec<Share> {
        let outputs = match &job.end {
            Some(End::Succeeded { patch: Some(patch), outputs, .. }) if patch.size > 0 => outputs,
            Some(End::Succeeded { .. }) => {
                let (repository, reason) = (job.repository.clone(), "the steps changed nothing".to_owned());
                self.plan.unchanged.push(Unchanged { job: Some(id), repository, reason });
                return Vec::new();
            }
            other => {
                self.miss(id, job, why(other.as_ref()));
                return Vec::new();
            }
        };
        let Some(template) = &self.definition.changeset_template else {
            let reason = "the definition has no changesetTemplate: add one and run the action again";
            self.miss(id, job, reason.to_owned());
            return Vec::new();
        };
        let mut context = Context::of(self.definition, &job.repository, &job.base_ref, &job.path);
        context.steps.changes = touched.changes.clone();
        context.batch_change_link = BATCH_CHANGE_LINK.to_owned();
        match serde_json::to_value(outputs).and_then(serde_json::from_value) {
            Ok(outputs) => context.outputs = outputs,
            Err(error) => {
                self.miss(id, job, format!("what its steps handed on cannot be read: {error}"));
                return Vec::new();
            }
        }
        let paths = touched.sections.iter().map(|section| section.path.as_str());
        let shares =
            template.render_shares(&self.definition.transform_changes, (&context, &job.base_ref), paths);
        match shares {
            Ok(shares) if shares.is_empty() => self.miss(id, job, "its patch names no file".to_owned()),
            Ok(shares) => return shares,
            Err(error) => self.miss(id, job, error.to_string()),
        }
        Vec::new()
    }

    /// Adds the changesets of a job, each with its patch.
    pub(crate) fn add_job(&mut self, id: JobId, job: &Job, shares: Vec<(Changeset, (BlobRef, DiffStat))>) {
        self.places.insert(id, job.place());
        let specs = shares.into_iter().map(|(changeset, patch)| changeset_spec((id, job), changeset, patch));
        self.plan.changeset_specs.extend(specs);
    }

    /// Adds a job that gives no changeset.
    pub(crate) fn miss(&mut self, id: JobId, job: &Job, reason: String) {
        self.plan.missing.push(Missing { job: Some(id), repository: job.repository.clone(), reason });
    }

    /// Ends it: drops the changesets that are in each other's way and puts everything in order.
    pub(crate) fn finish(mut self) -> Plan {
        let mut repositories: BTreeMap<String, BTreeMap<String, Vec<ChangesetSpec>>> = BTreeMap::new();
        for changeset in self.plan.changeset_specs.drain(..) {
            let branches = repositories.entry(changeset.repository.clone()).or_default();
            branches.entry(changeset.head_ref.as_str().to_owned()).or_default().push(changeset);
        }
        for branches in repositories.into_values() {
            let nested = nested(&branches);
            for (branch, changesets) in branches {
                let clash = match (nested.get(&branch), changesets.len()) {
                    (None, 1) => None,
                    (None, _) => Some(same(&changesets, &self.places)),
                    (Some(other), _) => Some(beside(&branch, other)),
                };
                match clash {
                    None => self.plan.changeset_specs.extend(changesets),
                    Some(reason) => self.plan.missing.extend(changesets.iter().map(|changeset| Missing {
                        job: Some(changeset.job),
                        repository: changeset.repository.clone(),
                        reason: reason.clone(),
                    })),
                }
            }
        }
        self.plan.missing.sort_by(|a, b| (&a.repository, a.job).cmp(&(&b.repository, b.job)));
        self.plan.unchanged.sort_by(|a, b| (&a.repository, a.job).cmp(&(&b.repository, b.job)));
        self.plan
    }
}

fn changeset_spec(
    (id, job): (JobId, &Job),
    changeset: Changeset,
    (patch, diff_stat): (BlobRef, DiffStat),
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
        fork: changeset.fork,
        publication: changeset.publication,
        patch,
        diff_stat,
    }
}

/// Branches of a repository that git cannot have beside another of them, each with that other.
fn nested<V>(branches: &BTreeMap<String, V>) -> BTreeMap<String, String> {
    let mut nested = BTreeMap::new();
    for branch in branches.keys() {
        let above = branch.match_indices('/').map(|(slash, _)| &branch[..slash]);
        for above in above.filter(|above| branches.contains_key(*above)) {
            nested.insert(branch.clone(), above.to_owned());
            nested.entry(above.to_owned()).or_insert_with(|| branch.clone());
        }
    }
    nested
}

/// Why a changeset is missing whose branch cannot exist beside another's.
fn beside(branch: &str, other: &str) -> String {
    let short = |branch: &str| branch.strip_prefix("refs/heads/").unwrap_or(branch).to_owned();
    format!(
        "git cannot have the branch `{}` beside `{}`, which another changeset of the repository would get: for git, a \
         branch is either a name or a folder of names",
        short(branch),
        short(other)
    )
}

/// Why changesets are missing that would be pushed to the same branch: none of them can be.
fn same(changesets: &[ChangesetSpec], places: &BTreeMap<JobId, String>) -> String {
    let place = |changeset: &ChangesetSpec| {
        let place = places.get(&changeset.job).map_or("", String::as_str);
        format!("{} ({place})", changeset.job)
    };
    let all: Vec<String> = changesets.iter().map(place).collect();
    let branch = changesets.first().map_or("", |changeset| changeset.head_ref.short());
    format!(
        "{} would all be pushed to the branch `{branch}`: make changesetTemplate.branch another one for each, for \
         example with ${{{{ steps.path }}}} or ${{{{ repository.branch }}}}",
        all.join(" and ")
    )
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
