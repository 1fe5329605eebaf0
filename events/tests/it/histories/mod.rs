//! What holds for every history.

mod job;

use std::fmt::Debug;

use events::execution::Outcome;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arbitrary::*;
use crate::given::{Decide, fold};

/// Puts commands to an aggregate one after the other. Each event must be news, and its command repeated must make none.
fn obey<S, C, E>(
    commands: Vec<C>,
    decide: Decide<S, C, E>,
    evolve: fn(S, &E) -> S,
) -> Result<(), TestCaseError>
where
    S: Default + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
    C: Clone,
    E: Debug,
{
    let mut state = S::default();
    for command in commands {
        let Ok(Some(event)) = decide(&state, command.clone()) else { continue };
        let next = evolve(state.clone(), &event);
        prop_assert_ne!(&next, &state, "{:?} changes nothing", event);
        let again = decide(&next, command);
        prop_assert!(!matches!(again, Ok(Some(_))), "{:?} and then {:?}", event, again);
        let snapshot = serde_json::to_vec(&next).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<S>(&snapshot).unwrap(), &next);
        state = next;
    }
    Ok(())
}

/// Takes in events in an order that no decision would make, then decides.
fn endure<S, C, E>(events: Vec<E>, commands: Vec<C>, decide: Decide<S, C, E>, evolve: fn(S, &E) -> S)
where
    S: Default,
{
    let state = fold(events, evolve);
    for command in commands {
        let _ = decide(&state, command);
    }
}

macro_rules! for_each_aggregate {
    ($($kind:ident: $events:ident, $commands:ident;)+) => {
        $(mod $kind {
            use events::$kind::{decide, evolve};

            use super::*;

            proptest! {
                #[test]
                fn no_history_makes_it_panic(events in vec($events(), 0..30), commands in vec($commands(), 0..30)) {
                    endure(events, commands, decide, evolve);
                }

                #[test]
                fn a_command_that_is_repeated_makes_no_second_event(commands in vec($commands(), 0..60)) {
                    obey(commands, decide, evolve)?;
                }
            }
        })+
    };
}

for_each_aggregate! {
    action: action_event, action_command;
    execution: execution_event, execution_command;
    plan: plan_event, plan_command;
    preview: preview_event, preview_command;
    repository: repository_event, repository_command;
    runner: runner_event, runner_command;
    sealing_key: sealing_key_event, sealing_key_command;
    secret: secret_event, secret_command;
    user: user_event, user_command;
    token: token_event, token_command;
}

proptest! {
    #[test]
    fn an_execution_succeeds_only_if_nothing_went_wrong(counts in counts(), canceled: bool) {
        let wrong = counts.failed.max(counts.unreachable).max(counts.canceled) > 0;
        // A job that came to an end of its own says that the execution was not stopped before it did anything.
        let stopped = canceled && (counts.canceled > 0 || counts.succeeded.max(counts.failed) == 0);
        let outcome = counts.outcome(canceled);
        prop_assert_eq!(outcome == Outcome::Succeeded, !wrong && !stopped);
        prop_assert_eq!(outcome == Outcome::Canceled, stopped);
        prop_assert!(outcome != Outcome::PartiallyFailed || counts.succeeded > 0);
        prop_assert!(outcome != Outcome::Failed || counts.succeeded == 0);
    }
}
