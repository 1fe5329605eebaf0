//! Answers that are none: a fault as JSON.
//!
//! Owns the one shape, `{"error": {"code", "message", "hint"}}`, and the status beside it.

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::rejection::Code;
use serde_json::json;

use crate::fault::Fault;

/// A fault under a status of its own.
pub(super) fn refuse(status: StatusCode, fault: &Fault) -> Response {
    let (message, code, hint) = fault.parts();
    (status, Json(json!({ "error": { "code": code, "message": message, "hint": hint } }))).into_response()
}

/// A refusal that ends after a while.
pub(super) fn not_yet(code: Code, message: impl Into<String>, wait: Duration) -> Response {
    let (fault, seconds) = later(code, message, wait);
    let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, &fault);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// What is refused for a while, and for how many seconds.
pub(super) fn later(code: Code, message: impl Into<String>, wait: Duration) -> (Fault, u64) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    (Fault::new(code, message, format!("Try again in {seconds} s.")), seconds)
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Ours { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Rejected { rejection, .. } => match rejection.code {
                Code::NotFound => StatusCode::NOT_FOUND,
                Code::Forbidden | Code::NotLinked => StatusCode::FORBIDDEN,
                Code::Unauthenticated => StatusCode::UNAUTHORIZED,
                Code::FilesTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Code::Busy | Code::BrokerUnavailable | Code::StaleProjection | Code::ProviderUnavailable => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
                _ => StatusCode::BAD_REQUEST,
            },
        };
        refuse(status, &self)
    }
}

const HINT: &str = "POST /graphql, GET /graphql as a WebSocket, PUT /files/{sha256}, or GET /files, \
                    /actions/{id}/revisions/{revision}/files (or /archive), /events, /executions/{id}/events, /jobs/{id}/log, \
                    /jobs/{id}/patch, /plans/{id}/archive, /plans/{id}/changesets/{position}/patch, /metrics, /healthz, /readyz; \
                    /signin, /signin/oidc, /signin/terminal and /signout.";

pub(super) async fn no_such_path() -> Response {
    Fault::new(Code::NotFound, "there is nothing under this path", HINT).into_response()
}

pub(super) async fn no_such_method() -> Response {
    let fault = Fault::invalid("this path does not take this method", HINT);
    refuse(StatusCode::METHOD_NOT_ALLOWED, &fault)
}
