//! `GET /files`, how much may be sent; `PUT /files/{sha256}`, the files that an action's steps mount.
//!
//! Owns what such a request looks like. Its body is read as it comes and never held whole.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use events::blob::Sha256;
use serde_json::{Value, json};

use super::Gateway;
use crate::fault::Fault;

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
