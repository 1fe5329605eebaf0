//! The files that an action's steps mount: `GET /files`, how much may be sent; `PUT /files/{sha256}`; and what a revision has.
//!
//! Owns what such requests look like. Its body is read as it comes and never held whole.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use events::blob::{BlobRef, Sha256};
use events::id::ActionId;
use serde_json::{Value, json};
use sqlx::FromRow;
use sqlx::any::AnyRow;

use super::Gateway;
use super::download::{Disposition, Download, TAR_ZSTD};
use super::streams::{LINES, read_id};
use crate::fault::Fault;
use crate::projection::{Bound, Statement};
use crate::schema::{files, no_revision};
use crate::stream::{self, find};

/// How much may be sent.
pub(super) async fn limits(State(gateway): State<Gateway>) -> Json<Value> {
    let limits = gateway.files.limits();
    Json(json!({
        "packedBytes": limits.packed_bytes, "unpackedBytes": limits.unpacked_bytes, "entries": limits.entries,
    }))
}

/// Takes an archive.
pub(super) async fn put(
    State(gateway): State<Gateway>,
    Path(sha256): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Fault> {
    let sha256: Sha256 = sha256.parse().map_err(|error: events::blob::InvalidSha256| {
        Fault::invalid(error.to_string(), "Put the files under the digest of their archive.")
    })?;
    // What is said to be too long need not be read for that.
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    gateway.files.admit(length.unwrap_or_default())?;
    let blob = gateway.files.take(sha256, body.into_data_stream()).await?;
    Ok(Json(json!({ "sha256": blob.sha256, "size": blob.size })).into_response())
}

/// `GET /actions/{id}/revisions/{revision}/files`
pub(super) async fn list(
    State(gateway): State<Gateway>,
    Path((id, revision)): Path<(String, String)>,
) -> Result<Response, Fault> {
    let (_, blob) = of_revision(&gateway, &id, &revision).await?;
    let Some(blob) = blob else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let permit = gateway.streams.take()?;
    let lines = gateway.files.list(&blob).await?;
    let body = stream::body(lines, gateway.stop, permit);
    Ok(([(header::CONTENT_TYPE, LINES)], body).into_response())
}

/// `GET /actions/{id}/revisions/{revision}/archive`
pub(super) async fn archive(
    State(gateway): State<Gateway>,
    Path((id, revision)): Path<(String, String)>,
    request: Parts,
) -> Result<Response, Fault> {
    let (number, blob) = of_revision(&gateway, &id, &revision).await?;
    let Some(blob) = blob else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let download = Download {
        content_type: TAR_ZSTD,
        name: format!("{id}-{number}.tar.zst"),
        disposition: Disposition::Attachment,
        version: (blob.sha256.clone(), blob.size),
        in_parts: false,
    };
    let wanted = match download.wanted(&request) {
        Ok(wanted) => wanted,
        Err(answer) => return Ok(*answer),
    };
    let permit = gateway.streams.take()?;
    let bytes = stream::blob::read(&gateway.broker, blob).await?;
    Ok(download.response(&wanted, stream::body(bytes, gateway.stop, permit)))
}

/// A revision's number, and the files that it has.
async fn of_revision(gateway: &Gateway, id: &str, revision: &str) -> Result<(i32, Option<BlobRef>), Fault> {
    let action: ActionId = read_id(id)?;
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
    let FilesRow(blob) = row.ok_or_else(|| no_revision(id, number))?;
    Ok((number, blob))
}

struct FilesRow(Option<BlobRef>);

impl FromRow<'_, AnyRow> for FilesRow {
    fn from_row(row: &AnyRow) -> sqlx::Result<Self> {
        Ok(Self(files(row)?))
    }
}
