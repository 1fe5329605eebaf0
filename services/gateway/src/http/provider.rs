//! Signing in elsewhere: a browser goes to the provider of identities, and comes back with what it signed.
//!
//! Owns what a browser is answered on that way. Nothing that it brings says where it goes next, so that no link that
//! somebody else made leads through here to another site; which terminal our own page then asks about is kept with the attempt. Invariant: an attempt is counted before it is tried, and over
//! once it was.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use events::rejection::Code;
use events::user::Role;

use super::answer::later;
use super::signing::{TOO_MANY, cookie, only_with_users, secure};
use super::terminal::ForTerminal;
use super::{Gateway, page};
use crate::access::Caller;
use crate::access::provider::{Answer, Attempt, Provider};
use crate::access::terminal::Terminal;
use crate::command::NewUserToken;
use crate::fault::Fault;
use crate::metrics::NotSignedIn;

/// `GET /signin/oidc`: off to the provider; with `sha256` and `port` the page about that terminal comes afterwards.
pub(super) async fn leave(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    query: Result<Query<ForTerminal>, QueryRejection>,
) -> Response {
    let begun = async {
        let provider = provider(&gateway)?;
        let Query(wanted) = query.map_err(unreadable)?;
        let attempt = Attempt::random(wanted.terminal()?).map_err(Fault::ours)?;
        let url = provider.begin(&attempt).await?;
        Ok::<_, Fault>((attempt, url))
    };
    match begun.await {
        Ok((attempt, url)) => {
            let kept = attempt.cookie(secure(&gateway, &headers));
            let headers = [(header::SET_COOKIE, kept), (header::LOCATION, url.to_string())];
            (StatusCode::SEE_OTHER, headers).into_response()
        }
        Err(fault) => turned_away(fault),
    }
}

/// `GET /signin/oidc/callback`: back from the provider.
pub(super) async fn come_back(
    State(gateway): State<Gateway>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    answer: Result<Query<Answer>, QueryRejection>,
) -> Response {
    let secure = secure(&gateway, &headers);
    let mut response = match sign_in(&gateway, client, &headers, answer).await {
        Ok((token, terminal)) => {
            let session = cookie(token.token.reveal(), secure);
            let page = page::come_back(terminal.as_ref());
            (AppendHeaders([(header::SET_COOKIE, session)]), page).into_response()
        }
        Err(fault) => turned_away(fault),
    };
    if let Ok(gone) = HeaderValue::from_str(&Attempt::gone(secure)) {
        response.headers_mut().append(header::SET_COOKIE, gone);
    }
    response
}

async fn sign_in(
    gateway: &Gateway,
    client: SocketAddr,
    headers: &HeaderMap,
    answer: Result<Query<Answer>, QueryRejection>,
) -> Result<(NewUserToken, Option<Terminal>), Fault> {
    let provider = provider(gateway)?;
    let throttle = &gateway.access.throttle;
    throttle.admit(None, client.ip(), Instant::now()).map_err(|wait| {
        gateway.metrics.not_signed_in(NotSignedIn::Throttled);
        later(Code::TooManyAttempts, TOO_MANY, wait).0
    })?;
    let attempt = Attempt::of(headers).ok_or_else(|| {
        let message = "this browser did not begin to sign in here, or did too long ago";
        Fault::new(Code::Unauthenticated, message, "Begin at `/signin`, and let the browser keep cookies.")
    })?;
    let Query(answer) = answer.map_err(unreadable)?;
    let person = provider.finish(&attempt, answer).await?;
    // Until it is known which user this is, a name is worth nothing.
    let nobody = Caller::signing_in(person.identity.subject.clone(), Role::Viewer);
    let token = gateway.commands(nobody).sign_in_person(person).await?;
    throttle.succeeded(None, client.ip());
    gateway.projection.reach(token.done.sequence).await?;
    Ok((token, attempt.terminal().cloned()))
}

fn unreadable(error: QueryRejection) -> Fault {
    Fault::invalid(format!("the request cannot be read: {error}"), "Begin again at `/signin`.")
}

fn provider(gateway: &Gateway) -> Result<&Provider, Fault> {
    only_with_users(gateway)?;
    gateway.access.provider.as_ref().ok_or_else(|| {
        let hint = "Sign in with a password; whoever runs Patchwave sets a provider with `--oidc-issuer`.";
        Fault::new(Code::NotFound, "nobody signs in here by another site", hint)
    })
}

/// A page instead of an answer that a program reads: only browsers come this way.
fn turned_away(fault: Fault) -> Response {
    let (message, _, hint) = fault.parts();
    let page = page::turned_away(&message, hint);
    let status = match &fault {
        Fault::Rejected { rejection, .. } if rejection.code == Code::TooManyAttempts => {
            StatusCode::TOO_MANY_REQUESTS
        }
        _ => fault.into_response().status(),
    };
    (status, page).into_response()
}
