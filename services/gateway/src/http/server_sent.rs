//! Server-sent events: the answers of one operation as the body of its response.
//!
//! Owns the form, which is the "distinct connections mode" of the GraphQL over SSE protocol: `next` with an answer, `complete`
//! at the end, comments in between. Invariant: a stream that was cut off has no `complete`. The body is asked for more when
//! its reader has taken what there was, and nothing is read ahead.

use std::convert::Infallible;

use async_graphql::{Request, Response as Answer};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::time::Interval;
use tokio_util::sync::CancellationToken;

use super::Gateway;
use super::operation;
use super::recheck::{Recheck, every, shown};
use crate::access::Caller;
use crate::fault::Fault;

const EVENT_STREAM: &str = "text/event-stream";

const COMPLETE: &[u8] = b"event: complete\ndata:\n\n";

/// A comment: what proxies and dead connections notice, and readers pass over.
const SIGN_OF_LIFE: &[u8] = b":\n\n";

/// Whether a request asks for events.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut kinds = accepted.flat_map(|text| text.split(',')).filter_map(|kind| kind.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case(EVENT_STREAM))
}

/// Answers an operation with events.
pub(super) fn respond(gateway: Gateway, caller: Caller, headers: &HeaderMap, request: Request) -> Response {
    let events = Events {
        answers: operation::answers(&gateway, caller.clone(), request),
        recheck: Recheck::new(gateway.access.clone(), shown(headers), caller, &gateway.pace),
        pulse: every(gateway.pace.pulse),
        stop: gateway.stop,
        phase: Phase::Begins,
    };
    let body = stream::unfold(events, |mut events| async move {
        let next = events.next().await?;
        Some((Ok::<_, Infallible>(next), events))
    });
    ([(header::CONTENT_TYPE, EVENT_STREAM)], Body::from_stream(body)).into_response()
}

struct Events {
    answers: BoxStream<'static, Answer>,
    recheck: Recheck,
    pulse: Interval,
    stop: CancellationToken,
    phase: Phase,
}

enum Phase {
    /// Something is sent at once, so that everybody on the way passes the head on.
    Begins,
    Runs,
    Completes,
    Ended,
}

impl Events {
    async fn next(&mut self) -> Option<Bytes> {
        match self.phase {
            Phase::Begins => {
                self.phase = Phase::Runs;
                return Some(Bytes::from_static(SIGN_OF_LIFE));
            }
            Phase::Runs => {}
            Phase::Completes => return self.complete(),
            Phase::Ended => return None,
        }
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                () = self.recheck.due() => {
                    if let Err(fault) = self.recheck.look().await {
                        return Some(self.show(&operation::refusal(fault)));
                    }
                }
                answer = self.answers.next() => {
                    return match answer {
                        Some(answer) => Some(self.show(&answer)),
                        None => self.complete(),
                    };
                }
                _ = self.pulse.tick() => return Some(Bytes::from_static(SIGN_OF_LIFE)),
            }
        }
    }

    fn complete(&mut self) -> Option<Bytes> {
        self.phase = Phase::Ended;
        Some(Bytes::from_static(COMPLETE))
    }

    fn show(&mut self, answer: &Answer) -> Bytes {
        if operation::is_refusal(answer) {
            self.phase = Phase::Completes;
        }
        match serde_json::to_string(answer) {
            Ok(json) => format!("event: next\ndata: {json}\n\n").into(),
            Err(error) => {
                self.phase = Phase::Completes;
                let refusal = operation::refusal(Fault::ours(error));
                let json = serde_json::to_string(&refusal).unwrap_or_default();
                format!("event: next\ndata: {json}\n\n").into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn events_are_sent_to_whoever_accepts_them() {
        let wanted = |accept: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            is_wanted(&headers)
        };
        for accept in ["text/event-stream", "application/json, Text/Event-Stream;q=0.9"] {
            assert!(wanted(accept), "{accept}");
        }
        assert!(!wanted("application/json") && !wanted("*/*") && !is_wanted(&HeaderMap::new()));
    }
}
