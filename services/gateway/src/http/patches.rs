//! The routes of patches: of a job, of a changeset, and of a whole plan.
//!
//! Owns what their paths and parameters mean.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use events::blob::{BlobKind, BlobRef};
use events::id::{JobId, PlanId};
use events::rejection::Code;
use serde::Deserialize;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::Gateway;
use super::download::{DIFF, Disposition, Download, TAR_GZIP, file};
use super::streams::{ATTEMPT, read_id, read_query};
use crate::fault::Fault;
use crate::patch_names::patch_names;
use crate::projection::{Bound, Statement};
use crate::schema::blob;
use crate::stream::{self, find};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchQuery {
    attempt: Option<u32>,
}

/// `GET /jobs/{id}/patch?attempt=N`
pub(super) async fn of_job(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    request: Parts,
) -> Result<Response, Fault> {
    let job: JobId = read_id(&id)?;
    let PatchQuery { attempt } = read_query(&request.uri)?;
    find::execution_of(&gateway.broker, &gateway.projection, job).await?;
    let mut row = attempt_row(&gateway, job, attempt).await?;
    if row.as_ref().is_none_or(|row| !row.has_ended()) {
        find::catch_up(&gateway.broker, &gateway.projection).await?;
        row = attempt_row(&gateway, job, attempt).await?;
    }
    let row = row.ok_or_else(|| no_attempt(job, attempt))?;
    let headers = [(ATTEMPT, row.number.to_string())];
    match row.patch {
        Some(blob) => {
            let name = format!("{job}-{}.patch", row.number);
            Ok((headers, patch_response(&gateway, name, blob, &request).await?).into_response())
        }
        None if row.state == "succeeded" => Ok((headers, StatusCode::NO_CONTENT).into_response()),
        None => Err(row.without_patch(job)),
    }
}

/// What the projection knows of an attempt's patch.
struct AttemptRow {
    number: i64,
    state: String,
    patch: Option<BlobRef>,
}

impl FromRow<'_, AnyRow> for AttemptRow {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let PatchRow(patch) = PatchRow::from_row(row)?;
        Ok(Self { number: row.try_get("number")?, state: row.try_get("state")?, patch })
    }
}

impl AttemptRow {
    fn has_ended(&self) -> bool {
        !matches!(self.state.as_str(), "assigned" | "running")
    }

    fn without_patch(&self, job: JobId) -> Fault {
        let (number, state) = (self.number, self.state.replace('_', " "));
        let (why, hint) = if self.has_ended() {
            ("has", "Only an attempt that succeeded has one: `patchwave job show` lists how each ended.")
        } else {
            ("has not ended yet and has", "Wait for its end, or name an earlier one.")
        };
        let message = format!("attempt {number} of {job} {why} no patch: it is {state}");
        Fault::new(Code::NotFound, message, hint)
    }
}

fn no_attempt(job: JobId, attempt: Option<u32>) -> Fault {
    let (message, hint) = match attempt {
        None => {
            ("has not been given to a runner yet".to_owned(), "Its patch is there once it has succeeded.")
        }
        Some(number) => (format!("has no attempt {number}"), "`patchwave job show` lists its attempts."),
    };
    Fault::new(Code::NotFound, format!("{job} {message}"), hint)
}

/// An attempt; without a number: the newest.
async fn attempt_row(
    gateway: &Gateway,
    job: JobId,
    attempt: Option<u32>,
) -> Result<Option<AttemptRow>, Fault> {
    let select = "SELECT number, state, patch_sha256, patch_size FROM attempts WHERE job_id = ";
    let of_job = Statement::new(select).text(job.to_string());
    let statement = match attempt {
        Some(number) => of_job.sql(" AND number = ").bind(Bound::Int(number.into())),
        None => of_job.sql(" ORDER BY number DESC LIMIT 1"),
    };
    Ok(gateway.projection.select(statement).await?.pop())
}

