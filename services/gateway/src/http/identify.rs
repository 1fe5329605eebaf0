//! Who asks: before anything that a path leads to.
//!
//! Owns the order: first who it is, then whether they come too often, then whether they may do what the path is for. What a field of GraphQL needs is checked
//! where the field is.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use events::rejection::Code;

use super::Gateway;
use super::answer::{no_such_method, not_yet, refuse};
use crate::access::rules;
use crate::fault::Fault;

/// Lets a caller who is known and may do this pass; the handler finds them among the request's extensions.
pub(super) async fn check(State(gateway): State<Gateway>, mut request: Request, next: Next) -> Response {
    let caller = match gateway.access.caller(request.headers()).await {
        Ok(caller) => caller,
        Err(fault) => return unknown(&fault),
    };
    if let Err(wait) = gateway.rates.admit(&caller) {
        gateway.metrics.rate_limited.inc();
        return not_yet(Code::RateLimited, "there were too many requests with this token", wait);
    }
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let method = if *request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    let operation = format!("{method} {path}");
    if rules::need(&operation).is_none() {
        return no_such_method().await;
    }
    if let Err(fault) = caller.check(&operation) {
        return fault.into_response();
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// What whoever is not known gets.
pub(super) fn unknown(fault: &Fault) -> Response {
    match fault {
        Fault::Rejected { rejection, .. } if rejection.code == Code::Unauthenticated => {
            let mut response = refuse(StatusCode::UNAUTHORIZED, fault);
            let how = HeaderValue::from_static("Bearer realm=\"patchwave\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
            response
        }
        other => other.clone().into_response(),
    }
}
