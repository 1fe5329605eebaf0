//! Clients of what stands: a WebSocket and a stream of server-sent events.

use futures::{SinkExt as _, StreamExt as _};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::world::PATIENCE;

/// A WebSocket to a gateway.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens one with these headers beside what it needs; else the status of the refusal.
    pub(crate) async fn open(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = format!("{}/graphql", url.replacen("http", "ws", 1)).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio::time::timeout(PATIENCE, connect_async(request)).await.expect("an answer") {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Opens one that speaks the protocol, as whoever shows nothing.
    pub(crate) async fn connect(url: &str) -> Self {
        Self::open(url, &[PROTOCOL]).await.expect("a WebSocket")
    }

    /// Opens one and says who it is.
    pub(crate) async fn known(url: &str, token: &str) -> Self {
        let mut socket = Self::connect(url).await;
        socket.init(json!({ "authorization": format!("Bearer {token}") })).await;
        assert_eq!(socket.hear().await, json!({ "type": "connection_ack" }));
        socket
    }

    pub(crate) async fn init(&mut self, payload: Value) {
        self.say(json!({ "type": "connection_init", "payload": payload })).await;
    }

    pub(crate) async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({ "query": query, "variables": variables });
        self.say(json!({ "type": "subscribe", "id": id, "payload": payload })).await;
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.send(Message::text(message.to_string())).await.expect("it is sent");
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.0.send(message).await
    }

    /// What comes next: a text, or the code and the reason of the end.
    async fn next(&mut self) -> Result<Value, (u16, String)> {
        // A sign of life is not what is waited for.
        let next = async {
            loop {
                match self.0.next().await.expect("the connection stands").expect("it is whole") {
                    Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                    Message::Close(Some(frame)) => return Err((frame.code.into(), frame.reason.to_string())),
                    Message::Ping(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("something comes")
    }

    /// The next message.
    #[track_caller]
    pub(crate) fn hear(&mut self) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move { self.next().await.unwrap_or_else(|end| panic!("{place}: {end:?}")) }
    }

    /// The payload of the next message, which is an answer of this operation.
    pub(crate) async fn answer(&mut self, id: &str) -> Value {
        let mut message = self.hear().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("next"), &json!(id)), "{message}");
        message["payload"].take()
    }

    /// The errors with which this operation ends.
    pub(crate) async fn error(&mut self, id: &str) -> Value {
        let mut message = self.hear().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!(id)), "{message}");
        message["payload"][0].take()
    }

    /// Whatever comes until the end; returns its code and reason.
    pub(crate) async fn end(mut self) -> (u16, String) {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }
}

/// The header that asks for the protocol.
pub(crate) const PROTOCOL: (&str, &str) = ("sec-websocket-protocol", "graphql-transport-ws");

/// The answers of an operation as server-sent events.
pub(crate) struct Events {
    response: reqwest::Response,
    text: String,
    pub(crate) comments: usize,
}

impl Events {
    pub(crate) async fn of(client: &Client, url: &str, request: &Value) -> Self {
        let asked = client.post(format!("{url}/graphql")).json(request).header("accept", "text/event-stream");
        let response = asked.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new(), comments: 0 }
    }

    /// The next event and its data; nothing at the end of the response.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        tokio::time::timeout(PATIENCE, self.read()).await.expect("an event or an end")
    }

    async fn read(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event == ":" {
                    self.comments += 1;
                    continue;
                }
                let lines: Vec<&str> = event.lines().collect();
                let [kind, data] = lines.as_slice() else { panic!("{event:?}") };
                let kind = kind.strip_prefix("event: ").expect("a kind").to_owned();
                let data = data.strip_prefix("data:").expect("data").trim();
                return Some((kind, serde_json::from_str(data).unwrap_or_default()));
            }
            let part = self.response.chunk().await.expect("an end in order")?;
            self.text.push_str(std::str::from_utf8(&part).unwrap());
        }
    }

    /// The data of the next answer.
    pub(crate) async fn answer(&mut self) -> Value {
        let (kind, mut answer) = self.next().await.expect("an answer");
        assert_eq!(kind, "next", "{answer}");
        assert_eq!(answer["errors"], Value::Null, "{answer}");
        answer["data"].take()
    }
}
