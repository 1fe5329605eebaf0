//! Which events somebody asks for, and which of those they may see.
//!
//! Owns what is kept back: who the users are and which tokens they have is for administrators, here as in queries; and a secret,
//! though sealed, is nobody's to collect.

use broker::Message;
use events::filter::{self, Filter};
use events::rejection::Code;
use events::user::Role;
use events::{AggregateKind, subject};

use crate::access::Caller;
use crate::fault::Fault;

/// How many filters may be given at once.
const FILTERS: usize = 32;

/// Events that were asked for.
pub(crate) struct Selection {
    /// The subjects to ask the broker for.
    pub(crate) subjects: Vec<String>,
    /// How the subjects begin of which the caller learns nothing.
    kept_back: Vec<String>,
}

impl Selection {
    /// Reads filters in somebody's name; none: all events.
    ///
    /// # Errors
    /// A rejection when one is no filter, when there are too many, or when one is for what the caller may not see.
    pub(crate) fn read(caller: &Caller, filters: &[&str]) -> Result<Self, Fault> {
        let subjects = subjects(filters)?;
        if caller.role >= Role::Admin {
            return Ok(Self { subjects, kept_back: Vec::new() });
        }
        let kinds = [AggregateKind::User, AggregateKind::Token, AggregateKind::Secret];
        let prefixes = kinds.map(|kind| subject::every(kind, "*").trim_end_matches("*.*").to_owned());
        match subjects.iter().find(|subject| prefixes.iter().any(|prefix| subject.starts_with(prefix))) {
            Some(subject) => {
                let message = format!("the events of `{subject}` are for administrators");
                Err(Fault::new(Code::Forbidden, message, "Leave that filter out."))
            }
            None => Ok(Self { subjects, kept_back: prefixes.into() }),
        }
    }

    /// Whether it is the whole log, as far as the broker is asked.
    pub(crate) fn is_everything(&self) -> bool {
        self.subjects == [subject::ALL_EVENTS] && self.kept_back.is_empty()
    }

    /// Whether the caller may see this one.
    pub(crate) fn lets_through(&self, message: &Message) -> bool {
        !self.kept_back.iter().any(|prefix| message.subject.starts_with(prefix))
    }
}

fn subjects(filters: &[&str]) -> Result<Vec<String>, Fault> {
    if filters.len() > FILTERS {
        let message = format!("there are {} filters", filters.len());
        return Err(Fault::invalid(message, format!("Give {FILTERS} at most.")));
    }
    let read = |text: &&str| {
        text.parse::<Filter>().map_err(|error| {
            Fault::invalid(
                format!("`{text}` is no filter of events: {error}"),
                "docs/events.md lists the subjects.",
            )
        })
    };
    let filters: Vec<Filter> = filters.iter().map(read).collect::<Result<_, _>>()?;
    Ok(filter::subjects(&filters))
}
