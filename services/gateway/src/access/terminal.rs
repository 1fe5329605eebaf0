//! Terminals: how a command line is signed in by a browser, without a secret that is worth something on the way.
//!
//! Owns the two halves of such a token. The terminal makes the first and shows nobody more than its digest; the second, the
//! code, is the browser's: it follows from the session there and from that digest, so that any gateway finds the same one,
//! however often it is asked for, and nobody else does. Invariant: neither half is worth anything without the other.

use std::fmt;
use std::str::FromStr;

use axum::http::HeaderMap;
use data_encoding::BASE32_NOPAD;
use events::blob::Sha256;
use sha2::Digest as _;

use super::{Token, session};
use crate::fault::Fault;

/// The page that asks.
const PATH: &str = "/signin/terminal";

/// The lowest port that a program may listen on which is nobody in particular.
const LOWEST_PORT: u16 = 1024;

/// 80 bits, of which each guess costs a request.
const CODE_BYTES: usize = 10;

/// A terminal that waits to be signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// The digest of its half of the token.
    sha256: Sha256,
    /// Where it listens, on the machine of the browser if that is its own.
    port: u16,
}

impl Terminal {
    /// The one that keeps this half of a token, and listens on this port of its machine.
    pub fn of(half: &Token, port: u16) -> Self {
        Self { sha256: half.sha256(), port }
    }

    /// The one that a request is about.
    ///
    /// # Errors
    /// A rejection `invalid-request` when it is none.
    pub(crate) fn named(sha256: &str, port: &str) -> Result<Self, Fault> {
        let read = || {
            let sha256 = Sha256::try_from(sha256.to_owned()).ok()?;
            let port = port.parse().ok().filter(|port| *port >= LOWEST_PORT)?;
            Some(Self { sha256, port })
        };
        read().ok_or_else(|| {
            let hint = "Open the whole address that `patchwave login --browser` shows.";
            Fault::invalid("`sha256` and `port` do not say which terminal this is about", hint)
        })
    }

    /// What names it in an address.
    pub fn query(&self) -> [(&'static str, String); 2] {
        [("sha256", self.sha256.to_string()), ("port", self.port.to_string())]
    }

    /// What its user compares: the terminal shows it, and so does the page.
    pub fn mark(&self) -> String {
        let text = self.sha256.as_str().to_uppercase();
        format!("{}-{}", &text[..4], &text[4..8])
    }

    /// The same as the text of a query.
    pub(crate) fn query_text(&self) -> String {
        self.query().map(|(name, value)| format!("{name}={value}")).join("&")
    }

    /// The page that asks about it.
    pub(crate) fn page(&self) -> String {
        format!("{PATH}?{}", self.query_text())
    }

    /// What the browser may be sent to: the machine that it runs on, and nothing else.
    pub(crate) fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where a browser brings the code.
    pub(crate) fn with_code(&self, code: &TerminalCode) -> String {
        format!("{}/?code={}", self.origin(), code.0)
    }

    /// The code that a session gives for it.
    pub(crate) fn code(&self, session: &str) -> TerminalCode {
        let digest = sha2::Sha256::new().chain_update("terminal\0").chain_update(self.sha256.as_str());
        let digest = digest.chain_update("\0").chain_update(session).finalize();
        TerminalCode(BASE32_NOPAD.encode(&digest[..CODE_BYTES]).to_lowercase())
    }

    /// The digest of the whole token.
    pub(crate) fn token_sha256(&self, code: &TerminalCode) -> Sha256 {
        of_halves(&self.sha256, &code.0)
    }
}

/// The browser's half of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TerminalCode(String);

/// The text is no such code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a code of 16 letters and digits, as the browser shows it")]
pub struct InvalidTerminalCode;

impl FromStr for TerminalCode {
    type Err = InvalidTerminalCode;

