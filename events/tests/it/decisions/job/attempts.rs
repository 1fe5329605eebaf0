//! Attempts: given out one after the other, and only the last one counts.

use events::rejection::Code;

use super::*;

#[test]
fn it_is_queued_once() {
    given([]).when(Command::Queue(workspace(""))).then(queued());
    given([queued()]).when(Command::Queue(workspace(""))).then_nothing();
    given([queued()]).when(Command::Queue(workspace("elsewhere"))).then_nothing();
    running([succeeded(1)]).when(Command::Queue(workspace(""))).then_nothing();
}

#[test]
fn nothing_can_be_asked_of_one_that_does_not_exist() {
    let attempts = [assign(1), start(1), start_step(1, 1), finish_step(1, 1), succeed(1), fail(1), lose(1)];
    let wishes = [Command::TimeOut(time_out(1)), Command::RequestCancel, cancel(), Command::Retry];
    for command in attempts.into_iter().chain(wishes).chain([seal(1, 31)]) {
        given([]).when(command).then_refused(Code::NotFound);
    }
}

#[test]
fn a_runner_gets_the_next_attempt() {
    given([queued()]).when(assign(1)).then(assigned(1));
    given([queued()]).when(assign(0)).then_refused(Code::StaleAttempt);
    given([queued()]).when(assign(2)).then_refused(Code::StaleAttempt);
    running([lost(1)]).when(assign(2)).then(assigned(2));
    running([lost(1)]).when(assign(1)).then_refused(Code::StaleAttempt);
    running([failed(1), retried()]).when(assign(2)).then(assigned(2));
}

#[test]
fn an_attempt_belongs_to_one_runner() {
    let to_another = Command::Assign { attempt: 1, runner: runner(77), secrets: Vec::new() };
    given([queued(), assigned(1)]).when(assign(1)).then_nothing();
    given([queued(), assigned(1)]).when(to_another.clone()).then_refused(Code::IllegalTransition);
    given([queued(), assigned(1)]).when(assign(2)).then_refused(Code::IllegalTransition);
    running([]).when(to_another).then_refused(Code::IllegalTransition);
    running([]).when(assign(2)).then_refused(Code::IllegalTransition);
    running([succeeded(1)]).when(assign(2)).then_refused(Code::IllegalTransition);
}

#[test]
fn the_runner_that_has_it_starts_it_once() {
    given([queued(), assigned(1)]).when(start(1)).then(started(1));
    given([queued(), assigned(1)]).when(start(2)).then_refused(Code::StaleAttempt);
    running([]).when(start(1)).then_nothing();
    given([queued()]).when(start(1)).then_refused(Code::StaleAttempt);
    running([lost(1)]).when(start(1)).then_refused(Code::StaleAttempt);
    running([lost(1), assigned(2)]).when(start(1)).then_refused(Code::StaleAttempt);
    running([succeeded(1)]).when(start(1)).then_refused(Code::StaleAttempt);
}

#[test]
fn a_lost_attempt_lets_the_job_wait_for_the_next() {
    given([queued(), assigned(1)]).when(lose(1)).then(lost(1));
    running([]).when(lose(1)).then(lost(1));
    running([lost(1)]).when(lose(1)).then_refused(Code::StaleAttempt);
    running([lost(1), assigned(2)]).when(lose(1)).then_refused(Code::StaleAttempt);
    running([]).when(lose(2)).then_refused(Code::StaleAttempt);
    given([queued()]).when(lose(0)).then_refused(Code::StaleAttempt);
    running([failed(1)]).when(lose(1)).then_nothing();
}

#[test]
fn three_losses_end_the_job() {
    let second = lost_to(LossCause::Runner, 2, Some(5));
    running([lost(1), assigned(2)]).when(lose(2)).then(second.clone());
    running([lost(1), assigned(2), second.clone(), assigned(3)]).when(lose(3)).then(worn_out(3));
    running([lost(1), assigned(2), second, assigned(3), started(3)]).when(lose(3)).then(worn_out(3));
}

#[test]
fn each_loss_lets_the_next_attempt_wait_longer() {
    let infrastructure = |attempt, wait| lost_to(LossCause::Infrastructure, attempt, wait);
    running([]).when(lose_to(LossCause::Infrastructure, 1)).then(infrastructure(1, Some(5)));
    running([infrastructure(1, Some(5)), assigned(2)])
        .when(lose_to(LossCause::Infrastructure, 2))
        .then(infrastructure(2, Some(25)));
    let job = fold([queued(), assigned(1), lost(1)], evolve);
    assert_eq!(job.retry_at, Some(now() + TimeDelta::seconds(1)));
    assert_eq!(evolve(job, &assigned(2)).retry_at, None);
}

