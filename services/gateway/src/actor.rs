//! Who asks: the one place where a request gets its actor.
//!
//! Owns the answer alone. There is no access control yet, so it is the same for all; nothing in a request can change it.

use events::envelope::Actor;

/// The actor of a request.
pub(crate) fn of_request() -> Actor {
    Actor::user("local")
}
