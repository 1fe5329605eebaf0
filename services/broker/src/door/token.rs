//! The form of the server's signed messages: a header, claims and a signature, each in base64url.
//!
//! Owns the text and nothing of its meaning.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

/// The header of every message that an nkey signs.
const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

/// The part of a message that is signed.
pub(super) fn unsigned(claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// The whole message.
pub(super) fn signed(unsigned: &str, signature: &[u8]) -> String {
    format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Reads the claims of a message. The signature is not looked at.
pub(super) fn claims(message: &[u8]) -> Option<Value> {
    let mut parts = std::str::from_utf8(message).ok()?.split('.');
    serde_json::from_slice(&decode(parts.nth(1)?)?).ok()
}

/// Clients write either alphabet, with or without an end.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()
}
