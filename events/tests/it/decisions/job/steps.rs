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
fn a_step_is_skipped_in_its_turn() {
    running([]).when(skip_step(1, 1)).then(step_skipped(1, 1));
    running([step_skipped(1, 1)]).when(start_step(1, 2)).then(step_started(1, 2));
    running([step_skipped(1, 1)]).when(skip_step(1, 1)).then_nothing();
    running([step_skipped(1, 1)]).when(skip_step(1, 2)).then(step_skipped(1, 2));
    running([step_started(1, 1)]).when(skip_step(1, 1)).then_refused(Code::IllegalTransition);
    running([]).when(skip_step(1, 2)).then_refused(Code::IllegalTransition);
    running([step_skipped(1, 1), lost(1), assigned(2), started(2)])
        .when(skip_step(2, 2))
        .then_refused(Code::IllegalTransition);
}

#[test]
fn steps_are_reused_before_any_begins() {
    running([]).when(reuse_steps(1, 3)).then(steps_reused(1, 3));
    running([steps_reused(1, 3)]).when(reuse_steps(1, 3)).then_nothing();
    running([steps_reused(1, 3)]).when(start_step(1, 4)).then(step_started(1, 4));
    running([steps_reused(1, 3)]).when(skip_step(1, 4)).then(step_skipped(1, 4));
    running([steps_reused(1, 3)]).when(start_step(1, 5)).then_refused(Code::IllegalTransition);
    running([step_started(1, 1)]).when(reuse_steps(1, 3)).then_refused(Code::IllegalTransition);
    running([steps_reused(1, 3), lost(1), assigned(2), started(2)])
        .when(start_step(2, 1))
        .then(step_started(2, 1));
}

#[test]
fn what_had_succeeded_is_tried_again_in_full() {
    let tried = |events: &[Event]| events.iter().fold(Job::default(), events::job::evolve).anew;
    assert!(tried(&[queued(), assigned(1), started(1), succeeded(1), retried()]));
    assert!(!tried(&[queued(), assigned(1), started(1), failed(1), retried()]));
    assert!(tried(&[queued(), assigned(1), started(1), succeeded(1), retried(), assigned(2), lost(2)]));
}

#[test]
fn no_step_is_left_out() {
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
