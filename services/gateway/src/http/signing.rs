//! Signing in and out, and the page of the first administrator.
//!
//! Owns what such requests look like. A form brings a browser a session in a cookie; JSON brings a program a token in the
//! answer, and no cookie. Invariant: an attempt is counted before it is tried.

use std::net::SocketAddr;
use std::time::Instant;

use axum::extract::{ConnectInfo, Extension, Form, FromRequest as _, Json, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use broker::sealing::Plain;
use events::rejection::Code;
use events::token::TokenKind;
use events::user::{InvalidUserName, Role, UserName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::answer::not_yet;
use super::terminal::ForTerminal;
use super::{Gateway, identify, page};
use crate::access::provider::Provider;
use crate::access::terminal::Terminal;
use crate::access::{COOKIE, Caller, Via, digest, session};
use crate::command::NewUserToken;
use crate::fault::Fault;
use crate::metrics::NotSignedIn;

/// What whoever comes too often is told.
pub(super) const TOO_MANY: &str = "there were too many attempts at signing in";

/// A name and a password.
#[derive(Deserialize)]
struct Credentials {
    name: String,
    password: String,
    /// The terminal that the page asks about once this browser is signed in: `sha256` and `port`.
    sha256: Option<String>,
    port: Option<String>,
}

/// What the page of the first administrator sends.
#[derive(Deserialize)]
struct Setup {
    token: String,
    name: String,
    password: String,
}

/// What its link brings.
#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    token: String,
}

/// `GET /signin`: the form, or who it is that signed in already.
pub(super) async fn form(State(gateway): State<Gateway>, headers: HeaderMap) -> Response {
    if let Err(fault) = only_with_users(&gateway) {
        return fault.into_response();
    }
    if session(&headers).is_some()
        && let Ok(caller) = gateway.access.caller(&headers).await
    {
        return page::signed_in(&caller);
    }
    sign_in_page(&gateway, None, None)
}

/// The form, for whoever wants to go on to the page about a terminal perhaps.
pub(super) fn sign_in_page(gateway: &Gateway, terminal: Option<&Terminal>, why: Option<&str>) -> Response {
    page::sign_in(gateway.access.provider.as_ref().map(Provider::host), terminal, why)
}

/// `POST /signin`
pub(super) async fn sign_in(
    State(gateway): State<Gateway>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let json = is_json(&headers);
    if let Err(fault) = only_with_users(&gateway) {
        return fault.into_response();
    }
    let Credentials { name, password, sha256, port } = match read(request).await {
        Ok(credentials) => credentials,
        Err(refused) => return refused,
    };
    let terminal = match ForTerminal::new(sha256, port).terminal() {
        Ok(terminal) => terminal,
        Err(fault) => return fault.into_response(),
    };
    match try_sign_in(&gateway, client, (name, Plain::new(password))).await {
        Ok((token, caller)) if json => Json(json!({
            "token": token.token.reveal(), "name": caller.name, "role": caller.role,
            "expiresAt": token.expires_at.to_rfc3339(),
        }))
        .into_response(),
        Ok((token, caller)) => {
            let cookie = [(header::SET_COOKIE, cookie(token.token.reveal(), secure(&gateway, &headers)))];
            match terminal {
                Some(terminal) => {
                    (StatusCode::SEE_OTHER, cookie, [(header::LOCATION, terminal.page())]).into_response()
                }
                None => (cookie, page::signed_in(&caller)).into_response(),
            }
        }
        Err(refused) if json => refused,
        Err(refused) => {
            let status = refused.status();
            let why = match status {
                StatusCode::UNAUTHORIZED => "The name or the password is another one.",
                StatusCode::TOO_MANY_REQUESTS => "There were too many attempts: wait a moment.",
                _ => return refused,
            };
            let mut response = (status, sign_in_page(&gateway, terminal.as_ref(), Some(why))).into_response();
            if let Some(wait) = refused.headers().get(header::RETRY_AFTER) {
                response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
            }
            response
        }
    }
}

async fn try_sign_in(
    gateway: &Gateway,
    client: SocketAddr,
    (name, password): (String, Plain),
) -> Result<(NewUserToken, Caller), Response> {
    let refused = |fault: Fault| fault.into_response();
    if let Err(wait) = gateway.access.throttle.admit(name.as_str(), client.ip(), Instant::now()) {
        gateway.metrics.not_signed_in(NotSignedIn::Throttled);
        return Err(not_yet(Code::TooManyAttempts, TOO_MANY, wait));
    }
    // Until it is known to be right, a name is worth nothing.
    let commands = gateway.commands(Caller::signing_in(name.clone(), Role::Viewer));
    let signed_in = commands.sign_in(password).await.map_err(refused)?;
    let Some((token, role)) = signed_in else {
        gateway.metrics.not_signed_in(NotSignedIn::Credentials);
        let hint = match gateway.access.provider {
            Some(_) => "Whoever comes from another site has no password here: `patchwave login --browser`.",
            None => "An administrator can set another password: `patchwave user password NAME`.",
        };
        let fault = Fault::new(Code::Unauthenticated, "the name or the password is another one", hint);
        return Err(identify::unknown(&fault));
    };
    gateway.access.throttle.succeeded(name.as_str(), client.ip());
    gateway.projection.reach(token.done.sequence).await.map_err(refused)?;
    Ok((token, Caller::signing_in(name, role)))
}

/// `POST /signout`
pub(super) async fn sign_out(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    // A program's token outlives the one who used it here.
    if let Via::Token(TokenKind::Session, id) = caller.via {
        let done = gateway.commands(caller).revoke_token(id, None).await?;
        gateway.projection.reach(done.sequence).await?;
    }
    let gone = format!("{}; Max-Age=0", cookie("", secure(&gateway, &headers)));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, gone)]).into_response())
}

