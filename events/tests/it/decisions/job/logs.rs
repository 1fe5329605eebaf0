//! Logs: each attempt's is sealed once, and again only when there is more of it.

use events::rejection::Code;

use super::*;

#[test]
fn the_log_of_an_attempt_is_sealed_once() {
    running([succeeded(1)]).when(seal(1, 31)).then(sealed(1, 31));
    running([succeeded(1), sealed(1, 31)]).when(seal(1, 31)).then_nothing();
    running([succeeded(1), sealed(1, 31)]).when(seal(1, 30)).then_nothing();
}

#[test]
fn it_is_sealed_again_when_more_of_it_turned_up() {
    running([lost(1), sealed(1, 30)]).when(seal(1, 31)).then(sealed(1, 31));
    running([lost(1), sealed(1, 30), sealed(1, 31)]).when(seal(1, 31)).then_nothing();
    running([lost(1), sealed(1, 30), sealed(1, 31)]).when(seal(1, 30)).then_nothing();
}

#[test]
fn each_attempt_has_a_log_of_its_own() {
    let second = || [lost(1), assigned(2), started(2), sealed(1, 31)];
    running(second()).when(seal(2, 7)).then(sealed(2, 7));
    running(second()).when(seal(1, 31)).then_nothing();
    // The log of a lost attempt is stored long after the next one began.
    running([lost(1), assigned(2), started(2)]).when(seal(1, 31)).then(sealed(1, 31));
}

#[test]
fn an_attempt_that_was_never_given_out_has_no_log() {
    given([queued()]).when(seal(0, 31)).then_refused(Code::StaleAttempt);
    given([queued()]).when(seal(1, 31)).then_refused(Code::StaleAttempt);
    running([]).when(seal(2, 31)).then_refused(Code::StaleAttempt);
    running([]).when(seal(0, 31)).then_refused(Code::StaleAttempt);
}

#[test]
fn sealing_changes_nothing_else() {
    let before = fold([queued(), assigned(1), started(1)], evolve);
    let after = evolve(before.clone(), &sealed(1, 31));
    assert_eq!(after.sealed, [(1, 31)]);
    assert_eq!(Job { sealed: Vec::new(), ..after }, before);
}
