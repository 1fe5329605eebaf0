//! An attempt: what one browser keeps between leaving for the provider and coming back.
//!
//! Owns the 256 random bits from which all else of an attempt follows: the state that comes back with the browser, the nonce
//! in what the provider signs, and the verifier of PKCE. They are in a cookie of that browser and nowhere else, so that
//! whichever gateway it comes back to can finish what another began, and there is nothing to remember and nothing to fill.

use axum::http::HeaderMap;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use sha2::{Digest as _, Sha256};

use crate::access::cookie_in;

/// The cookie that keeps an attempt.
const COOKIE: &str = "patchwave_oidc";

/// The paths that it is sent to.
const PATH: &str = "/signin/oidc";

/// How long somebody may take at the provider.
const SECONDS: u32 = 15 * 60;

/// One attempt at signing in.
pub(crate) struct Attempt([u8; 32]);

impl Attempt {
    /// Makes one.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub(crate) fn random() -> anyhow::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The one that a browser brings back.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = cookie_in(headers, COOKIE)?;
        let bytes = BASE32_NOPAD.decode(text.to_uppercase().as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The cookie for it. The provider sends the browser back, which is another site: `Strict` would keep it.
    pub(crate) fn cookie(&self, secure: bool) -> String {
        let value = BASE32_NOPAD.encode(&self.0).to_lowercase();
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
        let digest = Sha256::new().chain_update(what).chain_update([0]).chain_update(self.0).finalize();
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
        let [one, other] = [Attempt::random().unwrap(), Attempt::random().unwrap()];
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
    }
}
