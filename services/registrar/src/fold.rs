//! What the registrar knows: each runner's enrollment, and whose each key is.
//!
//! Owns the state and nothing else. Invariant: a key is in the index exactly while it speaks for its runner.

use std::collections::HashMap;

use events::enrollment::{self, Enrollment};
use events::envelope::Recorded;
use events::id::RunnerId;
use events::{Aggregate, Event};

/// The enrollments.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    enrollments: HashMap<RunnerId, Enrollment>,
    keys: HashMap<String, RunnerId>,
}

impl Fold {
    /// Takes an event in. Returns the runner whose connections have to end: whoever is connected is not it any more.
    pub(crate) fn apply(&mut self, recorded: &Recorded) -> Option<RunnerId> {
        let (Aggregate::Enrollment(runner), Event::Enrollment(event)) =
            (&recorded.aggregate, &recorded.event)
        else {
            return None;
        };
        let before = self.enrollments.remove(runner).unwrap_or_default();
        let old_key = before.enrolled.as_ref().map(|enrolled| enrolled.public_key.clone());
        let after = enrollment::evolve(before, event);
        let new_key = after.enrolled.as_ref().map(|enrolled| enrolled.public_key.clone());
        self.enrollments.insert(runner.clone(), after);
        if old_key == new_key {
            return None;
        }
        if let Some(key) = new_key {
            self.keys.insert(key, runner.clone());
        }
        self.keys.remove(&old_key?);
        Some(runner.clone())
    }

    /// The runner that a key speaks for.
    pub(crate) fn runner_of(&self, public_key: &str) -> Option<&RunnerId> {
        self.keys.get(public_key)
    }

    /// The runners that were revoked.
    pub(crate) fn revoked(&self) -> impl Iterator<Item = &RunnerId> {
        self.enrollments.iter().filter(|(_, enrollment)| enrollment.revoked).map(|(runner, _)| runner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use events::blob::Sha256;
    use events::enrollment::{Enrolled, Revoked};
    use events::envelope::{Actor, event_id};
    use events::id::CommandId;

    use super::*;

    fn recorded(runner: &str, event: impl Into<enrollment::Event>) -> Recorded {
        let aggregate = Aggregate::Enrollment(runner.parse().unwrap());
        Recorded {
            sequence: 1,
            id: event_id(CommandId::derived(&["test"]), &aggregate),
            time: chrono::Utc::now(),
            actor: Actor::service("test"),
            correlation: String::new(),
            causation: None,
            aggregate,
            event: Event::Enrollment(event.into()),
        }
    }

    fn enrolled(key: &str) -> Enrolled {
        Enrolled { token_sha256: Sha256::from_bytes(&[7; 32]), public_key: key.to_owned() }
    }

    #[test]
    fn a_key_speaks_for_its_runner_until_another_does_or_none() {
        let mut fold = Fold::default();
        let north = || Some("north".parse().unwrap());
        assert_eq!(fold.apply(&recorded("north", enrolled("UA"))), None);
        assert_eq!(fold.apply(&recorded("south", enrolled("UB"))), None);
        assert_eq!(fold.runner_of("UA").cloned(), north());
        assert_eq!(fold.apply(&recorded("north", enrolled("UC"))), north());
        assert_eq!((fold.runner_of("UA"), fold.runner_of("UC").cloned()), (None, north()));
        assert_eq!(fold.apply(&recorded("north", Revoked {})), north());
        assert_eq!(fold.runner_of("UC"), None);
        assert_eq!(fold.revoked().cloned().collect::<Vec<_>>(), [north().unwrap()]);
        assert!(fold.runner_of("UB").is_some());
    }
}
