//! Tokens: what a program or a browser shows instead of a password.
//!
//! Owns who a token speaks for and until when. Of the token itself it knows the SHA-256: its 256 random bits cannot be
//! guessed from that, so that no slow hash is needed as for a password. Invariant: what was revoked stays so.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::blob::Sha256;
use crate::event::event_types;
use crate::id::{CommandId, TokenId};
use crate::rejection::{Code, Rejection};
use crate::user::{Role, UserName};

event_types! {
    /// Whoever shows the token acts as its user.
    Issued = "issued" / 1,
    /// The token is worth nothing any more.
    Revoked = "revoked" / 1,
}

/// What a token was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// A program keeps it.
    Access,
    /// Somebody signed in.
    Session,
}

impl TokenKind {
    /// Its name, as in the events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Session => "session",
        }
    }
}

/// The payload of `token.issued`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Issued {
    /// Who it speaks for.
    pub user: UserName,
    /// What its user calls it.
    pub name: String,
    /// What it was made for.
    pub kind: TokenKind,
    /// The digest of the whole token.
    pub token_sha256: Sha256,
    /// The most that it may do; its user may do less by now.
    pub role: Role,
    /// Until when it is worth something.
    pub expires_at: Timestamp,
}

/// The payload of `token.revoked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {}

impl TokenId {
    /// The id of the token that a command makes: repeated, it makes no other.
    pub fn made_by(command: CommandId) -> Self {
        Self::derived(&[&command.to_string()])
    }
}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What it is; absent before it was made.
    pub issued: Option<Issued>,
    /// Whether it is worth nothing any more.
    pub revoked: bool,
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make it.
    Issue(Issued),
    /// Take its worth away.
    Revoke,
}

/// Decides what a command means for a token in this state.
pub fn decide(token: &Token, command: Command) -> Result<Option<Event>, Rejection> {
    match (command, &token.issued) {
        (Command::Issue(issued), None) => Ok(Some(issued.into())),
        (Command::Issue(issued), Some(before)) if issued == *before => Ok(None),
        (Command::Issue(_), Some(_)) => {
            Err(Rejection::new(Code::AlreadyExists, "there is such a token already", "Ask for another one."))
        }
        (Command::Revoke, None) => Err(Rejection::new(
            Code::NotFound,
            "there is no such token",
            "`patchwave token list` shows the tokens there are.",
        )),
        (Command::Revoke, Some(_)) => Ok((!token.revoked).then(|| Revoked {}.into())),
    }
}

/// Takes an event in.
pub fn evolve(mut token: Token, event: &Event) -> Token {
    match event {
        Event::Issued(issued) => token.issued = Some(issued.clone()),
        Event::Revoked(Revoked {}) => token.revoked = true,
    }
    token
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn issued(name: &str) -> Issued {
        Issued {
            user: "anna".parse().unwrap(),
            name: name.to_owned(),
            kind: TokenKind::Access,
            token_sha256: Sha256::from_bytes(&[7; 32]),
            role: Role::Operator,
            expires_at: Timestamp::from_timestamp(100, 0).unwrap(),
        }
    }

    fn verdict(history: &[Event], command: Command) -> Result<Option<&'static str>, Code> {
        let token = history.iter().fold(Token::default(), evolve);
        let decided = decide(&token, command);
        decided.map(|event| event.map(|event| event.name())).map_err(|rejection| rejection.code)
    }

    #[test]
    fn a_token_is_made_once_and_revoked_for_ever() {
        let made = || Event::from(issued("ci"));
        assert_eq!(verdict(&[], Command::Issue(issued("ci"))), Ok(Some("issued")));
        assert_eq!(verdict(&[made()], Command::Issue(issued("ci"))), Ok(None));
        assert_eq!(verdict(&[made()], Command::Issue(issued("other"))), Err(Code::AlreadyExists));
        assert_eq!(verdict(&[], Command::Revoke), Err(Code::NotFound));
        assert_eq!(verdict(&[made()], Command::Revoke), Ok(Some("revoked")));
        assert_eq!(verdict(&[made(), Revoked {}.into()], Command::Revoke), Ok(None));
    }
}
