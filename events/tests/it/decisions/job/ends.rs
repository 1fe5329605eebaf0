//! Ends: a job ends once, and only a retry opens it again.

use events::rejection::Code;

use super::*;

#[test]
fn the_attempt_that_runs_ends_the_job() {
    running([]).when(succeed(1)).then(succeeded(1));
    running([]).when(fail(1)).then(failed(1));
    running([]).when(Command::TimeOut(time_out(1))).then(timed_out(1));
    running([step_started(1, 1)]).when(fail(1)).then(failed(1));
}

#[test]
fn the_first_end_stands() {
    for end in [succeeded(1), failed(1), timed_out(1), canceled(Some(1))] {
        for late in [succeed(1), fail(1), Command::TimeOut(time_out(1)), lose(1)] {
            running([end.clone()]).when(late).then_nothing();
        }
    }
}

#[test]
fn an_attempt_cannot_end_before_it_started() {
    for end in [succeed(1), fail(1), Command::TimeOut(time_out(1))] {
        given([queued(), assigned(1)]).when(end).then_refused(Code::IllegalTransition);
    }
}

#[test]
fn a_wish_to_stop_is_noted_once() {
    given([queued()]).when(Command::RequestCancel).then(cancel_requested());
    given([queued(), assigned(1)]).when(Command::RequestCancel).then(cancel_requested());
    running([]).when(Command::RequestCancel).then(cancel_requested());
    running([cancel_requested()]).when(Command::RequestCancel).then_nothing();
    for end in [succeeded(1), failed(1), timed_out(1), canceled(Some(1))] {
        running([end]).when(Command::RequestCancel).then_refused(Code::AlreadyEnded);
    }
}

#[test]
fn a_job_that_waits_is_stopped_at_once() {
    given([queued()]).when(cancel()).then(canceled(None));
    given([queued(), cancel_requested()]).when(cancel()).then(canceled(None));
    running([lost(1)]).when(cancel()).then(canceled(None));
    given([queued(), canceled(None)]).when(cancel()).then_nothing();
    running([stopped(1)]).when(cancel()).then_nothing();
    running([succeeded(1)]).when(cancel()).then_refused(Code::AlreadyEnded);
    running([failed(1)]).when(cancel()).then_refused(Code::AlreadyEnded);
}

#[test]
fn what_a_runner_has_is_stopped_by_the_runner() {
    running([]).when(cancel()).then_refused(Code::IllegalTransition);
    given([queued(), assigned(1), cancel_requested()]).when(cancel()).then_refused(Code::IllegalTransition);
    given([queued(), assigned(1), cancel_requested()]).when(stop(1)).then(stopped(1));
    running([cancel_requested()]).when(stop(1)).then(stopped(1));
    running([cancel_requested(), stopped(1)]).when(stop(1)).then_nothing();
    running([cancel_requested(), succeeded(1)]).when(stop(1)).then_nothing();
    running([cancel_requested()]).when(stop(2)).then_refused(Code::StaleAttempt);
    running([lost(1), assigned(2), cancel_requested()]).when(stop(1)).then_refused(Code::StaleAttempt);
}

#[test]
fn a_runner_cannot_cancel_what_nobody_wants_to_stop() {
    running([]).when(stop(1)).then_refused(Code::IllegalTransition);
    given([queued(), assigned(1)]).when(stop(1)).then_refused(Code::IllegalTransition);
    running([lost(1)]).when(stop(1)).then_refused(Code::StaleAttempt);
}

#[test]
fn a_wish_to_stop_does_not_undo_an_end() {
    running([cancel_requested()]).when(succeed(1)).then(succeeded(1));
    running([cancel_requested()]).when(fail(1)).then(failed(1));
}

#[test]
fn what_is_to_stop_is_not_given_out_again() {
    given([queued(), cancel_requested()]).when(assign(1)).then_refused(Code::IllegalTransition);
    for cause in [LossCause::Runner, LossCause::Infrastructure, LossCause::Drained] {
        running([cancel_requested()]).when(lose_to(cause, 1)).then(canceled(Some(1)));
        given([queued(), assigned(1), cancel_requested()]).when(lose_to(cause, 1)).then(canceled(Some(1)));
    }
    running([lost(1), cancel_requested()]).when(assign(2)).then_refused(Code::IllegalTransition);
}

#[test]
fn only_a_retry_opens_it_again() {
    for end in [succeeded(1), failed(1), timed_out(1), canceled(Some(1))] {
        running([end.clone()]).when(Command::Retry).then(retried());
        running([end.clone(), retried()]).when(Command::Retry).then_nothing();
        running([end, retried()]).when(assign(2)).then(assigned(2));
    }
    given([queued()]).when(Command::Retry).then_nothing();
    given([queued(), assigned(1)]).when(Command::Retry).then_nothing();
    running([]).when(Command::Retry).then_nothing();
}

#[test]
fn the_attempt_before_the_retry_has_no_say() {
    for late in [succeed(1), fail(1), Command::TimeOut(time_out(1)), lose(1), start(1)] {
        running([failed(1), retried()]).when(late).then_refused(Code::StaleAttempt);
    }
}

#[test]
fn a_retry_forgets_the_wish_to_stop() {
    running([cancel_requested(), canceled(Some(1)), retried()])
        .when(Command::RequestCancel)
        .then(cancel_requested());
}

#[test]
fn the_state_says_how_it_ended_and_who_has_it() {
    for (event, outcome) in [
        (succeeded(1), Outcome::Succeeded),
        (failed(1), Outcome::Failed),
        (timed_out(1), Outcome::Failed),
        (canceled(Some(1)), Outcome::Canceled),
    ] {
        let job = fold([queued(), assigned(1), started(1), event], evolve);
        assert_eq!((job.outcome(), job.runner()), (Some(outcome), None));
    }
    let job = fold([queued(), assigned(1)], evolve);
    assert_eq!((job.outcome(), job.runner()), (None, Some(&runner(1))));
    assert_eq!(fold([queued()], evolve).runner(), None);
}