    /// As people type it: in either case, with or without hyphens and spaces.
    fn from_str(text: &str) -> Result<Self, InvalidTerminalCode> {
        let text: String = text.chars().filter(|one| *one != '-' && !one.is_whitespace()).collect();
        let bytes = BASE32_NOPAD.decode(text.to_uppercase().as_bytes()).map_err(|_| InvalidTerminalCode)?;
        (bytes.len() == CODE_BYTES).then(|| Self(text.to_lowercase())).ok_or(InvalidTerminalCode)
    }
}

impl TerminalCode {
    /// The whole token.
    pub fn completes(&self, half: &Token) -> Token {
        Token::of_text(format!("{}{HALVES}{}", half.reveal(), self.0))
    }
}

impl fmt::Display for TerminalCode {
    /// As people read it: in groups of four.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, character) in self.0.chars().enumerate() {
            if index > 0 && index % 4 == 0 {
                f.write_str("-")?;
            }
            write!(f, "{character}")?;
        }
        Ok(())
    }
}

/// What stands between the halves of a token.
pub(super) const HALVES: char = '.';

/// The digest of a token in two halves: the gateway knows the digest of the first alone when it is made.
pub(super) fn of_halves(first: &Sha256, second: &str) -> Sha256 {
    Sha256::from_bytes(&sha2::Sha256::digest(format!("{first}{HALVES}{second}")).into())
}

/// The session of a browser that asks, and of nobody who shows a token beside it.
pub(crate) fn session_of_browser(headers: &HeaderMap) -> Option<&str> {
    if headers.contains_key(axum::http::header::AUTHORIZATION) { None } else { session(headers) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;
    use crate::access::digest;

    #[test]
    fn both_halves_together_are_the_token_and_nothing_else_is() {
        let [half, other] = [Token::random().unwrap(), Token::random().unwrap()];
        let terminal = Terminal::of(&half, 50_000);
        let code = terminal.code("pw_session");
        assert_eq!(terminal.code("pw_session"), code, "any gateway finds the same one");
        let known = terminal.token_sha256(&code);
        let whole = code.completes(&half);
        assert_eq!(digest(whole.reveal()), known);
        assert_eq!(whole.sha256(), known);

        let another = terminal.code("pw_another");
        assert_ne!(another, code, "another session gives another code");
        assert_ne!(
            Terminal::of(&other, 50_000).code("pw_session"),
            code,
            "and so does it to another terminal"
        );
        let first = half.sha256();
        for text in [
            half.reveal().to_owned(),
            code.completes(&other).reveal().to_owned(),
            another.completes(&half).reveal().to_owned(),
            // What whoever saw the address and the code could put together.
            format!("{first}.{}", code.0),
            format!("{}.", half.reveal()),
        ] {
            assert_ne!(digest(&text), known, "{text}");
        }
    }

    #[test]
    fn a_code_is_read_as_it_is_typed() {
        let code = Terminal::of(&Token::random().unwrap(), 50_000).code("pw_session");
        let shown = code.to_string();
        assert_eq!((shown.len(), shown.matches('-').count()), (19, 3), "{shown}");
        for typed in [shown.clone(), shown.to_uppercase(), shown.replace('-', " "), format!(" {shown}\t")] {
            assert_eq!(typed.parse().as_ref(), Ok(&code), "{typed}");
        }
        for bad in ["", "aaaa", &shown[1..], &format!("{shown}a"), "1111-1111-1111-1111"] {
            assert_eq!(bad.parse::<TerminalCode>(), Err(InvalidTerminalCode), "{bad}");
        }
    }

    #[test]
    fn a_request_names_a_digest_and_a_port_and_never_a_place() {
        let digits = "0a".repeat(32);
        let terminal = Terminal::named(&digits, "50000").unwrap();
        assert_eq!(terminal.mark(), "0A0A-0A0A");
        assert_eq!(terminal.page(), format!("/signin/terminal?sha256={digits}&port=50000"));
        let code = terminal.code("pw_session");
        assert!(terminal.with_code(&code).starts_with("http://127.0.0.1:50000/?code="));
        for (sha256, port) in [
            ("", "50000"),
            (&*digits, ""),
            (&digits[1..], "50000"),
            (&digits.to_uppercase(), "50000"),
            (&digits, "80"),
            (&digits, "65536"),
            (&digits, "50000@example.org"),
            (&digits, "example.org:50000"),
        ] {
            assert!(Terminal::named(sha256, port).is_err(), "{sha256} {port}");
        }
    }
}
