//! Enrollments: which machine may connect as a runner.
//!
//! Owns the one-time token, the key that it was redeemed with, and its withdrawal. Never holds a secret: of a token it knows
//! the digest, of a key the public half. A name that was revoked stays so.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::blob::Sha256;
use crate::event::event_types;
use crate::rejection::{Code, Rejection};

event_types! {
    /// Somebody may enroll a machine under this name, once.
    TokenIssued = "token_issued" / 2,
    /// A machine redeemed the token; its key speaks for the runner from now on.
    Enrolled = "enrolled" / 1,
    /// No key speaks for the runner any more, for ever.
    Revoked = "revoked" / 1,
}

/// The payload of `enrollment.token_issued`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenIssued {
    /// The digest of the whole token.
    pub token_sha256: Sha256,
    /// Until when it can be redeemed.
    pub expires_at: Timestamp,
    /// The pool of the runner, whatever its machine says; absent: the one that it says.
    #[serde(default)]
    pub pool: Option<String>,
    /// The labels of the runner, whatever its machine says; absent: those that it says.
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// The payload of `enrollment.enrolled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Enrolled {
    /// The digest of the token that was redeemed.
    pub token_sha256: Sha256,
    /// The public key, as nats-server writes a user's: it begins with `U`.
    pub public_key: String,
}

/// The payload of `enrollment.revoked`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revoked {}

/// What the history amounts to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrollment {
    /// The token that can be redeemed.
    pub token: Option<TokenIssued>,
    /// Who redeemed a token last.
    pub enrolled: Option<Enrolled>,
    /// The token that was redeemed last.
    pub redeemed: Option<TokenIssued>,
    /// Whether nothing counts any more.
    pub revoked: bool,
}

impl Enrollment {
    /// The token that says what the runner is: the one that was redeemed, and before that the one that can be. Whoever reads
    /// late of a redemption knows the same already.
    pub fn says(&self) -> Option<&TokenIssued> {
        self.redeemed.as_ref().or(self.token.as_ref())
    }
}

/// What can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let a machine enroll, in place of the token before.
    IssueToken(TokenIssued),
    /// Redeem a token.
    Enroll(Enrolled),
    /// Withdraw everything.
    Revoke,
}

/// Decides what a command means for an enrollment in this state.
pub fn decide(enrollment: &Enrollment, command: Command, now: Timestamp) -> Result<Option<Event>, Rejection> {
    match command {
        Command::Revoke if enrollment.revoked => Ok(None),
        Command::Revoke if enrollment.token.is_none() && enrollment.enrolled.is_none() => {
            Err(Rejection::new(
                Code::NotFound,
                "no runner of this name was enrolled",
                "`patchwave runner list` shows the runners there are. One with a user of its own in nats.conf is removed there.",
            ))
        }
        Command::Revoke => Ok(Some(Revoked {}.into())),
        Command::IssueToken(_) | Command::Enroll(_) if enrollment.revoked => Err(Rejection::new(
            Code::RunnerRevoked,
            "the runner of this name was revoked",
            "A revoked name stays so. Create a token for another name: `patchwave runner token create NAME`.",
        )),
        Command::IssueToken(issued) => {
            Ok((enrollment.token.as_ref() != Some(&issued)).then(|| issued.into()))
        }
        Command::Enroll(enrolled) => enroll(enrollment, enrolled, now),
    }
}

fn enroll(enrollment: &Enrollment, enrolled: Enrolled, now: Timestamp) -> Result<Option<Event>, Rejection> {
    const HINT: &str = "Create a new one on the server: `patchwave runner token create NAME`.";
    let refuse = |code, message: &str| Err(Rejection::new(code, message, HINT));
    match (&enrollment.token, &enrollment.enrolled) {
        // Whoever did not hear the answer asks again.
        (_, Some(before)) if *before == enrolled => Ok(None),
        (_, Some(before)) if before.token_sha256 == enrolled.token_sha256 => {
            refuse(Code::TokenUsed, "the token was redeemed by another machine")
        }
        (Some(issued), _) if issued.token_sha256 == enrolled.token_sha256 => {
            if now < issued.expires_at {
                Ok(Some(enrolled.into()))
            } else {
                refuse(Code::TokenExpired, "the token has expired")
            }
        }
        _ => refuse(
            Code::TokenUnknown,
            "the token is not one that was created here, or a newer one took its place",
        ),
    }
}

