//! Runners as they are shown.

use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use events::beat::RunnerBeat;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::scalar::{DateTime, Named, int, states};
use crate::fleet::Fleet;

states! {
    /// Whether a runner takes jobs.
    RunnerState {
        Registered = "registered",
        /// It ends what it has and takes no more.
        Draining = "draining",
        Gone = "gone",
    }
}

/// Who runs jobs.
#[derive(Clone, Debug, SimpleObject)]
#[graphql(complex)]
pub(crate) struct Runner {
    /// The name that its operator chose.
    id: ID,
    state: RunnerState,
    /// How many jobs it runs at once.
    slots: i32,
    /// The pool that it belongs to: it gets the jobs that ask for this one.
    pool: String,
    /// What its operator says of it, as a JSON object.
    labels: String,
    version: String,
    /// When it came to be in this state.
    since: DateTime,
    reason: Option<String>,
}

impl FromRow<'_, AnyRow> for Runner {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: ID(row.try_get("id")?),
            state: RunnerState::of(row)?,
            slots: int(row.try_get("slots")?),
            pool: row.try_get("pool")?,
            labels: row.try_get("labels")?,
            version: row.try_get("version")?,
            since: DateTime(row.try_get("since")?),
            reason: row.try_get("reason")?,
        })
    }
}

/// What a runner says of itself right now.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct RunnerNow {
    /// How many jobs it would run at once now: fewer while memory or disk is short, none while it cannot run any.
    slots: i32,
    /// The attempts in its hands.
    running: Vec<RunningAttempt>,
    /// Why it takes fewer jobs than it could, or none.
    trouble: Option<String>,
}

/// An attempt in the hands of a runner.
#[derive(Clone, Debug, SimpleObject)]
pub(crate) struct RunningAttempt {
    job_id: ID,
    attempt: i32,
}

#[ComplexObject]
impl Runner {
    /// What it says of itself; absent while it is silent.
    #[graphql(complexity = "10 * child_complexity")]
    async fn now(&self, ctx: &Context<'_>) -> Result<Option<RunnerNow>> {
        Ok(ctx.data::<Fleet>()?.beat(&self.id).map(RunnerNow::from))
    }
}

impl From<RunnerBeat> for RunnerNow {
    fn from(beat: RunnerBeat) -> Self {
        let mut running: Vec<RunningAttempt> = beat
            .running
            .iter()
            .map(|one| RunningAttempt { job_id: ID(one.job.to_string()), attempt: int(one.attempt.into()) })
            .collect();
        running.sort_by(|one, other| one.job_id.as_str().cmp(other.job_id.as_str()));
        Self { slots: int(beat.slots.into()), running, trouble: beat.trouble }
    }
}
