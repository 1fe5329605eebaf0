//! `GET /events`: the event log, for operators and scripts.
//!
//! Owns what its parameters mean.

use axum::extract::{Extension, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse as _, Response};
use events::Timestamp;
use serde::Deserialize;

use super::Gateway;
use super::streams::{LINES, read_query};
use crate::access::Caller;
use crate::fault::Fault;
use crate::stream::events::Begin;
use crate::stream::log_lines::{self, From, Wanted};
use crate::stream::selection::Selection;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// Subjects and ids, with commas between them.
    #[serde(default)]
    filters: String,
    after: Option<u64>,
    since: Option<Timestamp>,
    last: Option<usize>,
    #[serde(default)]
    follow: bool,
}

/// `GET /events?filters=F,G&after=SEQUENCE|since=TIME|last=N&follow=true`
pub(super) async fn show(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Fault> {
    let EventsQuery { filters, after, since, last, follow } = read_query(&uri)?;
    let filters: Vec<&str> = filters.split(',').filter(|filter| !filter.is_empty()).collect();
    let selection = Selection::read(&caller, &filters)?;
    let from = match (after, since, last) {
        (None, None, None) => From::Place(Begin::After(0)),
        (Some(after), None, None) => From::Place(Begin::After(after)),
        (None, Some(since), None) => From::Place(Begin::Time(since)),
        (None, None, Some(last)) => From::Last(last),
        _ => {
            let message = "`after`, `since` and `last` each say where to begin";
            return Err(Fault::invalid(message, "Give one of them."));
        }
    };
    let permit = gateway.streams.take()?;
    let lines = log_lines::read(&gateway.broker, Wanted { selection, from, follow }).await?;
    let body = crate::stream::body(lines, gateway.stop, permit);
    Ok(([(header::CONTENT_TYPE, LINES)], body).into_response())
}
