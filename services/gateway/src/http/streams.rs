//! The routes of the streams: events and logs.
//!
//! Owns what their paths and parameters mean, and how those of the other routes are read.

use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, Uri, header};
use axum::response::{IntoResponse as _, Response};
use broker::SealedLog;
use events::id::{ExecutionId, InvalidId, JobId};
use events::job::LogSealed;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use super::Gateway;
use super::download::{Disposition, Download, Packable, TEXT, Wanted, file};
use crate::fault::Fault;
use crate::schema::malformed;
use crate::stream::{self, find, log, plain, sealed};

pub(super) const LINES: &str = "application/x-ndjson";

/// Which attempt a log or a patch is of.
pub(super) const ATTEMPT: HeaderName = HeaderName::from_static("patchwave-attempt");

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

/// What becomes of the sequences that colour a terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Ansi {
    #[default]
    Keep,
    Strip,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LogQuery {
    attempt: Option<u32>,
    #[serde(default)]
    from_line: u64,
    #[serde(default)]
    follow: bool,
    #[serde(default)]
    ansi: Ansi,
}

/// `GET /jobs/{id}/log?attempt=N&fromLine=L&follow=true&ansi=strip`
pub(super) async fn log(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
    request: Parts,
) -> Result<Response, Fault> {
    let job: JobId = read_id(&id)?;
    let LogQuery { attempt, from_line, follow, ansi } = read_query(&request.uri)?;
    let permit = gateway.streams.take()?;
    let execution = find::execution_of(&gateway.broker, &gateway.projection, job).await?;
    let log = log::Request { execution, job, attempt, from_line, follow };
    let log = log::open(&gateway.broker, log).await?;
    let attempt = log.attempt;
    let mut response = match log.sealed() {
        Some(sealed) if from_line <= 1 && ansi == Ansi::Keep => {
            whole_log(&gateway, (job, attempt), sealed, &request, permit).await?
        }
        sealed => {
            // What is complete may be packed; what is not is wanted at once.
            let is_complete = sealed.is_some();
            let bytes = log.read();
            let body = match ansi {
                Ansi::Keep => stream::body(bytes, gateway.stop, permit),
                Ansi::Strip => stream::body(plain::strip(bytes), gateway.stop, permit),
            };
            let mut response = body.into_response();
            if is_complete {
                response.extensions_mut().insert(Packable);
            }
            response.headers_mut().extend(file(TEXT, Disposition::Inline, &log_name(job, attempt)));
            response
        }
    };
    response.headers_mut().insert(ATTEMPT, attempt.into());
    Ok(response)
}

/// A log that will not change any more, or a part of it.
async fn whole_log(
    gateway: &Gateway,
    (job, attempt): (JobId, u32),
    sealed: &LogSealed,
    request: &Parts,
    permit: OwnedSemaphorePermit,
) -> Result<Response, Fault> {
    let log = SealedLog::open(&gateway.broker, &sealed.blob).await?;
    let download = Download {
        content_type: TEXT,
        name: log_name(job, attempt),
        disposition: Disposition::Inline,
        version: (sealed.log.sha256.clone(), log.bytes()),
        in_parts: true,
    };
    let wanted = match download.wanted(request) {
        Ok(wanted) => wanted,
        Err(answer) => return Ok(*answer),
    };
    let range = match &wanted {
        Wanted::All => 0..log.bytes(),
        Wanted::Part(range) => range.clone(),
    };
    let body = stream::body(sealed::read(log, range), gateway.stop.clone(), permit);
    Ok(download.response(&wanted, body))
}

fn log_name(job: JobId, attempt: u32) -> String {
    format!("{job}-{attempt}.log")
}

pub(super) fn read_id<T: std::str::FromStr<Err = InvalidId>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(malformed)
}

pub(super) fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Fault> {
    let query = Query::<T>::try_from_uri(uri);
    query
        .map(|Query(query)| query)
        .map_err(|rejection| Fault::invalid(rejection.body_text(), "Check the parameters behind the `?`."))
}
