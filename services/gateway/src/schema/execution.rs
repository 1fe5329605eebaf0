//! Executions as they are shown.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use events::document::Skipped;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::action::Action;
use super::connection::{Connection, Total};
use super::job::{Job, JobState};
use super::plan::Plan;
use super::scalar::{DateTime, Named, int, states};
use super::{BY_POSITION, by_id, page, page_cost};
use crate::projection::{Bound, Children, Cursor, Identified, List, Listed, Order};

states! {
    /// How far an execution is.
    ExecutionState {
        /// It is being found out where it works.
        Requested = "requested",
        /// Its jobs wait or run.
        Running = "running",
        /// Every job succeeded.
        Succeeded = "succeeded",
        /// Some succeeded, some did not.
        PartiallyFailed = "partially_failed",
        /// None succeeded.
        Failed = "failed",
        /// It was canceled.
        Canceled = "canceled",
    }
}

/// One run of one revision of an action.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Execution {
    pub(super) id: ID,
    action_id: ID,
    action_name: String,
    /// The revision that it runs.
    revision: i32,
    /// Why it was started.
    reason: String,
    /// Who started it.
    actor: String,
    state: ExecutionState,
    /// Whether it is to stop.
    cancel_requested: bool,
    requested_at: DateTime,
    /// When it was known where it works.
    resolved_at: Option<DateTime>,
    completed_at: Option<DateTime>,
    counts: ExecutionCounts,
    /// Why its jobs wait in vain; absent while they do not.
    starved: Option<Starvation>,
    /// How often jobs were to be tried again.
    retries: i32,
    /// Whether its newest plan is of its jobs as they ended last.
    plan_is_current: bool,
    #[graphql(skip)]
    plan_id: Option<String>,
    #[graphql(skip)]
    requested_sequence: i64,
}

/// Nobody runs the jobs that wait: no runner of their pool takes any.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct Starvation {
    since: DateTime,
    /// The pool that the jobs ask for.
    pool: String,
    /// What is missing: `no_runner`, `draining` or `trouble`.
    lack: String,
    /// The same in words.
    message: String,
    /// What to do about it.
    hint: String,
}

impl Starvation {
    fn of(row: &AnyRow) -> sqlx::Result<Option<Self>> {
        let Some(since) = row.try_get::<Option<String>, _>("starved_since")? else { return Ok(None) };
        Ok(Some(Self {
            since: DateTime(since),
            pool: row.try_get("starved_pool")?,
            lack: row.try_get("starved_lack")?,
            message: row.try_get("starved_message")?,
            hint: row.try_get("starved_hint")?,
        }))
    }
}

/// What an execution's jobs need to know of it.
#[derive(Clone, Debug)]
pub(crate) struct OfExecution {
    id: String,
    pub(super) starved: Option<Starvation>,
}

impl FromRow<'_, AnyRow> for OfExecution {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self { id: row.try_get("id")?, starved: Starvation::of(row)? })
    }
}

impl Children for OfExecution {
    const VIEW: &'static str = "executions";
    const PARENT: &'static str = "id";
    const ORDER: &'static str = "id";

    fn parent(&self) -> &str {
        &self.id
    }
}

/// How many of what.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct ExecutionCounts {
    /// Where it works: one job each.
    workspaces: i32,
    /// Repositories that were left out, which is nobody's fault.
    skipped: i32,
    /// Repositories that could not be reached.
    unreachable: i32,
    queued: i32,
    /// Assigned jobs count as well.
    running: i32,
    succeeded: i32,
    failed: i32,
    canceled: i32,
}

impl ExecutionCounts {
    /// How many jobs are in a state, or in any.
    fn of(&self, state: Option<JobState>) -> Total {
        let Self { queued, running, succeeded, failed, canceled, .. } = self;
        match state {
            None => Total::Known(
                [queued, running, succeeded, failed, canceled].into_iter().copied().map(i64::from).sum(),
            ),
            Some(JobState::Queued) => Total::Known((*queued).into()),
            Some(JobState::Succeeded) => Total::Known((*succeeded).into()),
            Some(JobState::Failed) => Total::Known((*failed).into()),
            Some(JobState::Canceled) => Total::Known((*canceled).into()),
            // They are counted together.
            Some(JobState::Assigned | JobState::Running) => Total::Unknown,
        }
    }
}

