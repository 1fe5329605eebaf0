//! Previews as they are shown.
//!
//! Owns the pages of what one found: it is one document, of which an answer holds a part.

use std::sync::Arc;

use async_graphql::{ComplexObject, Context, Enum, ID, InputObject, Result, SimpleObject};
use events::document::Place;
use events::git::Oid;
use events::step_cache::CacheEntry;
use spec::Decision;

use super::apply::{FilesInput, GivenInput, definition};
use super::connection::Connection;
use super::execution::SkippedRepository;
use super::job::Reused;
use super::scalar::{Sequence, int};
use super::{DEFAULT_PAGE, page_cost};
use crate::command::{Answered, Commands, Done};
use crate::fault::Fault;
use crate::projection::places;

/// How many steps one page may decide: a definition may have thousands of them, and a page hundreds of workspaces.
const STEPS_ON_A_PAGE: usize = 50_000;

/// A workspace's steps are looked for at the broker one by one.
const LOOKUP_COST: usize = 100;

/// A definition to look at, and where.
#[derive(InputObject)]
pub(crate) struct PreviewActionInput {
    /// The name of the file; its ending tells the format.
    file_name: String,
    /// Its text.
    source: String,
    /// What a legacy action file needs beside it.
    given: Option<GivenInput>,
    /// The files that its steps mount, once `PUT /files/{sha256}` has taken them.
    files: Option<FilesInput>,
    /// Clone URLs or absolute paths; empty: what the definition's `on` says.
    repositories: Option<Vec<String>>,
    /// Chosen by the client: a request that is repeated with it is carried out once.
    mutation_id: Option<String>,
}

/// What came of it.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct PreviewActionPayload {
    /// The preview's id, which is known before its answer.
    id: ID,
    /// What should be written differently.
    warnings: Vec<String>,
    sequence: Sequence,
}

#[ComplexObject]
impl PreviewActionPayload {
    /// The answer, waited for.
    async fn preview(&self, ctx: &Context<'_>) -> Result<ActionPreview> {
        let id = self.id.parse().map_err(super::malformed)?;
        let answered = ctx.data::<Commands>()?.preview(id).await?;
        let missing = || Fault::ours(anyhow::anyhow!("{id} was asked for and is not in the log"));
        Ok(ActionPreview::new(self.id.clone(), answered.ok_or_else(missing)?))
    }
}

/// Asks for a preview.
pub(super) async fn ask(ctx: &Context<'_>, input: PreviewActionInput) -> Result<PreviewActionPayload> {
    let PreviewActionInput { file_name, source, given, files, repositories, mutation_id } = input;
    let definition = definition(file_name, source, given, files)?;
    let repositories = repositories.unwrap_or_default();
    let commands = ctx.data::<Commands>()?;
    let asked = commands.request_preview(definition, &repositories, mutation_id.as_deref()).await?;
    let Done { id, sequence } = asked.done;
    Ok(PreviewActionPayload { id: ID(id), warnings: asked.warnings, sequence: Sequence(sequence) })
}

/// Where a definition would run, and which of its steps.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct ActionPreview {
    id: ID,
    /// The name that the definition gives its action; there may be no such action.
    action_name: String,
    /// How many steps the definition has.
    steps: i32,
    counts: PreviewCounts,
    #[graphql(skip)]
    answered: Arc<Answered>,
}

/// How many of what.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PreviewCounts {
    /// Repositories in which there would be jobs.
    repositories: i32,
    /// Where there would be jobs: one each.
    workspaces: i32,
    /// What would be left out, which is nobody's fault.
    skipped: i32,
    /// Repositories that could not be reached.
    unreachable: i32,
}

impl ActionPreview {
    /// A preview that has its answer.
    pub(crate) fn new(id: ID, answered: Answered) -> Self {
        let count = |number: u32| int(number.into());
        let counts = PreviewCounts {
            repositories: count(answered.resolved.repositories),
            workspaces: count(answered.resolved.workspaces),
            skipped: count(answered.resolved.skipped),
            unreachable: count(answered.resolved.unreachable),
        };
        let action_name = answered.requested.action_name.clone();
        let steps = int(i64::try_from(answered.definition.steps.len()).unwrap_or(i64::MAX));
        Self { id, action_name, steps, counts, answered: Arc::new(answered) }
    }
}

