//! Why the sandbox could not do it, told apart by who can mend it.
//!
//! Owns the reading of the engine's errors. Never retries. Invariant: what another attempt could mend is never told to
//! the user as theirs, and what only the user can mend never costs another attempt.

use events::job::{Failure, FailureKind};

/// Why the sandbox could not do it.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The job asks for what cannot be: it fails.
    User(Failure),
    /// The engine is away or cannot go on: the attempt is abandoned, and another one may do better.
    Engine(anyhow::Error),
}

impl Trouble {
    /// Makes the user's failure of an image.
    pub(super) fn image(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::failure(FailureKind::Image, message, hint)
    }

    /// Makes a failure of the user's, outside of any step as far as the sandbox knows.
    pub(super) fn failure(kind: FailureKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::User(Failure { kind, step: None, exit_code: None, message: message.into(), hint: hint.into() })
    }
}
