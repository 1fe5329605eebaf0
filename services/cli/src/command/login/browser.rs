//! Signing in by a browser: for whoever has no password, or would rather not type it here.
//!
//! Owns one half of a token and the wait for the other, the code. A browser on this machine brings it to a port of this
//! process; from elsewhere people type it. Neither is believed: what the two halves make is shown to the gateway before it is
//! kept. Nothing is written down before, so that whoever gives up leaves nothing behind.

use std::io::BufRead as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use gateway::{Terminal, TerminalCode, Token};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Viewer, whose};
use crate::client::{Client, LoginFile};
use crate::failure::Complaint;

/// How long the browser is waited for.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long the last page may take on its way to a browser.
const GRACE: Duration = Duration::from_secs(2);

/// A code that came, and who brought it: a browser, which wants an answer, or somebody at the terminal.
struct Came {
    code: Option<TerminalCode>,
    browser: Option<oneshot::Sender<Verdict>>,
}

/// What becomes of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Somebody is logged in by it.
    Good,
    /// It does not belong to this half.
    Wrong,
}

/// Signs in, and keeps what comes of it.
pub(super) async fn login(client: &Client, file: &LoginFile) -> anyhow::Result<()> {
    let half = Token::random()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("listening for the browser")?;
    let terminal = Terminal::of(&half, listener.local_addr()?.port());
    // What cannot be opened is found out before anybody is sent there.
    let page = client.without_token().get(&["signin", "terminal"], &terminal.query()).await?.url().clone();
    eprintln!("open this address in a browser; the page must show {}:\n\n    {page}\n", terminal.mark());
    eprintln!(
        "if the browser is on another machine, type the code that it shows in the end, and press Enter"
    );
    open(page.into());

    let (codes, came) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let server = tokio::spawn(serve(listener, codes.clone(), stop.clone()));
    read_terminal(codes);
    let kept = tokio::time::timeout(PATIENCE, keep(client, file, half, came)).await.unwrap_or_else(|_| {
        let message = format!("nobody said yes in a browser within {} minutes", PATIENCE.as_secs() / 60);
        Err(Complaint::new(message, "begin again: `patchwave login --browser`").into())
    });
    stop.cancel();
    // A browser is waited for no longer than its page needs, whatever connections it keeps.
    let _ = tokio::time::timeout(GRACE, server).await;
    kept
}

/// Waits for the code that makes a token of this half, and keeps that.
async fn keep(
    client: &Client,
    file: &LoginFile,
    half: Token,
    mut came: mpsc::Receiver<Came>,
) -> anyhow::Result<()> {
    loop {
        let Came { code, browser } = came.recv().await.context("nothing is waited for any more")?;
        let token = code.map(|code| code.completes(&half));
        let known = match &token {
            Some(token) => known(client, token).await?.map(|viewer| (token, viewer)),
            None => None,
        };
        let verdict = if known.is_some() { Verdict::Good } else { Verdict::Wrong };
        if let Some((token, viewer)) = &known {
            let address = client.address()?;
            file.remember(address.as_str(), token.reveal())?;
            eprintln!("logged in to {address} as {} ({})", viewer.name, viewer.role.to_lowercase());
        }
        match browser {
            // Whoever closed the window wants no answer.
            Some(browser) => drop(browser.send(verdict)),
            None if verdict == Verdict::Wrong => {
                eprintln!("that is not the code; type it as the browser shows it");
            }
            None => {}
        }
        if verdict == Verdict::Good {
            return Ok(());
        }
    }
}

/// Whose a token is; nothing: nobody's.
async fn known(client: &Client, token: &Token) -> anyhow::Result<Option<Viewer>> {
    let error: anyhow::Error = match whose(client, token.reveal()).await {
        Ok(viewer) => return Ok(Some(viewer)),
        Err(failed) => failed.into(),
    };
    let code = error.downcast_ref::<Complaint>().and_then(|complaint| complaint.code.as_deref());
    if code == Some("unauthenticated") { Ok(None) } else { Err(error) }
}

/// Opens a browser, if there is one: the address is shown anyway.
fn open(address: String) {
    // One that runs in a terminal holds on to whoever started it.
    std::thread::spawn(move || webbrowser::open(&address));
}

/// Takes the lines of the standard input for codes, in a thread that nobody waits for.
fn read_terminal(codes: mpsc::Sender<Came>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let came = Came { code: line.parse().ok(), browser: None };
            if !line.trim().is_empty() && codes.blocking_send(came).is_err() {
                break;
            }
        }
    });
}

/// What a browser brings.
#[derive(Deserialize)]
struct Brought {
    #[serde(default)]
    code: String,
}

async fn serve(
    listener: TcpListener,
    codes: mpsc::Sender<Came>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new().route("/", get(arrive)).with_state(codes);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// `GET /?code=…`
async fn arrive(
    State(codes): State<mpsc::Sender<Came>>,
    Query(Brought { code }): Query<Brought>,
) -> Response {
    let (browser, verdict) = oneshot::channel();
    let came = Came { code: code.parse().ok(), browser: Some(browser) };
    let verdict = match codes.send(came).await {
        Ok(()) => verdict.await.ok(),
        Err(_) => None,
    };
    match verdict {
        Some(Verdict::Good) => page(StatusCode::OK, "Logged in. You can close this window."),
        Some(Verdict::Wrong) => {
            let text = "Nobody is logged in by this. Open the address that patchwave login shows.";
            page(StatusCode::BAD_REQUEST, text)
        }
        None => page(StatusCode::SERVICE_UNAVAILABLE, "Nobody is logged in. The terminal says why."),
    }
}

/// A page of one sentence.
fn page(status: StatusCode, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONNECTION, "close"),
    ];
    let html = format!("<!doctype html><html lang=\"en\"><title>Patchwave</title><p>{text}</p></html>");
    (status, headers, html).into_response()
}
