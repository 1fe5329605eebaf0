//! WebSockets: operations over one connection, as the protocol `graphql-transport-ws` has it.
//!
//! Owns the protocol, and the bounds of a connection. Invariants: one message at a time waits to be written, and until it is
//! taken nothing more is read, neither from the peer nor from what it follows; an id is used by one operation at a time; and
//! nobody does anything before it is known who they are.

mod message;
mod running;

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use events::rejection::Code;
use futures::stream::{SplitStream, StreamExt as _};
use futures::{Sink, SinkExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval};

use self::message::{Incoming, Outgoing, read};
use self::running::Running;
use super::answer::refuse;
use super::identify::unknown;
use super::recheck::{Recheck, every, shown};
use super::{Gateway, operation};
use crate::fault::Fault;

/// The one subprotocol that is spoken.
const PROTOCOL: &str = "graphql-transport-ws";

/// What a connection needs.
const OPERATION: &str = "GET /graphql";

/// The largest message: it is held before it is known who sends it. What is larger can be posted.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why a connection ends: a code of the protocol and words for whoever looks for the reason.
#[derive(Debug, PartialEq, Eq)]
struct End(u16, String);

const GOING_AWAY: u16 = 1001;
const BAD_REQUEST: u16 = 4400;
const UNAUTHORIZED: u16 = 4401;
const FORBIDDEN: u16 = 4403;
const NO_SUBPROTOCOL: u16 = 4406;
const INIT_TIMEOUT: u16 = 4408;
const ID_TAKEN: u16 = 4409;
const INIT_AGAIN: u16 = 4429;

/// `GET /graphql`: becomes a WebSocket.
pub(super) async fn upgrade(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return not_a_web_socket(&gateway, &headers, &rejection.body_text()).await,
    };
    let Ok(place) = gateway.sockets.clone().try_acquire_owned() else {
        return Fault::new(Code::Busy, "too many WebSockets stand", "Close some, or try again in a moment.")
            .into_response();
    };
    let standing = gateway.standing.token();
    let shown = shown(&headers);
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(MESSAGE_BYTES).max_frame_size(MESSAGE_BYTES);
    let upgrade = upgrade.read_buffer_size(8 * 1024).write_buffer_size(8 * 1024);
    upgrade.on_upgrade(move |socket| async move {
        let _held = (place, standing);
        serve(gateway, shown, socket).await;
    })
}

/// What whoever sends a plain request gets.
async fn not_a_web_socket(gateway: &Gateway, headers: &HeaderMap, why: &str) -> Response {
    if let Err(fault) = gateway.access.caller(headers).await {
        return unknown(&fault);
    }
    let hint = "POST to this path, or open a WebSocket with the subprotocol `graphql-transport-ws`.";
    let mut response = refuse(StatusCode::UPGRADE_REQUIRED, &Fault::invalid(why, hint));
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response
}

async fn serve(gateway: Gateway, shown: HeaderMap, socket: WebSocket) {
    let spoken = socket.protocol().is_some_and(|protocol| protocol == PROTOCOL);
    let (sink, mut stream) = socket.split();
    let (outbox, inbox) = mpsc::channel(1);
    let mut writing = std::pin::pin!(write(sink, inbox));
    let end = if spoken {
        let mut connection = Connection::new(gateway, shown);
        tokio::select! {
            end = connection.run(&mut stream, &outbox) => end,
            () = &mut writing => None,
        }
    } else {
        Some(End(NO_SUBPROTOCOL, format!("speak the subprotocol {PROTOCOL}")))
    };
    let Some(End(code, reason)) = end else { return };
    let farewell = async {
        let close = CloseFrame { code, reason: reason.into() };
        let said = async {
            let _ = outbox.send(Message::Close(Some(close))).await;
            drop(outbox);
            // What the peer still sends is taken: a connection that is dropped on it would take the reason with it.
            while let Some(Ok(_)) = stream.next().await {}
        };
        tokio::join!(said, writing);
    };
    let _ = tokio::time::timeout(FAREWELL, farewell).await;
}

/// Writes what is said; ends when the peer is gone or all is said.
async fn write(mut sink: impl Sink<Message> + Unpin, mut inbox: mpsc::Receiver<Message>) {
    while let Some(message) = inbox.recv().await {
        if sink.send(message).await.is_err() {
            return;
        }
    }
}

/// One connection.
struct Connection {
    gateway: Gateway,
    /// What the request that opened it showed.
    shown: HeaderMap,
    /// Who it is, once that was said and found.
    known: Option<Recheck>,
    running: Running,
    opened: Instant,
    /// When the peer said anything last.
    heard: Instant,
    pulse: Interval,
}

impl Connection {
    fn new(gateway: Gateway, shown: HeaderMap) -> Self {
        let (now, pulse) = (Instant::now(), every(gateway.pace.pulse));
        Self { gateway, shown, known: None, running: Running::default(), opened: now, heard: now, pulse }
    }

