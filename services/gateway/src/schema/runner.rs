//! Runners as they are shown.

use async_graphql::{ID, SimpleObject};
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::scalar::{DateTime, int, states};

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
pub(crate) struct Runner {
    /// The name that its operator chose.
    id: ID,
    state: RunnerState,
    /// How many jobs it runs at once.
    slots: i32,
    /// What jobs can ask for, as a JSON object.
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
            labels: row.try_get("labels")?,
            version: row.try_get("version")?,
            since: DateTime(row.try_get("since")?),
            reason: row.try_get("reason")?,
        })
    }
}
