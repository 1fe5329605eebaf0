//! An attempt: what one browser keeps between leaving for the provider and coming back.
//!
//! Owns the 256 random bits from which all else of an attempt follows: the state that comes back with the browser, the nonce
//! in what the provider signs, and the verifier of PKCE. They are in a cookie of that browser and nowhere else, so that
//! whichever gateway it comes back to can finish what another began, and there is nothing to remember and nothing to fill.
//! Beside them stands the terminal for which somebody signs in, if it is for one.

use axum::http::HeaderMap;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use sha2::{Digest as _, Sha256};

use crate::access::cookie_in;
use crate::access::terminal::Terminal;

/// The cookie that keeps an attempt.
const COOKIE: &str = "patchwave_oidc";

/// The paths that it is sent to.
const PATH: &str = "/signin/oidc";

/// How long somebody may take at the provider.
const SECONDS: u32 = 15 * 60;

/// What stands between the parts of the cookie.
const PARTS: char = '.';

/// One attempt at signing in.
pub(crate) struct Attempt {
    bytes: [u8; 32],
    terminal: Option<Terminal>,
}

impl Attempt {
    /// Makes one, for a terminal perhaps.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub(crate) fn random(terminal: Option<Terminal>) -> anyhow::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self { bytes, terminal })
    }

    /// The one that a browser brings back.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = cookie_in(headers, COOKIE)?;
        let (text, terminal) = match text.split_once(PARTS) {
            Some((text, terminal)) => {
                let (sha256, port) = terminal.split_once(PARTS)?;
                (text, Some(Terminal::named(sha256, port).ok()?))
            }
            None => (text, None),
        };
        let bytes = BASE32_NOPAD.decode(text.to_uppercase().as_bytes()).ok()?;
        Some(Self { bytes: bytes.try_into().ok()?, terminal })
    }

    /// The terminal that it is for.
    pub(crate) fn terminal(&self) -> Option<&Terminal> {
        self.terminal.as_ref()
    }

    /// The cookie for it. The provider sends the browser back, which is another site: `Strict` would keep it.
    pub(crate) fn cookie(&self, secure: bool) -> String {
        let mut value = BASE32_NOPAD.encode(&self.bytes).to_lowercase();
        for (_, part) in self.terminal.iter().flat_map(Terminal::query) {
            value.push(PARTS);
            value.push_str(&part);
        }
        format!("{}; Max-Age={SECONDS}", written(&value, secure))
    }

    /// What ends it in the browser.
    pub(crate) fn gone(secure: bool) -> String {
        format!("{}; Max-Age=0", written("", secure))
    }

    /// Whether a browser comes back with what it left with.
    pub(super) fn matches(&self, state: &str) -> bool {
        // Digests are compared: how long that takes says nothing.
        Sha256::digest(self.state()) == Sha256::digest(state)
    }

    /// What comes back with the browser.
    pub(super) fn state(&self) -> String {
        self.derived("state")
    }

    /// What the provider signs.
    pub(super) fn nonce(&self) -> String {
        self.derived("nonce")
    }

    /// What only whoever left has, so that a code is worth nothing to others.
    pub(super) fn verifier(&self) -> String {
        self.derived("verifier")
    }

    /// None of these says anything of the others.
    fn derived(&self, what: &str) -> String {
        let digest = Sha256::new().chain_update(what).chain_update([0]).chain_update(self.bytes).finalize();
        BASE64URL_NOPAD.encode(&digest)
    }
}

fn written(value: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={value}; Path={PATH}; HttpOnly; SameSite=Lax{secure}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use axum::http::header;

    use super::*;

    fn brought(cookie: &str) -> Option<Attempt> {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        Attempt::of(&headers)
    }

    #[test]
    fn a_browser_comes_back_with_what_it_left_with() {
        let [one, other] = [Attempt::random(None).unwrap(), Attempt::random(None).unwrap()];
        let cookie = one.cookie(true);
        assert!(
            cookie.ends_with("; Path=/signin/oidc; HttpOnly; SameSite=Lax; Secure; Max-Age=900"),
            "{cookie}"
        );
        let back = brought(&format!("a=b; {}", cookie.split(';').next().unwrap())).unwrap();
        assert!(back.matches(&one.state()) && !back.matches(&other.state()) && !back.matches(""));
        let all = [one.state(), one.nonce(), one.verifier(), other.state(), other.nonce(), other.verifier()];
        for (index, text) in all.iter().enumerate() {
            assert_eq!(text.len(), 43, "as long as a verifier of PKCE is at least");
            assert!(!all[..index].contains(text));
        }
        for bad in ["patchwave_oidc=", "patchwave_oidc=aaaa", "patchwave_oidc=1!", "other=aaaa"] {
            assert!(brought(bad).is_none(), "{bad}");
        }
        assert_eq!(back.terminal(), None);
    }

    #[test]
    fn it_keeps_for_which_terminal_it_is() {
        let terminal = Terminal::named(&"0a".repeat(32), "50000").unwrap();
        let attempt = Attempt::random(Some(terminal.clone())).unwrap();
        let cookie = attempt.cookie(false);
        let pair = cookie.split(';').next().unwrap();
        let back = brought(pair).unwrap();
        assert!(back.matches(&attempt.state()));
        assert_eq!(back.terminal(), Some(&terminal));
        for bad in [pair.replace(".50000", ""), pair.replace("50000", "80"), pair.replace("0a0a", "0A0a")] {
            assert!(brought(&bad).is_none(), "{bad}");
        }
    }
}
