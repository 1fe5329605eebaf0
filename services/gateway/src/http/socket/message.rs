//! The messages of `graphql-transport-ws`.
//!
//! Owns their form in JSON.

use async_graphql::{Request, Response as Answer, ServerError};
use axum::extract::ws::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest id of an operation.
const ID_BYTES: usize = 128;

/// What a client says.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Incoming {
    /// The first of all: perhaps with who it is.
    ConnectionInit {
        payload: Option<Map<String, Value>>,
    },
    Ping {
        payload: Option<Map<String, Value>>,
    },
    Pong {},
    /// Begins an operation, a query and a mutation too.
    Subscribe {
        id: String,
        payload: Box<Request>,
    },
    /// Wants no more of an operation.
    Complete {
        id: String,
    },
}

/// Reads a message, or says why it cannot be read.
pub(super) fn read(text: &str) -> Result<Incoming, String> {
    let message: Incoming = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match &message {
        Incoming::Subscribe { id, .. } | Incoming::Complete { id }
            if id.is_empty() || id.len() > ID_BYTES =>
        {
            Err(format!("an id has 1 to {ID_BYTES} bytes"))
        }
        _ => Ok(message),
    }
}

/// What is said to a client.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Outgoing<'a> {
    ConnectionAck,
    Pong {
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a Map<String, Value>>,
    },
    Next {
        id: &'a str,
        payload: &'a Answer,
    },
    /// The end of an operation that has no answer, or none any more.
    Error {
        id: &'a str,
        payload: &'a [ServerError],
    },
    /// The end of an operation that has had all its answers.
    Complete {
        id: &'a str,
    },
}

impl Outgoing<'_> {
    pub(super) fn to_text(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// For messages of which nothing can fail to be JSON: texts, numbers and what came as JSON.
    pub(super) fn to_message(&self) -> Message {
        Message::Text(self.to_text().unwrap_or_default().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"type":"start","id":"1"}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"subscribe","id":"","payload":{"query":"{a}"}}"#,
            r#"{"type":"complete","id":7}"#,
            r#"{"type":"connection_init","payload":"Bearer"}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let long = format!(r#"{{"type":"complete","id":"{}"}}"#, "x".repeat(ID_BYTES + 1));
        assert!(read(&long).is_err());
        for text in [
            r#"{"type":"connection_init"}"#,
            r#"{"type":"ping","payload":{"a":1}}"#,
            r#"{"type":"pong","payload":{}}"#,
            r#"{"type":"subscribe","id":"1","payload":{"query":"{a}","variables":null,"operationName":null}}"#,
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
    }
}