/// `GET /setup?token=…`
pub(super) async fn setup_form(
    State(gateway): State<Gateway>,
    Query(Link { token }): Query<Link>,
) -> Result<Response, Fault> {
    only_with_users(&gateway)?;
    check_link(&gateway, &token).await?;
    Ok(page::setup(&token, None))
}

/// `POST /setup`
pub(super) async fn setup(State(gateway): State<Gateway>, request: Request) -> Response {
    let refused = |fault: Fault| fault.into_response();
    if let Err(fault) = only_with_users(&gateway) {
        return refused(fault);
    }
    let Setup { token, name, password } = match read(request).await {
        Ok(setup) => setup,
        Err(refused) => return refused,
    };
    if let Err(fault) = check_link(&gateway, &token).await {
        return refused(fault);
    }
    let name = name.parse::<UserName>().map_err(|error: InvalidUserName| {
        Fault::new(
            Code::InvalidName,
            error.to_string(),
            "Take the name from your address, `anna@example.org` say.",
        )
    });
    let created = async {
        let name = name?;
        let commands = gateway.commands(Caller::signing_in(name.to_string(), Role::Admin));
        let done = commands.create_first_admin(name.clone(), Plain::new(password)).await?;
        // Whoever is told that there is a user can sign in.
        gateway.projection.reach(done.sequence).await?;
        Ok(name)
    };
    match created.await {
        Ok(name) => page::set_up(name.as_str()),
        Err(Fault::Rejected { rejection, .. })
            if matches!(rejection.code, Code::InvalidName | Code::InvalidPassword) =>
        {
            (StatusCode::BAD_REQUEST, page::setup(&token, Some(&rejection.message))).into_response()
        }
        Err(fault) => refused(fault),
    }
}

/// The link of this process is good until there is a user, and then never again.
async fn check_link(gateway: &Gateway, token: &str) -> Result<(), Fault> {
    let good = digest(token) == *gateway.access.setup;
    if good && gateway.access.nobody_yet().await? {
        return Ok(());
    }
    let hint =
        "The gateway's log has a link at each start until there is a user; after that, sign in at `/signin`.";
    Err(Fault::new(Code::NotFound, "this link is not good, or not any more", hint))
}

pub(super) fn only_with_users(gateway: &Gateway) -> Result<(), Fault> {
    if gateway.access.has_users() {
        return Ok(());
    }
    let hint = "Start the gateway with `--auth users` to tell users apart.";
    Err(Fault::new(Code::NotFound, "this gateway knows no users: everybody may do everything", hint))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// Reads a form or JSON.
async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Response> {
    let unreadable = |why: String| {
        let hint = "Send `name` and `password`, as JSON or as a form.";
        Fault::invalid(format!("the request cannot be read: {why}"), hint).into_response()
    };
    if is_json(request.headers()) {
        let read = Json::<T>::from_request(request, &()).await;
        read.map(|Json(value)| value).map_err(|error| unreadable(error.body_text()))
    } else {
        let read = Form::<T>::from_request(request, &()).await;
        read.map(|Form(value)| value).map_err(|error| unreadable(error.body_text()))
    }
}

/// Whether the browser reaches us by TLS, or may only do so: everywhere but on its own machine.
pub(super) fn secure(gateway: &Gateway, headers: &HeaderMap) -> bool {
    if let Some(public_url) = &gateway.access.public_url {
        return public_url.is_secure();
    }
    !gateway.loopback || headers.get("x-forwarded-proto").is_some_and(|value| value == "https")
}

/// A cookie that no script reads and no other site sends.
pub(super) fn cookie(value: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict{secure}")
}
