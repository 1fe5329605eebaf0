//! Steps: one after the other, each said once.

use events::rejection::Code;

use super::*;

#[test]
fn steps_begin_and_end_in_order() {
    running([]).when(start_step(1, 1)).then(step_started(1, 1));
    running([step_started(1, 1)]).when(finish_step(1, 1)).then(step_finished(1, 1));
    running([step_started(1, 1), step_finished(1, 1)]).when(start_step(1, 2)).then(step_started(1, 2));
}

#[test]
fn a_step_that_is_reported_again_is_no_news() {
    let two = || [step_started(1, 1), step_finished(1, 1), step_started(1, 2)];
    running(two()).when(start_step(1, 1)).then_nothing();
    running(two()).when(start_step(1, 2)).then_nothing();
    running(two()).when(finish_step(1, 1)).then_nothing();
    // Also after the end: reports may be delivered twice.
    running([step_started(1, 1), step_finished(1, 1), succeeded(1)]).when(finish_step(1, 1)).then_nothing();
    running([step_started(1, 1), step_finished(1, 1), succeeded(1)]).when(start_step(1, 1)).then_nothing();
}

#[test]
fn no_step_is_skipped() {
    running([]).when(start_step(1, 2)).then_refused(Code::IllegalTransition);
    running([step_started(1, 1)]).when(start_step(1, 2)).then_refused(Code::IllegalTransition);
    running([]).when(finish_step(1, 1)).then_refused(Code::IllegalTransition);
    running([step_started(1, 1)]).when(finish_step(1, 2)).then_refused(Code::IllegalTransition);
    given([queued(), assigned(1)]).when(start_step(1, 1)).then_refused(Code::IllegalTransition);
}

#[test]
fn each_attempt_begins_with_the_first_step() {
    let second = || [step_started(1, 1), step_finished(1, 1), lost(1), assigned(2), started(2)];
    running(second()).when(start_step(2, 2)).then_refused(Code::IllegalTransition);
    running(second()).when(start_step(2, 1)).then(step_started(2, 1));
    running(second()).when(finish_step(2, 1)).then_refused(Code::IllegalTransition);
    running(second()).when(finish_step(1, 1)).then_refused(Code::StaleAttempt);
}

#[test]
fn nothing_begins_after_the_end() {
    running([step_started(1, 1), step_finished(1, 1), canceled(Some(1))])
        .when(start_step(1, 2))
        .then_nothing();
    running([step_started(1, 1), canceled(Some(1))]).when(finish_step(1, 1)).then_nothing();
}

#[test]
fn a_straggler_whose_earlier_words_were_dropped_is_no_fault() {
    for late in [start_step(1, 3), finish_step(1, 2)] {
        running([step_started(1, 1), lost(1)]).when(late.clone()).then_refused(Code::StaleAttempt);
        running([step_started(1, 1), canceled(Some(1))]).when(late).then_nothing();
    }
}
