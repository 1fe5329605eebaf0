//! What a stream is of, as the projection knows it.
//!
//! Owns the second look: what is not there may be on its way, since whoever reads events knows of it before the projection
//! does.

use ::events::id::{ExecutionId, JobId};
use ::events::rejection::Code;
use broker::Broker;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use crate::fault::Fault;
use crate::projection::{Projection, Statement};

/// The execution of a job.
///
/// # Errors
/// A rejection [`Code::NotFound`] when there is no such job.
pub(crate) async fn execution_of(
    broker: &Broker,
    projection: &Projection,
    job: JobId,
) -> Result<ExecutionId, Fault> {
    let statement = || Statement::new("SELECT execution_id FROM jobs WHERE id = ").text(job.to_string());
    let row = newest::<JobRow>(broker, projection, statement).await?;
    row.map(|JobRow(execution)| execution).ok_or_else(|| {
        let hint = "`patchwave execution show` lists an execution's jobs.";
        Fault::new(Code::NotFound, format!("there is no job {job}"), hint)
    })
}

struct JobRow(ExecutionId);

impl FromRow<'_, AnyRow> for JobRow {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let id: String = row.try_get("execution_id")?;
        id.parse().map(Self).map_err(|error| sqlx::Error::Decode(Box::new(error)))
    }
}

/// A row, looked for again once the projection is where the log is now.
pub(crate) async fn newest<T>(
    broker: &Broker,
    projection: &Projection,
    statement: impl Fn() -> Statement,
) -> Result<Option<T>, Fault>
where
    T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
{
    if let Some(row) = projection.select(statement()).await?.pop() {
        return Ok(Some(row));
    }
    catch_up(broker, projection).await?;
    Ok(projection.select(statement()).await?.pop())
}

/// Waits until the projection is where the log is now.
pub(crate) async fn catch_up(broker: &Broker, projection: &Projection) -> Result<(), Fault> {
    let last = broker.last_sequence().await?;
    projection.reach(last).await
}
