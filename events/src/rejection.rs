//! Rejections: what the system says to somebody who asked for something that cannot be.
//!
//! Owns the stable codes. A rejection is the user's to mend and says how; a fault of ours is never one.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $variant:ident = $text:literal,)*) => {
        /// A stable name for a rejection. Each has its own heading in `docs/errors.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $($(#[doc = $doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text that is shown and searched for.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }
    };
}

codes! {
    /// Nothing has this id or name.
    NotFound = "not-found",
    /// The action definition has errors.
    InvalidDefinition = "invalid-definition",
    /// The action was archived.
    ActionArchived = "action-archived",
    /// The name is not one.
    InvalidName = "invalid-name",
    /// The schedule is none, or one that never comes.
    InvalidSchedule = "invalid-schedule",
    /// The execution has no repositories to run over.
    NoRepositories = "no-repositories",
    /// The preview cannot be made.
    PreviewFailed = "preview-failed",
    /// The preview is not there yet.
    PreviewPending = "preview-pending",
    /// The scope needs what this server cannot do.
    UnsupportedScope = "unsupported-scope",
    /// The secret's value or name is none that can be kept.
    InvalidSecret = "invalid-secret",
    /// A step asks for a secret that is not set.
    SecretNotSet = "secret-not-set",
    /// Nobody has announced a key to seal secrets to.
    NoSealingKey = "no-sealing-key",
    /// The thing exists already.
    AlreadyExists = "already-exists",
    /// The thing has ended already.
    AlreadyEnded = "already-ended",
    /// The thing has not ended yet.
    NotEnded = "not-ended",
    /// There is no job that could be tried again.
    NothingToRetry = "nothing-to-retry",
    /// The command does not fit the state.
    IllegalTransition = "illegal-transition",
    /// The attempt was superseded by a later one, or never given out.
    StaleAttempt = "stale-attempt",
    /// Others changed the same thing again and again.
    Busy = "busy",
    /// The broker cannot be reached or cannot store.
    BrokerUnavailable = "broker-unavailable",
    /// The projection has not reached the sequence that was asked for.
    StaleProjection = "stale-projection",
    /// The archive of an action's files is not one that may be unpacked.
    InvalidFiles = "invalid-files",
    /// The files that an action's steps mount are too large or too many.
    FilesTooLarge = "files-too-large",
    /// The files that an action's steps mount are not there.
    FilesMissing = "files-missing",
    /// The one-time token of a runner is not one.
    TokenUnknown = "token-unknown",
    /// The one-time token of a runner was redeemed.
    TokenUsed = "token-used",
    /// The one-time token of a runner came too late.
    TokenExpired = "token-expired",
    /// The runner may not connect any more.
    RunnerRevoked = "runner-revoked",
    /// Nobody is known to ask: there is no token, or one that is worth nothing.
    Unauthenticated = "unauthenticated",
    /// The role of whoever asks is too low.
    Forbidden = "forbidden",
    /// There were too many attempts at signing in.
    TooManyAttempts = "too-many-attempts",
    /// There were too many requests with this token.
    RateLimited = "rate-limited",
    /// The password is none that can be kept.
    InvalidPassword = "invalid-password",
    /// The name of whoever comes from a provider of identities is a user's who is not known to be the same person.
    NotLinked = "not-linked",
    /// The provider of identities does not answer.
    ProviderUnavailable = "provider-unavailable",
    /// Nobody would be left who decides who may do what.
    LastAdmin = "last-admin",
    /// A field of the request is wrong.
    InvalidRequest = "invalid-request",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a command was refused and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// The stable name.
    pub code: Code,
    /// What is wrong, with the values at hand.
    pub message: String,
    /// What the user can do.
    pub hint: String,
}

impl Rejection {
    /// Refuses with a reason and a way out.
    pub fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}