    /// Goes on until there is a reason to end; nothing: the peer is gone.
    async fn run(
        &mut self,
        stream: &mut SplitStream<WebSocket>,
        outbox: &mpsc::Sender<Message>,
    ) -> Option<End> {
        let stop = self.gateway.stop.clone();
        let init = self.opened + self.gateway.pace.init;
        loop {
            // Nothing is read for a peer that takes nothing.
            let room = tokio::select! {
                biased;
                () = stop.cancelled() => return Some(going_away()),
                room = outbox.reserve() => room.ok()?,
                due = next_due(&mut self.known, &mut self.pulse, init) => match self.look(due).await {
                    Ok(()) => continue,
                    Err(end) => return end,
                },
            };
            let said = tokio::select! {
                biased;
                () = stop.cancelled() => return Some(going_away()),
                due = next_due(&mut self.known, &mut self.pulse, init) => match self.look(due).await {
                    Ok(()) if due == Due::Pulse => Some(Message::Ping(Bytes::new())),
                    Ok(()) => None,
                    Err(end) => return end,
                },
                received = stream.next() => match self.receive(received?).await {
                    Ok(said) => said,
                    Err(end) => return end,
                },
                said = self.running.next(), if !self.running.is_empty() => said.map(text),
            };
            if let Some(said) = said {
                room.send(said);
            }
        }
    }

    /// Looks at what it is time for.
    async fn look(&mut self, due: Due) -> Result<(), Option<End>> {
        match (due, &self.known) {
            (Due::Init, _) => Err(Some(End(INIT_TIMEOUT, "Connection initialisation timeout".to_owned()))),
            (Due::Pulse, _) if self.heard.elapsed() > self.gateway.pace.silence => Err(None),
            (Due::Recheck, Some(known)) => known.look().await.map_err(|fault| Some(forbidden(&fault))),
            _ => Ok(()),
        }
    }

    /// Takes in what the peer says; returns what is to be answered at once.
    async fn receive(
        &mut self,
        received: Result<Message, axum::Error>,
    ) -> Result<Option<Message>, Option<End>> {
        let text = match received {
            Ok(Message::Text(text)) => text,
            Ok(Message::Binary(_)) => return Err(Some(bad_request("messages are text"))),
            Ok(Message::Ping(_) | Message::Pong(_)) => {
                self.heard = Instant::now();
                return Ok(None);
            }
            // The peer waits for the same word from here, which the next look for more sends.
            Ok(Message::Close(_)) => {
                self.running = Running::default();
                return Ok(None);
            }
            // It may be too large, or broken, or the connection is: then nobody hears of it.
            Err(error) => return Err(Some(bad_request(&error.to_string()))),
        };
        self.heard = Instant::now();
        match read(&text).map_err(|why| Some(bad_request(&why)))? {
            Incoming::ConnectionInit { payload } => self.begin(payload).await.map(Some).map_err(Some),
            Incoming::Ping { payload } => Ok(Some(Outgoing::Pong { payload: payload.as_ref() }.to_message())),
            Incoming::Pong { .. } => Ok(None),
            Incoming::Complete { id } => {
                self.running.end(&id);
                Ok(None)
            }
            Incoming::Subscribe { id, payload } => {
                let Some(known) = &self.known else {
                    return Err(Some(End(UNAUTHORIZED, "Unauthorized".to_owned())));
                };
                if self.running.has(&id) {
                    return Err(Some(End(ID_TAKEN, format!("Subscriber for {id} already exists"))));
                }
                if self.running.is_full() {
                    return Ok(Some(text_of_refusal(&id, running::too_many())));
                }
                let answers = operation::answers(&self.gateway, known.caller(), *payload);
                self.running.begin(id, answers);
                Ok(None)
            }
        }
    }

    /// Finds out who it is, by what was said on the connection or else by what opened it.
    async fn begin(
        &mut self,
        payload: Option<serde_json::Map<String, serde_json::Value>>,
    ) -> Result<Message, End> {
        if self.known.is_some() {
            return Err(End(INIT_AGAIN, "Too many initialisation requests".to_owned()));
        }
        let said = payload.iter().flatten().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        if let Some((_, said)) = said {
            let value = said.as_str().and_then(|text| HeaderValue::from_str(text).ok());
            let value = value.ok_or_else(|| bad_request("`authorization` is text: `Bearer …`"))?;
            self.shown = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
        }
        let caller = self.gateway.access.caller(&self.shown).await.map_err(|fault| forbidden(&fault))?;
        caller.check(OPERATION).map_err(|fault| forbidden(&fault))?;
        let (access, shown) = (self.gateway.access.clone(), self.shown.clone());
        self.known = Some(Recheck::new(access, shown, caller, &self.gateway.pace));
        Ok(Outgoing::ConnectionAck.to_message())
    }
}

/// What it is time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// It has not said who it is.
    Init,
    /// Whether it still is who it was.
    Recheck,
    /// A sign of life.
    Pulse,
}

/// Waits until it is time for something. Safe to cancel.
async fn next_due(known: &mut Option<Recheck>, pulse: &mut Interval, init: Instant) -> Due {
    let who = async {
        match known {
            Some(known) => {
                known.due().await;
                Due::Recheck
            }
            None => {
                tokio::time::sleep_until(init).await;
                Due::Init
            }
        }
    };
    tokio::select! {
        due = who => due,
        _ = pulse.tick() => Due::Pulse,
    }
}

fn text(said: String) -> Message {
    Message::Text(said.into())
}

fn text_of_refusal(id: &str, fault: Fault) -> Message {
    let refusal = operation::refusal(fault);
    Outgoing::Error { id, payload: &refusal.errors }.to_message()
}

fn going_away() -> End {
    End(GOING_AWAY, "the gateway stops".to_owned())
}

fn forbidden(fault: &Fault) -> End {
    let (why, ..) = fault.parts();
    End(FORBIDDEN, shortened(&format!("Forbidden: {why}")))
}

fn bad_request(why: &str) -> End {
    End(BAD_REQUEST, shortened(&format!("Invalid message: {why}")))
}

/// A reason is at most 123 bytes long.
fn shortened(reason: &str) -> String {
    let mut end = reason.len().min(123);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}
