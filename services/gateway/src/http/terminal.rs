//! Signing in a terminal: the page that asks whoever is signed in, and what comes of their yes.
//!
//! Owns what a browser is answered on that way. What is done is done by a form of that page alone, in the name of the
//! browser's session. Nothing of a request says where the browser goes but the number of a port of its own machine, and what
//! it takes there is worth nothing to anybody but the terminal that began.

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Extension, Form, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use events::rejection::Code;
use events::token::TokenKind;
use serde::Deserialize;

use super::signing::{only_with_users, sign_in_page};
use super::{Gateway, page};
use crate::access::terminal::{Terminal, session_of_browser};
use crate::access::{Caller, Via};
use crate::fault::Fault;

/// Which terminal a request is about, if about any.
#[derive(Deserialize)]
pub(super) struct ForTerminal {
    sha256: Option<String>,
    port: Option<String>,
}

/// What the page sends.
#[derive(Deserialize)]
pub(super) struct Answered {
    sha256: String,
    port: String,
    /// How the code comes to the terminal.
    way: Way,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    /// The browser brings it there.
    Send,
    /// Its user types it there, because the terminal is on another machine.
    Show,
}

impl ForTerminal {
    /// What a form says beside other things.
    pub(super) fn new(sha256: Option<String>, port: Option<String>) -> Self {
        Self { sha256, port }
    }

    /// The terminal; nothing: this is about none.
    ///
    /// # Errors
    /// When it is half a terminal, or no good one.
    pub(super) fn terminal(&self) -> Result<Option<Terminal>, Fault> {
        if self.sha256.is_none() && self.port.is_none() {
            return Ok(None);
        }
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        Terminal::named(&text(&self.sha256), &text(&self.port)).map(Some)
    }
}

/// `GET /signin/terminal?sha256=…&port=…`: the question, or the form to sign in with first.
pub(super) async fn ask(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    query: Result<Query<ForTerminal>, QueryRejection>,
) -> Result<Response, Fault> {
    only_with_users(&gateway)?;
    let Query(wanted) = query.map_err(|error| unreadable(&error.body_text()))?;
    let Some(terminal) = wanted.terminal()? else { return Err(unreadable("it names no terminal")) };
    if session_of_browser(&headers).is_some()
        && let Ok(caller) = gateway.access.caller(&headers).await
        && matches!(caller.via, Via::Token(TokenKind::Session, _))
    {
        return Ok(page::ask_for_terminal(&caller, &terminal));
    }
    Ok(sign_in_page(&gateway, Some(&terminal), None))
}

/// `POST /signin/terminal`: yes.
pub(super) async fn answer(
    State(gateway): State<Gateway>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    form: Result<Form<Answered>, FormRejection>,
) -> Result<Response, Fault> {
    only_with_users(&gateway)?;
    let Form(Answered { sha256, port, way }) = form.map_err(|error| unreadable(&error.body_text()))?;
    let terminal = Terminal::named(&sha256, &port)?;
    let session = session_of_browser(&headers);
    let (Some(session), Via::Token(TokenKind::Session, _)) = (session, caller.via) else {
        let hint = "Open the address that `patchwave login --browser` shows in a browser, and sign in there.";
        return Err(Fault::new(
            Code::Forbidden,
            "a terminal is signed in by a browser's session alone",
            hint,
        ));
    };
    let code = terminal.code(session);
    let done = gateway.commands(caller.clone()).sign_in_terminal(terminal.token_sha256(&code)).await?;
    // Whatever the terminal shows it to knows the token by then.
    gateway.projection.reach(done.sequence).await?;
    Ok(match way {
        Way::Send => (StatusCode::SEE_OTHER, [(header::LOCATION, terminal.with_code(&code))]).into_response(),
        Way::Show => page::show_code(&caller, &code),
    })
}

fn unreadable(why: &str) -> Fault {
    let hint = "Open the whole address that `patchwave login --browser` shows.";
    Fault::invalid(format!("the request cannot be read: {why}"), hint)
}