/// Takes an event in.
pub fn evolve(mut enrollment: Enrollment, event: &Event) -> Enrollment {
    match event {
        Event::TokenIssued(issued) => enrollment.token = Some(issued.clone()),
        Event::Enrolled(enrolled) => {
            enrollment.redeemed = enrollment.token.take();
            enrollment.enrolled = Some(enrolled.clone());
        }
        Event::Revoked(Revoked {}) => {
            // What its machine says counts no more than before until its connections are cut.
            let redeemed = enrollment.redeemed;
            enrollment = Enrollment { revoked: true, redeemed, ..Enrollment::default() };
        }
    }
    enrollment
}

/// What a machine asks for that wants to become a runner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The whole token: `<runner>.<secret>`.
    pub token: String,
    /// The public half of the key that it has made.
    pub public_key: String,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It may connect with its key.
    Enrolled,
    /// It may not.
    Rejected(Rejection),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn digest(byte: u8) -> Sha256 {
        Sha256::from_bytes(&[byte; 32])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_timestamp(seconds, 0).unwrap()
    }

    fn token(token: u8, pool: Option<&str>) -> TokenIssued {
        let (token_sha256, pool) = (digest(token), pool.map(str::to_owned));
        TokenIssued { token_sha256, expires_at: at(100), pool, labels: None }
    }

    fn issued(number: u8) -> Event {
        token(number, None).into()
    }

    fn redeem(token: u8, key: &str) -> Enrolled {
        Enrolled { token_sha256: digest(token), public_key: key.to_owned() }
    }

    fn given(history: &[Event]) -> Enrollment {
        history.iter().fold(Enrollment::default(), evolve)
    }

    fn verdict(history: &[Event], command: Command, now: i64) -> Result<Option<&'static str>, Code> {
        let decided = decide(&given(history), command, at(now));
        decided.map(|event| event.map(|event| event.name())).map_err(|rejection| rejection.code)
    }

    #[test]
    fn a_token_is_redeemed_once_and_in_time() {
        let enroll = |token, key| Command::Enroll(redeem(token, key));
        assert_eq!(verdict(&[issued(1)], enroll(1, "UA"), 99), Ok(Some("enrolled")));
        assert_eq!(verdict(&[issued(1)], enroll(1, "UA"), 100), Err(Code::TokenExpired));
        assert_eq!(verdict(&[issued(1)], enroll(2, "UA"), 1), Err(Code::TokenUnknown));
        assert_eq!(verdict(&[], enroll(1, "UA"), 1), Err(Code::TokenUnknown));
        assert_eq!(verdict(&[issued(1), issued(2)], enroll(1, "UA"), 1), Err(Code::TokenUnknown));
        let history = [issued(1), redeem(1, "UA").into()];
        assert_eq!(verdict(&history, enroll(1, "UA"), 500), Ok(None));
        assert_eq!(verdict(&history, enroll(1, "UB"), 1), Err(Code::TokenUsed));
    }

    #[test]
    fn a_new_token_brings_a_new_key() {
        let history = [issued(1), redeem(1, "UA").into(), issued(2), redeem(2, "UB").into()];
        assert_eq!(given(&history).enrolled, Some(redeem(2, "UB")));
    }

    #[test]
    fn a_token_says_what_a_runner_is_until_another_is_redeemed() {
        let says = |history: &[Event]| given(history).says().and_then(|token| token.pool.clone());
        let of = |number, pool| Event::from(token(number, Some(pool)));
        let mut history = vec![of(1, "gpu")];
        assert_eq!(says(&history).as_deref(), Some("gpu"), "before anybody could read of its redemption");
        history.extend([redeem(1, "UA").into(), of(2, "arm")]);
        assert_eq!(says(&history).as_deref(), Some("gpu"), "the machine with the first one is connected");
        history.push(redeem(2, "UB").into());
        assert_eq!(says(&history).as_deref(), Some("arm"));
        history.push(Revoked {}.into());
        assert_eq!(says(&history).as_deref(), Some("arm"), "its last words are not its own pool's");
        assert_eq!(says(&[issued(1), redeem(1, "UA").into()]), None);
    }

    #[test]
    fn what_is_revoked_stays_so() {
        let revoked = || Event::from(Revoked {});
        assert_eq!(verdict(&[], Command::Revoke, 1), Err(Code::NotFound));
        assert_eq!(verdict(&[issued(1)], Command::Revoke, 1), Ok(Some("revoked")));
        let history = [issued(1), redeem(1, "UA").into(), revoked()];
        assert_eq!(verdict(&history, Command::Revoke, 1), Ok(None));
        assert_eq!(verdict(&history, Command::Enroll(redeem(1, "UA")), 1), Err(Code::RunnerRevoked));
        let again = Command::IssueToken(token(9, None));
        assert_eq!(verdict(&history, again, 1), Err(Code::RunnerRevoked));
        assert_eq!(given(&history).enrolled, None);
    }
}
