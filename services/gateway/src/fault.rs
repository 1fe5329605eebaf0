//! What a request gets instead of an answer: a rejection, which is its sender's to mend, or a reference to a fault of ours.
//!
//! Owns the border between the two. A fault of ours is logged with its whole chain, once, where it becomes a `Fault`;
//! nothing of it is shown but the reference.

use async_graphql::{ErrorExtensionValues, ErrorExtensions as _};
use broker::{AppendError, BlobError, DecideError, FollowError, ReadError, SealedLogError};
use events::Rejection;
use events::rejection::Code;
use serde_json::{Map, Value};

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The request cannot be fulfilled as it is.
    Rejected {
        /// Why, and what to do.
        rejection: Rejection,
        /// What else a program may want to know.
        details: Map<String, Value>,
    },
    /// It is our fault; the log has it under this reference.
    Ours {
        /// Eight hexadecimal digits.
        reference: String,
    },
}

/// The code of a fault of ours.
pub(crate) const INTERNAL: &str = "internal";

impl Fault {
    /// A rejection without details.
    pub(crate) fn new(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Rejection::new(code, message, hint).into()
    }

    /// A field of the request is wrong.
    pub(crate) fn invalid(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, message, hint)
    }

    /// Logs a fault of ours.
    pub(crate) fn ours(error: impl Into<anyhow::Error>) -> Self {
        let error: anyhow::Error = error.into();
        let reference = format!("{:08x}", uuid::Uuid::new_v4().as_fields().0);
        tracing::error!(reference, error = format!("{error:#}"), "a request could not be answered");
        Self::Ours { reference }
    }

    /// The broker does not answer, which passes.
    fn broker_away(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error = chain(error), "a request needs the broker, which does not answer");
        Self::broker_unavailable("the broker does not answer")
    }

    /// A command or a stream needs the broker in vain.
    pub(crate) fn broker_unavailable(message: impl Into<String>) -> Self {
        Self::new(
            Code::BrokerUnavailable,
            message,
            "Try again in a moment. Does nats-server run, is its disk full?",
        )
    }

    /// Says one thing more to programs.
    pub(crate) fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Self::Rejected { details, .. } = &mut self {
            details.insert(name.to_owned(), value.into());
        }
        self
    }

    /// The message, the code and the hint.
    pub(crate) fn parts(&self) -> (String, &'static str, &str) {
        match self {
            Self::Rejected { rejection, .. } => {
                (rejection.message.clone(), rejection.code.as_str(), &rejection.hint)
            }
            Self::Ours { reference } => {
                let hint = "The gateway's log says more under this reference.";
                (format!("internal error, reference {reference}"), INTERNAL, hint)
            }
        }
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected { rejection, details: Map::new() }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable | ReadError::Closed | ReadError::Failed(_) => Self::broker_away(&error),
            ReadError::Refused(_) | ReadError::Undecodable(_) => Self::ours(error),
        }
    }
}

impl From<DecideError> for Fault {
    fn from(error: DecideError) -> Self {
        match error {
            DecideError::Rejected(rejection) => rejection.into(),
            DecideError::Read(error) => error.into(),
            DecideError::Append(AppendError::Read(error)) => error.into(),
            DecideError::Append(AppendError::TooLarge { bytes, .. }) => Self::invalid(
                format!(
                    "with {bytes} bytes the request is larger than an event may be, which is about 1 MiB"
                ),
                "Split it: fewer repositories in one execution, or a shorter definition.",
            ),
            DecideError::Append(error) => Self::ours(error),
        }
    }
}

impl From<BlobError> for Fault {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Read(error) => error.into(),
            other => Self::ours(other),
        }
    }
}

impl From<SealedLogError> for Fault {
    fn from(error: SealedLogError) -> Self {
        match error {
            SealedLogError::Blob(error) => error.into(),
            other => Self::ours(other),
        }
    }
}

impl From<FollowError> for Fault {
    fn from(error: FollowError) -> Self {
        Self::ours(error)
    }
}

// `Fault` has no `Display` on purpose: what is shown is decided here and nowhere else.
impl From<Fault> for async_graphql::Error {
    fn from(fault: Fault) -> Self {
        let (message, code, hint) = fault.parts();
        let error = Self::new(message).extend_with(|_, extensions: &mut ErrorExtensionValues| {
            extensions.set("code", code);
            extensions.set("hint", hint);
        });
        let Fault::Rejected { details, .. } = fault else { return error };
        error.extend_with(|_, extensions| {
            for (name, value) in details {
                extensions.set(name, async_graphql::Value::from_json(value).unwrap_or_default());
            }
        })
    }
}