#[ComplexObject]
impl ActionPreview {
    /// Where there would be jobs, in the order of the request. With very many steps a page is shorter than was asked for.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn workspaces(
        &self,
        _ctx: &Context<'_>,
        #[graphql(default_with = "Some(100)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<PreviewedWorkspace>> {
        let all = &self.answered.found.places;
        let most = STEPS_ON_A_PAGE / self.answered.definition.steps.len().max(1);
        let page = places(first.unwrap_or(DEFAULT_PAGE), after.as_deref(), (all.len(), most.max(1)))?;
        let node = |number: usize| PreviewedWorkspace::new(&self.answered, &all[number]);
        Ok(Connection::of_places(page, all.len(), node))
    }

    /// What would get no job, and why.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn skipped(
        &self,
        _ctx: &Context<'_>,
        #[graphql(default_with = "Some(100)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<SkippedRepository>> {
        let all = &self.answered.found.skipped;
        let page = places(first.unwrap_or(DEFAULT_PAGE), after.as_deref(), (all.len(), all.len()))?;
        let node = |number: usize| {
            let position = i64::try_from(number + 1).unwrap_or(i64::MAX);
            SkippedRepository::previewed(position, all[number].clone())
        };
        Ok(Connection::of_places(page, all.len(), node))
    }
}

/// Where there would be a job.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct PreviewedWorkspace {
    /// The repository's name.
    repository: String,
    /// Where it is cloned from.
    url: String,
    /// The branch that a changeset would target.
    base_ref: String,
    /// The commit that the branch pointed at.
    base_oid: String,
    /// The folder inside the repository; empty at the root.
    path: String,
    #[graphql(skip)]
    oid: Oid,
    #[graphql(skip)]
    answered: Arc<Answered>,
    #[graphql(skip)]
    context: spec::Context,
}

impl PreviewedWorkspace {
    fn new(answered: &Arc<Answered>, place: &Place) -> Self {
        let Place { repository, url, base_ref, base_oid, path } = place;
        Self {
            repository: repository.clone(),
            url: url.clone(),
            base_ref: base_ref.to_string(),
            base_oid: base_oid.to_string(),
            path: path.clone(),
            oid: base_oid.clone(),
            answered: Arc::clone(answered),
            context: spec::Context::of(&answered.definition, repository, base_ref, path),
        }
    }
}

#[ComplexObject]
impl PreviewedWorkspace {
    /// Every step of the definition, and whether it would run there.
    #[graphql(complexity = "10 * child_complexity")]
    async fn steps(&self) -> Vec<PreviewedStep> {
        let step = |(position, step): (usize, &spec::Step)| PreviewedStep {
            number: int(i64::try_from(position + 1).unwrap_or(i64::MAX)),
            decision: match step.runs_statically(&self.context) {
                Decision::Decided(true) => StepDecision::Runs,
                Decision::Decided(false) => StepDecision::Never,
                Decision::Later => StepDecision::Later,
            },
        };
        self.answered.definition.steps.iter().enumerate().map(step).collect()
    }

    /// The steps that need not run, because the step cache has what they come to. What it has, and what the names of images
    /// stand for, may be otherwise once the job runs.
    #[graphql(complexity = "LOOKUP_COST + child_complexity")]
    async fn reused(&self, ctx: &Context<'_>) -> Result<Option<Reused>> {
        let found = ctx.data::<Commands>()?.reuse(&self.answered, &self.context, &self.oid).await?;
        Ok(found.map(|(step, CacheEntry { execution, job, .. })| Reused {
            step: int(i64::try_from(step).unwrap_or(i64::MAX)),
            execution_id: ID(execution.to_string()),
            job_id: ID(job.to_string()),
        }))
    }
}

/// A step in a workspace.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct PreviewedStep {
    /// Its number in the definition, from 1.
    number: i32,
    /// Whether it would run.
    decision: StepDecision,
}

/// What is known of a step before anything runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub(crate) enum StepDecision {
    /// It would run.
    Runs,
    /// Its `if` would be decided once the steps before it have ended.
    Later,
    /// Its `if` says that it never runs there.
    Never,
}