impl FromRow<'_, AnyRow> for Execution {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let count = |column| row.try_get(column).map(int);
        Ok(Self {
            id: ID(row.try_get("id")?),
            action_id: ID(row.try_get("action_id")?),
            action_name: row.try_get("action_name")?,
            revision: count("revision")?,
            reason: row.try_get("reason")?,
            actor: row.try_get("actor")?,
            state: ExecutionState::of(row)?,
            cancel_requested: row.try_get::<i64, _>("cancel_requested")? != 0,
            requested_at: DateTime(row.try_get("requested_at")?),
            resolved_at: row.try_get::<Option<String>, _>("resolved_at")?.map(DateTime),
            completed_at: row.try_get::<Option<String>, _>("completed_at")?.map(DateTime),
            counts: ExecutionCounts {
                workspaces: count("workspaces")?,
                skipped: count("skipped")?,
                unreachable: count("unreachable")?,
                queued: count("queued")?,
                running: count("running")?,
                succeeded: count("succeeded")?,
                failed: count("failed")?,
                canceled: count("canceled")?,
            },
            starved: Starvation::of(row)?,
            retries: count("retries")?,
            plan_is_current: row.try_get::<i64, _>("plan_is_current")? != 0,
            plan_id: row.try_get("plan_id")?,
            requested_sequence: row.try_get("requested_sequence")?,
        })
    }
}

impl Listed for Execution {
    const VIEW: &'static str = "executions";
    const ORDER: Order = Order { columns: &["requested_sequence"], descending: true };

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Int(self.requested_sequence)])
    }
}

/// The order in which they were requested.
pub(super) const OLDEST_FIRST: Order = Order { columns: &["requested_sequence"], descending: false };

impl Identified for Execution {
    const VIEW: &'static str = "executions";

    fn id(&self) -> &str {
        &self.id
    }
}

#[ComplexObject]
impl Execution {
    /// The action of `actionId`.
    async fn action(&self, ctx: &Context<'_>) -> Result<Option<Action>> {
        by_id(ctx, self.action_id.to_string(), None).await
    }

    /// Its jobs by repository; those in a state alone, if one is given.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn jobs(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(100)")] first: Option<i32>,
        after: Option<String>,
        state: Option<JobState>,
    ) -> Result<Connection<Job>> {
        let list = List::of::<Job>().with("execution_id", self.id.as_str());
        let list = state.into_iter().fold(list, |list, state| list.with("state", state.text()));
        page(ctx, (list, self.counts.of(state)), first, after).await
    }

    /// The repositories that got no job, and why: those that were left out and those that could not be reached.
    #[graphql(complexity = "page_cost(first, child_complexity)")]
    async fn skipped(
        &self,
        ctx: &Context<'_>,
        #[graphql(default_with = "Some(50)")] first: Option<i32>,
        after: Option<String>,
    ) -> Result<Connection<SkippedRepository>> {
        let list = List::of::<SkippedRepository>().with("execution_id", self.id.as_str());
        let total = i64::from(self.counts.skipped) + i64::from(self.counts.unreachable);
        page(ctx, (list, Total::Known(total)), first, after).await
    }

    /// Its newest plan, once there is one.
    async fn plan(&self, ctx: &Context<'_>) -> Result<Option<Plan>> {
        let Some(plan) = &self.plan_id else { return Ok(None) };
        by_id(ctx, plan.clone(), None).await
    }
}

/// A repository that got no job.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct SkippedRepository {
    repository: String,
    reason: String,
    /// The reason in words, with what to do about it.
    message: String,
    #[graphql(skip)]
    position: i64,
}

impl FromRow<'_, AnyRow> for SkippedRepository {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            repository: row.try_get("repository")?,
            reason: row.try_get("reason")?,
            message: row.try_get("message")?,
            position: row.try_get("position")?,
        })
    }
}

impl SkippedRepository {
    /// What a preview would leave out, at this position.
    pub(super) fn previewed(position: i64, Skipped { repository, reason, message }: Skipped) -> Self {
        Self { repository, reason: reason.as_str().to_owned(), message, position }
    }
}

impl Listed for SkippedRepository {
    const VIEW: &'static str = "execution_skips";
    const ORDER: Order = BY_POSITION;

    fn key(&self, _order: Order) -> Cursor {
        Cursor(vec![Bound::Int(self.position)])
    }
}
