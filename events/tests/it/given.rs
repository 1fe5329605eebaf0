//! Given a history, when a command comes, then this happens: a decision as one line of data.

use std::fmt::Debug;

use events::Rejection;
use events::rejection::Code;

/// What an aggregate answers to a command.
pub(crate) type Decide<S, C, E> = fn(&S, C) -> Result<Option<E>, Rejection>;

/// An aggregate with a history.
pub(crate) struct Given<S, C, E> {
    state: S,
    decide: Decide<S, C, E>,
}

/// The answer to a command.
pub(crate) struct Answer<E>(Result<Option<E>, Rejection>);

/// What a history amounts to.
pub(crate) fn fold<S: Default, E>(history: impl IntoIterator<Item = E>, evolve: fn(S, &E) -> S) -> S {
    history.into_iter().fold(S::default(), |state, event| evolve(state, &event))
}

impl<S, C, E> Given<S, C, E> {
    /// An aggregate in this state.
    pub(crate) fn new(state: S, decide: Decide<S, C, E>) -> Self {
        Self { state, decide }
    }

    /// Puts a command to it.
    pub(crate) fn when(&self, command: C) -> Answer<E> {
        Answer((self.decide)(&self.state, command))
    }
}

impl<E: Debug + PartialEq> Answer<E> {
    /// This happens.
    #[track_caller]
    pub(crate) fn then(self, event: impl Into<E>) {
        assert_eq!(self.0, Ok(Some(event.into())));
    }

    /// Nothing happens: all is as asked already.
    #[track_caller]
    pub(crate) fn then_nothing(self) {
        assert_eq!(self.0, Ok(None));
    }

    /// It is refused, with words for whoever asked.
    #[track_caller]
    pub(crate) fn then_refused(self, code: Code) {
        let rejection = self.0.expect_err("a rejection");
        assert_eq!(rejection.code, code, "{rejection}");
        assert!(!rejection.message.is_empty() && !rejection.hint.is_empty(), "{rejection:?}");
    }
}
