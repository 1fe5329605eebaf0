//! `POST /graphql`.
//!
//! Owns what a request may look like. Only `application/json` is taken: a form of another site cannot send it without
//! being asked first, and nobody answers that question.

use async_graphql::{Request, Response as Answer};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Gateway;
use super::answer::refuse;
use super::{operation, server_sent};
use crate::access::Caller;
use crate::fault::Fault;

/// Executes one request; whoever accepts an event stream gets its answers as events.
pub(super) async fn execute(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let request = match read(&headers, body) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    if server_sent::is_wanted(&headers) {
        return server_sent::respond(gateway, caller, &headers, request);
    }
    match operation::answer(&gateway, caller, request).await {
        Ok(answer) => json(&answer),
        Err(fault) => fault.into_response(),
    }
}

fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Request, Box<Response>> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !content_type.eq_ignore_ascii_case("application/json") {
        let fault = Fault::invalid(
            format!("the request's content type is `{content_type}`"),
            "Send JSON with `content-type: application/json`.",
        );
        return Err(Box::new(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &fault)));
    }
    let body = body.map_err(|rejection| {
        let fault = Fault::invalid(rejection.body_text(), "Send less at once.");
        Box::new(refuse(rejection.status(), &fault))
    })?;
    serde_json::from_slice(&body).map_err(|error| {
        let hint = "Send one object with `query`, and `variables` and `operationName` where needed.";
        Box::new(
            Fault::invalid(format!("the request is not GraphQL over JSON: {error}"), hint).into_response(),
        )
    })
}

fn json(answer: &Answer) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Fault::ours(error).into_response(),
    }
}