#[test]
fn what_does_not_work_three_times_is_the_infrastructures_doing() {
    let lost = |attempt| lost_to(LossCause::Infrastructure, attempt, None);
    let job = fold([queued(), assigned(1), lost(1), assigned(2), lost(2), assigned(3)], evolve);
    let Ok(Some(Event::Failed(failed))) = decide(&job, lose_to(LossCause::Infrastructure, 3)) else {
        panic!("it ends")
    };
    assert_eq!(failed.origin, FailureOrigin::Infrastructure);
    assert_eq!(failed.failure.kind, FailureKind::Infrastructure);
    assert!(failed.failure.message.ends_with("its heart stopped"), "{}", failed.failure.message);
}

#[test]
fn what_a_runner_hands_back_is_no_loss_and_does_not_wait() {
    let back = |attempt| lost_to(LossCause::Drained, attempt, None);
    running([]).when(lose_to(LossCause::Drained, 1)).then(back(1));
    running([back(1), assigned(2), back(2), assigned(3), back(3), assigned(4)])
        .when(lose_to(LossCause::Drained, 4))
        .then(back(4));
    running([back(1), assigned(2), back(2), assigned(3), back(3), assigned(4)]).when(lose(4)).then(lost(4));
}

#[test]
fn a_retry_grants_three_more_losses() {
    let worn = [lost(1), assigned(2), lost(2), assigned(3), worn_out(3), retried(), assigned(4)];
    running(worn.clone()).when(lose(4)).then(lost(4));
    let again = [lost(4), assigned(5), lost_to(LossCause::Runner, 5, Some(5)), assigned(6)];
    let history = [queued(), assigned(1), started(1)].into_iter().chain(worn).chain(again);
    Given::new(fold(history, evolve), decide).when(lose(6)).then(worn_out(6));
}

#[test]
fn a_straggler_changes_nothing() {
    let stragglers =
        [start_step(1, 1), finish_step(1, 1), succeed(1), fail(1), Command::TimeOut(time_out(1)), lose(1)];
    for late in stragglers {
        running([lost(1)]).when(late.clone()).then_refused(Code::StaleAttempt);
        running([lost(1), assigned(2)]).when(late.clone()).then_refused(Code::StaleAttempt);
        running([lost(1), assigned(2), started(2)]).when(late.clone()).then_refused(Code::StaleAttempt);
        running([lost(1), assigned(2), started(2), failed(2)]).when(late).then_refused(Code::StaleAttempt);
    }
}

#[test]
fn an_attempt_that_was_never_given_out_has_no_say() {
    for early in [start_step(2, 1), finish_step(2, 1), succeed(2), fail(2), Command::TimeOut(time_out(2))] {
        running([]).when(early).then_refused(Code::StaleAttempt);
    }
}

#[test]
fn an_attempt_that_comes_back_before_it_began_is_no_loss() {
    given([queued(), assigned(1)]).when(give_back(1)).then(returned(1));
    given([queued(), assigned(1)]).when(give_back(2)).then_refused(Code::StaleAttempt);
    given([queued(), assigned(1), returned(1)]).when(give_back(1)).then_refused(Code::StaleAttempt);
    given([queued(), assigned(1), returned(1)]).when(assign(2)).then(assigned(2));
    running([]).when(give_back(1)).then_refused(Code::IllegalTransition);
    running([failed(1)]).when(give_back(1)).then_nothing();
    let many = (1..20).flat_map(|attempt| [assigned(attempt), returned(attempt)]);
    assert_eq!(fold([queued()].into_iter().chain(many), evolve).losses, 0);
}

#[test]
fn only_a_job_that_waits_can_wait_too_long() {
    let time_out = || Command::TimeOutQueued(wait_in_vain());
    given([]).when(time_out()).then_refused(Code::NotFound);
    given([queued()]).when(time_out()).then(wait_in_vain());
    running([lost(1)]).when(time_out()).then(wait_in_vain());
    given([queued(), assigned(1)]).when(time_out()).then_nothing();
    running([]).when(time_out()).then_nothing();
    given([queued(), wait_in_vain().into()]).when(time_out()).then_nothing();
    given([queued(), wait_in_vain().into()]).when(assign(1)).then_refused(Code::IllegalTransition);
    given([queued(), wait_in_vain().into(), retried()]).when(assign(1)).then(assigned(1));
}
