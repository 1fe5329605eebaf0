//! Tokens: 32 random bytes that are shown once.
//!
//! Owns their text form. What stands in the log is the SHA-256, which is enough: 256 random bits cannot be guessed, however
//! fast the guesses are. Of one in two halves it is the digest of the first one's digest and the second.

use std::fmt;

use broker::sealing::Plain;
use data_encoding::BASE32_NOPAD;
use events::blob::Sha256;
use sha2::Digest as _;

use super::terminal::{HALVES, of_halves};

/// What stands before the random part, so that a token can be recognised wherever it turns up.
const PREFIX: &str = "pw_";

/// A token in the clear.
#[derive(Clone)]
pub struct Token(Plain);

impl Token {
    /// Makes one.
    ///
    /// # Errors
    /// When the system has no random numbers to give.
    pub fn random() -> anyhow::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(Plain::new(format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_lowercase()))))
    }

    /// Takes up one that was made before; nothing if the text is none.
    pub fn again(text: &str) -> Option<Self> {
        let random = BASE32_NOPAD.decode(text.strip_prefix(PREFIX)?.to_uppercase().as_bytes()).ok()?;
        (random.len() == 32).then(|| Self(Plain::new(text.to_owned())))
    }

    /// The text, for whoever it is made for.
    pub fn reveal(&self) -> &str {
        self.0.reveal()
    }

    /// One of two halves.
    pub(super) fn of_text(text: String) -> Self {
        Self(Plain::new(text))
    }

    /// What is kept of it.
    pub(crate) fn sha256(&self) -> Sha256 {
        digest(self.reveal())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The digest of what somebody shows.
pub(crate) fn digest(token: &str) -> Sha256 {
    let of = |text: &str| Sha256::from_bytes(&sha2::Sha256::digest(text).into());
    match token.split_once(HALVES) {
        Some((first, second)) => of_halves(&of(first), second),
        None => of(token),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn no_two_are_the_same_and_none_is_printed() {
        let [one, other] = [Token::random().unwrap(), Token::random().unwrap()];
        assert_ne!(one.reveal(), other.reveal());
        assert_eq!(one.reveal().len(), 55);
        assert!(one.reveal().starts_with("pw_"));
        assert_eq!(format!("{one:?}"), "***");
        assert_eq!(Token::again(one.reveal()).unwrap().sha256(), one.sha256());
        for bad in ["", "pw_", "pw_aaaa", &one.reveal()[1..], &format!("{}a", one.reveal())] {
            assert!(Token::again(bad).is_none(), "{bad}");
        }
    }
}
