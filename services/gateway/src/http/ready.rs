//! `GET /readyz`: whether requests would be answered, for whoever spreads them over several gateways.
//!
//! Owns what counts as ready: the broker and the database answer, and what is shown is not far behind the log.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::Gateway;

/// How long each of them has for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many events the projection may be behind: what it takes in within a second.
const LAG: u64 = 10_000;

/// How it is right now.
pub(super) struct Health {
    /// How many events the projection is behind the log; nothing: the broker does not answer.
    pub(super) lag: Option<u64>,
    /// Whether the database answers.
    pub(super) database: bool,
    /// The last event that the projection has taken in.
    pub(super) reached: u64,
}

/// 200 or 503, with what is well and what is not: `{"broker": bool, "database": bool, "lagEvents": int or null}`.
pub(super) async fn ready(State(gateway): State<Gateway>) -> Response {
    let Health { lag, database, .. } = look(&gateway).await;
    let is_ready = database && lag.is_some_and(|lag| lag <= LAG);
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({ "broker": lag.is_some(), "database": database, "lagEvents": lag });
    (status, Json(body)).into_response()
}

/// Looks how it is.
pub(super) async fn look(gateway: &Gateway) -> Health {
    let broker = tokio::time::timeout(PATIENCE, gateway.broker.last_sequence());
    let database = tokio::time::timeout(PATIENCE, gateway.projection.is_there());
    let (last, database) = tokio::join!(broker, database);
    let reached = gateway.projection.reached();
    let lag = match last {
        Ok(Ok(last)) => Some(last.saturating_sub(reached)),
        Ok(Err(_)) | Err(_) => None,
    };
    Health { lag, database: database.unwrap_or(false), reached }
}
