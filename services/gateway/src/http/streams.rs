//! The routes of the streams.
//!
//! Owns what their paths and parameters mean.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use events::blob::{BlobKind, BlobRef};
use events::id::{ActionId, ExecutionId, InvalidId, JobId, PlanId};
use events::rejection::Code;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Row as _};

use super::Gateway;
use crate::fault::Fault;
use crate::projection::{Bound, Statement};
use crate::schema::{blob, files, malformed, no_revision};
use crate::stream::{self, find, log};

const BYTES: &str = "application/octet-stream";
const LINES: &str = "application/x-ndjson";

/// Which attempt a log or a patch is of.
const ATTEMPT: HeaderName = HeaderName::from_static("patchwave-attempt");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    #[serde(default)]
    after: u64,
}

/// `GET /executions/{id}/events?after=SEQ`
pub(super) async fn events(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Fault> {
    let execution: ExecutionId = read_id(&id)?;
    let EventsQuery { after } = read_query(&uri)?;
    let permit = gateway.streams.take()?;
    let events = stream::events::read(&gateway.broker, execution, after).await?;
    let body = stream::body(events, gateway.stop, permit);
    Ok(([(header::CONTENT_TYPE, LINES)], body).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LogQuery {
    attempt: Option<u32>,
    #[serde(default)]
    from_line: u64,
    #[serde(default)]
    follow: bool,
}

/// `GET /jobs/{id}/log?attempt=N&fromLine=L&follow=true`
pub(super) async fn log(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Fault> {
    let job: JobId = read_id(&id)?;
    let LogQuery { attempt, from_line, follow } = read_query(&uri)?;
    let permit = gateway.streams.take()?;
    let execution = find::execution_of(&gateway.broker, &gateway.projection, job).await?;
    let request = log::Request { execution, job, attempt, from_line, follow };
    let (attempt, bytes) = log::read(&gateway.broker, request).await?;
    let headers = [(header::CONTENT_TYPE, BYTES.to_owned()), (ATTEMPT, attempt.to_string())];
    Ok((headers, stream::body(bytes, gateway.stop, permit)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchQuery {
    attempt: Option<u32>,
}

/// `GET /jobs/{id}/patch?attempt=N`
pub(super) async fn job_patch(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Fault> {
    let job: JobId = read_id(&id)?;
    let PatchQuery { attempt } = read_query(&uri)?;
    find::execution_of(&gateway.broker, &gateway.projection, job).await?;
    let mut row = attempt_row(&gateway, job, attempt).await?;
    if row.as_ref().is_none_or(|row| !row.has_ended()) {
        find::catch_up(&gateway.broker, &gateway.projection).await?;
        row = attempt_row(&gateway, job, attempt).await?;
    }
    let row = row.ok_or_else(|| no_attempt(job, attempt))?;
    let headers = [(ATTEMPT, row.number.to_string())];
    match row.patch {
        Some(blob) => Ok((headers, patch_response(gateway, blob).await?).into_response()),
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

/// `GET /actions/{id}/revisions/{revision}/files`
pub(super) async fn revision_files(
    State(gateway): State<Gateway>,
    Path((id, revision)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let action: ActionId = read_id(&id)?;
    let number: i32 = revision.parse().map_err(|_| {
        Fault::invalid(format!("`{revision}` is no revision"), "Revisions are numbered from 1.")
    })?;
    let statement = || {
        Statement::new("SELECT files_sha256, files_size FROM action_revisions WHERE action_id = ")
            .text(action.to_string())
            .sql(" AND revision = ")
            .bind(Bound::Int(number.into()))
    };
    let row = find::newest::<FilesRow>(&gateway.broker, &gateway.projection, statement).await?;
    let FilesRow(blob) = row.ok_or_else(|| no_revision(&id, number))?;
    let Some(blob) = blob else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let permit = gateway.streams.take()?;
    let lines = gateway.files.list(&blob).await?;
    let body = stream::body(lines, gateway.stop, permit);
    Ok(([(header::CONTENT_TYPE, LINES)], body).into_response())
}

struct FilesRow(Option<BlobRef>);

impl FromRow<'_, AnyRow> for FilesRow {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self(files(row)?))
    }
}

/// `GET /plans/{id}/changesets/{position}/patch`
pub(super) async fn changeset_patch(
    State(gateway): State<Gateway>,
    Path((id, position)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let plan: PlanId = read_id(&id)?;
    let missing = || {
        let hint = "`patchwave plan show` lists a plan's changesets.";
        Fault::new(Code::NotFound, format!("{plan} has no changeset {position}"), hint)
    };
    let place: i64 = position.parse().map_err(|_| missing())?;
    let statement = || {
        Statement::new("SELECT patch_sha256, patch_size FROM changeset_specs WHERE plan_id = ")
            .text(plan.to_string())
            .sql(" AND position = ")
            .bind(Bound::Int(place))
    };
    let row = find::newest::<PatchRow>(&gateway.broker, &gateway.projection, statement).await?;
    let blob = row.and_then(|PatchRow(blob)| blob).ok_or_else(missing)?;
    patch_response(gateway, blob).await
}

async fn patch_response(gateway: Gateway, blob: BlobRef) -> Result<Response, Fault> {
    let permit = gateway.streams.take()?;
    let size = blob.size.to_string();
    let bytes = stream::patch::read(&gateway.broker, blob).await?;
    let body: Body = stream::body(bytes, gateway.stop, permit);
    Ok(([(header::CONTENT_TYPE, BYTES.to_owned()), (header::CONTENT_LENGTH, size)], body).into_response())
}

struct PatchRow(Option<BlobRef>);

impl FromRow<'_, AnyRow> for PatchRow {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self(blob(row, BlobKind::Patch, ["patch_sha256", "patch_size"])?))
    }
}

fn read_id<T: std::str::FromStr<Err = InvalidId>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(malformed)
}

fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Fault> {
    let query = Query::<T>::try_from_uri(uri);
    query
        .map(|Query(query)| query)
        .map_err(|rejection| Fault::invalid(rejection.body_text(), "Check the parameters behind the `?`."))
}