/// `GET /plans/{id}/changesets/{position}/patch`
pub(super) async fn of_changeset(
    State(gateway): State<Gateway>,
    Path((id, position)): Path<(String, String)>,
    request: Parts,
) -> Result<Response, Fault> {
    let plan: PlanId = read_id(&id)?;
    let missing = || {
        let hint = "`patchwave plan show` lists a plan's changesets.";
        Fault::new(Code::NotFound, format!("{plan} has no changeset {position}"), hint)
    };
    let place: i64 = position.parse().map_err(|_| missing())?;
    let statement = || changesets_of(plan).sql(" AND position = ").bind(Bound::Int(place));
    let row = find::newest::<ChangesetRow>(&gateway.broker, &gateway.projection, statement)
        .await?
        .ok_or_else(missing)?;
    let name = patch_names([row.names()]).pop().unwrap_or_default();
    patch_response(&gateway, name, row.patch, &request).await
}

async fn patch_response(
    gateway: &Gateway,
    name: String,
    blob: BlobRef,
    request: &Parts,
) -> Result<Response, Fault> {
    let version = (blob.sha256.clone(), blob.size);
    let disposition = Disposition::Attachment;
    let download = Download { content_type: DIFF, name, disposition, version, in_parts: false };
    let wanted = match download.wanted(request) {
        Ok(wanted) => wanted,
        Err(answer) => return Ok(*answer),
    };
    let permit = gateway.streams.take()?;
    let bytes = stream::blob::read(&gateway.broker, blob).await?;
    Ok(download.response(&wanted, stream::body(bytes, gateway.stop.clone(), permit)))
}

/// `GET /plans/{id}/archive`
pub(super) async fn archive(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let plan: PlanId = read_id(&id)?;
    let known = || Statement::new("SELECT id FROM plans WHERE id = ").text(plan.to_string());
    let known: Option<(String,)> = find::newest(&gateway.broker, &gateway.projection, known).await?;
    known.ok_or_else(|| {
        let hint = "`patchwave execution show` lists an execution's plans.";
        Fault::new(Code::NotFound, format!("there is no plan {plan}"), hint)
    })?;
    let permit = gateway.streams.take()?;
    let changesets = changesets_of(plan).sql(" ORDER BY position");
    let rows: Vec<ChangesetRow> = gateway.projection.select(changesets).await?;
    let names = patch_names(rows.iter().map(ChangesetRow::names));
    let files = names.into_iter().zip(rows.into_iter().map(|row| row.patch)).collect();
    let bytes = stream::archive::read(gateway.broker, plan.to_string(), files);
    let headers = file(TAR_GZIP, Disposition::Attachment, &format!("{plan}.tar.gz"));
    Ok((headers, stream::body(bytes, gateway.stop, permit)).into_response())
}

fn changesets_of(plan: PlanId) -> Statement {
    Statement::new(
        "SELECT repository, head_ref, patch_sha256, patch_size FROM changeset_specs WHERE plan_id = ",
    )
    .text(plan.to_string())
}

/// What the projection knows of a changeset's patch.
struct ChangesetRow {
    repository: String,
    head_ref: String,
    patch: BlobRef,
}

impl ChangesetRow {
    /// The repository and the branch, which name the patch's file.
    fn names(&self) -> (&str, &str) {
        (&self.repository, self.head_ref.strip_prefix("refs/heads/").unwrap_or(&self.head_ref))
    }
}

impl FromRow<'_, AnyRow> for ChangesetRow {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        let PatchRow(patch) = PatchRow::from_row(row)?;
        let patch = patch.ok_or(sqlx::Error::RowNotFound)?;
        Ok(Self { repository: row.try_get("repository")?, head_ref: row.try_get("head_ref")?, patch })
    }
}

struct PatchRow(Option<BlobRef>);

impl FromRow<'_, AnyRow> for PatchRow {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self(blob(row, BlobKind::Patch, ["patch_sha256", "patch_size"])?))
    }
}
