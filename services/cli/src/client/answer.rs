//! What an answer means: a result, a refusal, or nobody there.
//!
//! Owns the border between what may be tried again and what may not.

use std::time::Duration;

use reqwest::header::{LOCATION, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use crate::failure::Complaint;

/// Why there is no result.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Nobody answered, or not to the end: it may be tried again.
    Away(anyhow::Error),
    /// The answer is no.
    Last(anyhow::Error),
}

impl Failed {
    pub(super) fn away(error: impl Into<anyhow::Error>) -> Self {
        Self::Away(error.into())
    }

    pub(super) fn last(error: impl Into<anyhow::Error>) -> Self {
        Self::Last(error.into())
    }
}

impl From<Failed> for anyhow::Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Away(error) | Failed::Last(error) => error,
        }
    }
}

/// Why there is no result of one try.
#[derive(Debug)]
pub(super) enum Refused {
    /// Too much was asked for in a moment, and nothing was done: the same may be asked after this time.
    Later(Duration, anyhow::Error),
    /// It is not a matter of time.
    Failed(Failed),
}

impl From<Failed> for Refused {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// A refusal as the gateway writes it outside of GraphQL.
#[derive(Deserialize)]
struct Refusal {
    error: RefusalBody,
}

#[derive(Deserialize)]
struct RefusalBody {
    code: String,
    message: String,
    #[serde(default)]
    hint: String,
}

/// The code of a refusal that says when to come again.
const RATE_LIMITED: &str = "rate-limited";

/// The answer, if it is a result.
pub(super) async fn checked(answer: Response) -> Result<Response, Refused> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    if let (true, Some(place)) = (status.is_redirection(), answer.headers().get(LOCATION)) {
        let place = String::from_utf8_lossy(place.as_bytes());
        let message = format!("what answers there names another place: {place}");
        let hint = "if that is the Patchwave you mean, name it with --server";
        return Err(Failed::last(Complaint::new(message, hint)).into());
    }
    let wait = answer.headers().get(RETRY_AFTER).and_then(|wait| wait.to_str().ok()?.parse().ok());
    let body = answer.bytes().await.unwrap_or_default();
    if let Ok(Refusal { error }) = serde_json::from_slice(&body) {
        let is_for_a_while = error.code == RATE_LIMITED;
        let complaint = Complaint { code: Some(error.code), ..Complaint::new(error.message, error.hint) };
        return Err(match wait.filter(|_| is_for_a_while) {
            Some(seconds) => Refused::Later(Duration::from_secs(seconds), complaint.into()),
            None => Failed::last(complaint).into(),
        });
    }
    Err(unexpected(status).into())
}

/// An answer without a reason that we could read.
fn unexpected(status: StatusCode) -> Failed {
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "the server refuses the request: it is too large".to_owned(),
        StatusCode::NOT_FOUND => "what answers there is not a Patchwave that this client knows".to_owned(),
        other => format!("the server answers with {other}"),
    };
    let error = anyhow::Error::from(Complaint::new(message, "see the log of the gateway"));
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Failed::Away(error)
        }
        _ => Failed::Last(error),
    }
}
