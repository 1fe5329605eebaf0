//! What keeps a repository out of an execution, and what merely keeps us from saying so yet.
//!
//! Owns the difference: a skip is a result and final for its execution; everything else is tried again.

use events::document::SkipReason;

/// Why there is no workspace, or not yet.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There will be none: it lies with the repository.
    Skip(Skip),
    /// It lies with us or with the machine, and passes.
    Ours(anyhow::Error),
}

/// Why a repository or a branch of it gets no job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) reason: SkipReason,
    /// In words, with what to do about it.
    pub(crate) message: String,
}

impl Skip {
    pub(crate) fn new(reason: SkipReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(SkipReason::Unreachable, message)
    }
}

impl From<Skip> for Trouble {
    fn from(skip: Skip) -> Self {
        Self::Skip(skip)
    }
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Ours(error)
    }
}
