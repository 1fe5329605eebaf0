//! `GET /metrics`, and the count of all requests.
//!
//! Owns what a request is counted as: by the template of its path, since a path itself has ids in it.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Gateway, ready};
use crate::fault::Fault;
use crate::metrics::{CONTENT_TYPE, Levels, Metrics};

/// `GET /metrics`
pub(super) async fn show(State(gateway): State<Gateway>) -> Result<Response, Fault> {
    let ready::Health { lag, database, reached } = ready::look(&gateway).await;
    let streams = gateway.streams.taken();
    let text = gateway.metrics.text(Levels { streams, database, reached, lag }).map_err(Fault::ours)?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// Counts a request.
pub(super) async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = named(request.method());
    let (running, start) = (InProgress::new(metrics), Instant::now());
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    running.0.answered(route, method, response.status().as_u16(), start.elapsed());
    response
}

/// Methods are whatever a client writes: those that no path takes are one.
fn named(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    }
}

/// A request that is being answered, until it is or its sender is gone.
struct InProgress(Arc<Metrics>);

impl InProgress {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.in_progress.inc();
        Self(metrics)
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.dec();
    }
}
