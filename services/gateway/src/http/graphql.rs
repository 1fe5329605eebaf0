//! `POST /graphql`.
//!
//! Owns what a request may look like. Only `application/json` is taken: a form of another site cannot send it without
//! being asked first, and nobody answers that question.

use std::time::Duration;

use async_graphql::{ErrorExtensionValues, Response as Answer};
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use events::rejection::Code;

use super::Gateway;
use super::answer::refuse;
use crate::access::Caller;
use crate::fault::Fault;

/// How long a request may take: longer than all that it may wait for.
const PATIENCE: Duration = Duration::from_secs(80);

/// Executes one request.
pub(super) async fn execute(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    if !content_type.eq_ignore_ascii_case("application/json") {
        let fault = Fault::invalid(
            format!("the request's content type is `{content_type}`"),
            "Send JSON with `content-type: application/json`.",
        );
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, &fault);
    }
    let body = match body {
        Ok(body) => body,
        Err(rejection) => {
            let fault = Fault::invalid(rejection.body_text(), "Send less at once.");
            return refuse(rejection.status(), &fault);
        }
    };
    let request: async_graphql::Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            let hint = "Send one object with `query`, and `variables` and `operationName` where needed.";
            return Fault::invalid(format!("the request is not GraphQL over JSON: {error}"), hint)
                .into_response();
        }
    };
    let request = request.data(gateway.commands(caller.clone())).data(caller);
    match tokio::time::timeout(PATIENCE, gateway.graph.execute(request)).await {
        Ok(answer) => json(&coded(answer)),
        Err(_) => {
            let message = format!("the request took longer than {} s", PATIENCE.as_secs());
            Fault::new(Code::Busy, message, "Ask for less at once, or later.").into_response()
        }
    }
}

/// What to do about what the library refuses.
const LIMITS: &str = "`schema.graphql` has the types. An answer may have 100,000 fields or so, counted with `first`, \
                      16 levels and 50 aliases: ask for smaller pages.";

fn json(answer: &Answer) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => Fault::ours(error).into_response(),
    }
}

/// Gives the errors of the library the code that ours have: what it refuses is the request's fault.
fn coded(mut answer: Answer) -> Answer {
    for error in &mut answer.errors {
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        if extensions.get("code").is_none() {
            extensions.set("code", Code::InvalidRequest.as_str());
            extensions.set("hint", LIMITS);
        }
    }
    answer
}
