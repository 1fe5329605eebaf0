//! Making an execution's plan.
//!
//! Owns the order of the steps: the document is stored, the plan's event names it, then older plans of the execution give
//! way. Each step may be repeated, and a step that a crash left out is made up for.

use broker::{AppendError, BlobError, Broker, DecideError};
use chrono::Utc;
use events::blob::{BlobKind, BlobRef};
use events::document::{Plan, Scope};
use events::envelope::{Actor, Origin, Recorded};
use events::id::{CommandId, ExecutionId, JobId, PlanId};
use events::plan::{self, Command, Created};
use events::rejection::Code;
use events::{Aggregate, Event, Rejection};
use futures::StreamExt as _;
use spec::{Definition, Source};

use crate::build::Builder;
use crate::changed_files::{ChangedFiles, Touched};
use crate::divide::{DivideError, divide};
use crate::story::{Completion, End, Job, Story, StoryError};

/// After how many jobs others get their turn.
const TURN: usize = 64;

/// How many patches are read at the same time.
const READ_AT_ONCE: usize = 8;

/// Why there is no plan.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There may be one later.
    Passing(anyhow::Error),
    /// Not without a person's help.
    Dead(String),
    /// There will be no plans any more.
    Fatal(anyhow::Error),
}

/// Makes the plan of an execution's newest completion, if it gets one.
pub(crate) async fn make(broker: &Broker, execution: ExecutionId) -> Result<(), Trouble> {
    let story = Story::read(broker, execution).await.map_err(story_trouble)?;
    let (Some(requested), Some(completion)) = (&story.requested, story.completed) else {
        let reason =
            "the log has no request or no completion of this execution: it was cut or restored in part";
        return Err(Trouble::Dead(reason.to_owned()));
    };
    if !completion.is_wanted {
        return Ok(());
    }
    let parsed = spec::parse(&Source::from(&requested.definition)).map_err(|errors| {
        Trouble::Dead(format!("the pinned definition cannot be read by this build any more: {errors}"))
    })?;
    let plan = content(broker, &story, &parsed.definition).await?;
    let document = broker.put_document(BlobKind::Plan, &plan).await.map_err(blob_trouble)?;
    let writer = Writer { broker, execution, completion };
    writer.create(document, &plan).await?;
    for earlier in &story.earlier {
        writer.supersede(*earlier).await?;
    }
    Ok(())
}

async fn content(broker: &Broker, story: &Story, definition: &Definition) -> Result<Plan, Trouble> {
    let mut builder = Builder::new(definition);
    if let Some(scope) = &story.scope {
        let scope: Scope = broker.get_document(scope).await.map_err(blob_trouble)?;
        builder.add_skipped(scope.skipped);
    }
    let reads: Vec<_> = story.jobs.values().map(|job| files(broker.clone(), patch_of(job))).collect();
    let mut reads = futures::stream::iter(reads).buffered(READ_AT_ONCE);
    for (place, (&id, job)) in story.jobs.iter().enumerate() {
        let touched = reads.next().await.unwrap_or_else(|| Ok(Ok(Touched::default())));
        match touched {
            Ok(Ok(touched)) => add_job(broker, &mut builder, (id, job), &touched).await?,
            Ok(Err(refusal)) => builder.miss(id, job, refusal),
            Err(error @ (BlobError::Missing(_) | BlobError::Corrupt(_))) => {
                builder.miss(id, job, format!("{error}: run the action again"));
            }
            Err(error) => return Err(blob_trouble(error)),
        }
        if place % TURN == TURN - 1 {
            tokio::task::yield_now().await;
        }
    }
    Ok(builder.finish())
}

async fn add_job(
    broker: &Broker,
    builder: &mut Builder<'_>,
    (id, job): (JobId, &Job),
    touched: &Touched,
) -> Result<(), Trouble> {
    let shares = builder.shares((id, job), touched);
    let Some(End::Succeeded { patch: Some(patch), diff_stat, .. }) = &job.end else { return Ok(()) };
    if shares.is_empty() {
        return Ok(());
    }
    match divide(broker, (patch, *diff_stat), touched, &shares).await {
        Ok(patches) => {
            let changesets = shares.into_iter().map(|share| share.changeset);
            builder.add_job(id, job, changesets.zip(patches).collect());
        }
        Err(error @ DivideError::Blob(BlobError::Missing(_) | BlobError::Corrupt(_))) => {
            builder.miss(id, job, format!("{error}: run the action again"));
        }
        Err(error @ (DivideError::Parts | DivideError::Place { .. })) => {
            builder.miss(id, job, error.to_string())
        }
        Err(DivideError::Blob(error)) => return Err(blob_trouble(error)),
    }
    Ok(())
}

fn patch_of(job: &Job) -> Option<BlobRef> {
    match &job.end {
        Some(End::Succeeded { patch, .. }) => patch.clone(),
        _ => None,
    }
}

/// The files that a patch touches, or why nobody may apply it.
async fn files(broker: Broker, patch: Option<BlobRef>) -> Result<Result<Touched, String>, BlobError> {
    let mut files = ChangedFiles::default();
    if let Some(patch) = &patch {
        broker.get_blob_to(patch, &mut files).await?;
    }
    Ok(files.finish())
}

struct Writer<'a> {
    broker: &'a Broker,
    execution: ExecutionId,
    completion: Completion,
}

impl Writer<'_> {
    async fn create(&self, document: BlobRef, plan: &Plan) -> Result<(), Trouble> {
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let created = Created {
            execution: self.execution,
            document,
            changesets: count(plan.changeset_specs.len()),
            missing: count(plan.missing.len()),
            unchanged: count(plan.unchanged.len()),
            imports: Some(count(plan.imports.len())),
        };
        let id = self.completion.plan;
        let command = CommandId::derived(&["create_plan", &id.to_string()]);
        self.decide(id, command, &Command::Create(created)).await.map_err(decide_trouble)
    }

    async fn supersede(&self, earlier: PlanId) -> Result<(), Trouble> {
        let by = self.completion.plan;
        let command = CommandId::derived(&["supersede_plan", &earlier.to_string(), &by.to_string()]);
        match self.decide(earlier, command, &Command::Supersede { by }).await {
            // The later completion came before the earlier one's plan was made: it never will be.
            Err(DecideError::Rejected(Rejection { code: Code::NotFound, .. })) => Ok(()),
            result => result.map_err(decide_trouble),
        }
    }

    async fn decide(&self, id: PlanId, command: CommandId, what: &Command) -> Result<(), DecideError> {
        let origin = Origin {
            command,
            actor: Actor::service("campaign-plan"),
            correlation: self.execution.to_string(),
            causation: Some(self.completion.event),
            trace_parent: None,
        };
        let decide = |history: &[Recorded]| {
            let state = history.iter().fold(plan::Plan::default(), |state, recorded| match &recorded.event {
                Event::Plan(event) => plan::evolve(state, event),
                _ => state,
            });
            Ok(plan::decide(&state, what.clone())?.map(Event::Plan))
        };
        self.broker.decide(&Aggregate::Plan(id), &origin, Utc::now(), decide).await.map(drop)
    }
}

fn story_trouble(error: StoryError) -> Trouble {
    match error {
        StoryError::Follow(error) => Trouble::Fatal(error.into()),
        StoryError::Undecodable { .. } => Trouble::Dead(format!("{:#}", anyhow::Error::new(error))),
    }
}

fn blob_trouble(error: BlobError) -> Trouble {
    match error {
        BlobError::Missing(_) | BlobError::Corrupt(_) | BlobError::Json(_) => {
            Trouble::Dead(format!("{:#}", anyhow::Error::new(error)))
        }
        error => Trouble::Passing(error.into()),
    }
}

fn decide_trouble(error: DecideError) -> Trouble {
    match error {
        DecideError::Rejected(rejection) if rejection.code != Code::Busy => {
            Trouble::Dead(format!("{}. {}", rejection.message, rejection.hint))
        }
        DecideError::Append(error @ AppendError::NoLog) => Trouble::Fatal(error.into()),
        DecideError::Append(error @ AppendError::TooLarge { .. }) => Trouble::Dead(error.to_string()),
        error => Trouble::Passing(error.into()),
    }
}
