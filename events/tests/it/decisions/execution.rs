//! Executions: asked for once, resolved once, completed once.

use events::action::{Definition, Given as Extra};
use events::blob::{BlobKind, BlobRef, Sha256};
use events::execution::{CancelRequested, Command, Completed, Counts, Event, Execution, Lack, Outcome};
use events::execution::{
    ImagesPinned, PlanRequested, Reason, Requested, Resolved, RetryRequested, Selection,
};
use events::execution::{StarvationEnded, Starved, decide, evolve};
use events::id::{ActionId, JobId};
use events::image::ImagePin;
use events::job;
use events::rejection::Code;

use crate::given::{Given, fold};

fn given<const N: usize>(history: [Event; N]) -> Given<Execution, Command, Event> {
    Given::new(fold(history, evolve), decide)
}

fn request(revision: u32) -> Requested {
    let definition = Definition {
        file_name: "a.yaml".to_owned(),
        source: "name: tidy".to_owned(),
        given: Extra::default(),
        files: None,
    };
    Requested {
        action: ActionId::named("tidy"),
        action_name: "tidy".to_owned(),
        revision,
        definition,
        repositories: vec!["/srv/git/ledger.git".to_owned()],
        reason: Reason::Manual,
        no_cache: false,
        pool: None,
    }
}

fn scope(workspaces: u32) -> Resolved {
    let sha256 = Sha256::from_bytes(&[0xa7; 32]);
    let scope = BlobRef { kind: BlobKind::Scope, sha256, size: 48_120 };
    Resolved { scope, workspaces, skipped: 12, unreachable: 3 }
}

fn requested() -> Event {
    request(7).into()
}

fn resolved() -> Event {
    scope(200).into()
}

fn cancel_requested() -> Event {
    CancelRequested {}.into()
}

fn retry(number: u32, jobs: Selection) -> Command {
    Command::RequestRetry(RetryRequested { number, jobs })
}

fn retry_requested(number: u32, jobs: Selection) -> Event {
    RetryRequested { number, jobs }.into()
}

fn completed(outcome: Outcome, counts: Counts) -> Event {
    Completed { outcome, counts }.into()
}

const GOOD: Counts = Counts { succeeded: 200, failed: 0, canceled: 0, unreachable: 0 };
const MIXED: Counts = Counts { succeeded: 180, failed: 11, canceled: 0, unreachable: 9 };
const NONE: Counts = Counts { succeeded: 0, failed: 0, canceled: 0, unreachable: 0 };
const CUT: Counts = Counts { succeeded: 150, failed: 4, canceled: 46, unreachable: 0 };

#[test]
fn it_is_asked_for_once() {
    given([]).when(Command::Request(request(7))).then(requested());
    given([requested()]).when(Command::Request(request(7))).then_nothing();
    given([requested()]).when(Command::Request(request(8))).then_nothing();
}

#[test]
fn nothing_can_be_asked_of_one_that_does_not_exist() {
    given([]).when(Command::Resolve(scope(200))).then_refused(Code::NotFound);
    given([]).when(Command::RequestCancel).then_refused(Code::NotFound);
    given([]).when(retry(1, Selection::All)).then_refused(Code::NotFound);
    given([]).when(Command::RequestPlan).then_refused(Code::NotFound);
    given([]).when(Command::Complete(GOOD)).then_refused(Code::NotFound);
}

#[test]
fn what_was_resolved_first_stands() {
    given([requested()]).when(Command::Resolve(scope(200))).then(resolved());
    given([requested(), resolved()]).when(Command::Resolve(scope(200))).then_nothing();
    given([requested(), resolved()]).when(Command::Resolve(scope(3))).then_nothing();
    given([requested(), cancel_requested()]).when(Command::Resolve(scope(200))).then(resolved());
}

#[test]
fn it_is_canceled_while_it_runs() {
    let end = completed(Outcome::Succeeded, GOOD);
    given([requested()]).when(Command::RequestCancel).then(cancel_requested());
    given([requested(), resolved()]).when(Command::RequestCancel).then(cancel_requested());
    given([requested(), cancel_requested()]).when(Command::RequestCancel).then_nothing();
    given([requested(), resolved(), end]).when(Command::RequestCancel).then_refused(Code::AlreadyEnded);
}

#[test]
fn it_completes_once_and_only_when_it_is_known_where_it_works() {
    let running = || given([requested(), resolved()]);
    let canceled = || given([requested(), resolved(), cancel_requested()]);
    given([requested()]).when(Command::Complete(GOOD)).then_refused(Code::IllegalTransition);
    running().when(Command::Complete(GOOD)).then(completed(Outcome::Succeeded, GOOD));
    running().when(Command::Complete(MIXED)).then(completed(Outcome::PartiallyFailed, MIXED));
    canceled().when(Command::Complete(CUT)).then(completed(Outcome::Canceled, CUT));
    canceled().when(Command::Complete(NONE)).then(completed(Outcome::Canceled, NONE));
    given([requested(), cancel_requested(), resolved()])
        .when(Command::Complete(NONE))
        .then(completed(Outcome::Canceled, NONE));
    // The last job was faster than the wish to stop.
    canceled().when(Command::Complete(GOOD)).then(completed(Outcome::Succeeded, GOOD));
    given([requested(), resolved(), completed(Outcome::Succeeded, GOOD)])
        .when(Command::Complete(MIXED))
        .then_nothing();
}

#[test]
fn one_that_is_canceled_before_it_is_known_where_it_works_completes_without_a_scope() {
    let canceled = || [requested(), cancel_requested(), completed(Outcome::Canceled, NONE)];
    given([requested(), cancel_requested()])
        .when(Command::Complete(NONE))
        .then(completed(Outcome::Canceled, NONE));
    given(canceled()).when(Command::Resolve(scope(200))).then_nothing();
    for jobs in [Selection::All, Selection::Failed] {
        given(canceled()).when(retry(1, jobs)).then_refused(Code::NothingToRetry);
    }
}

#[test]
fn a_retry_opens_it_again() {
    let ended = || [requested(), resolved(), completed(Outcome::PartiallyFailed, MIXED)];
    given(ended()).when(retry(1, Selection::Failed)).then(retry_requested(1, Selection::Failed));
    given(ended()).when(retry(1, Selection::All)).then(retry_requested(1, Selection::All));
    given(ended()).when(retry(2, Selection::All)).then_refused(Code::IllegalTransition);
    let again = fold(ended().into_iter().chain([retry_requested(1, Selection::Failed)]), evolve);
    let again = Given::new(again, decide);
    again.when(retry(1, Selection::Failed)).then_nothing();
    again.when(retry(2, Selection::All)).then(retry_requested(2, Selection::All));
    again.when(Command::Complete(GOOD)).then(completed(Outcome::Succeeded, GOOD));
    again.when(Command::RequestCancel).then(cancel_requested());
}

#[test]
fn a_retry_needs_jobs_that_ended() {
    let good = Counts { unreachable: 3, ..GOOD };
    let ended = || [requested(), resolved(), completed(Outcome::PartiallyFailed, good)];
    given(ended()).when(retry(1, Selection::Failed)).then_refused(Code::NothingToRetry);
    given(ended()).when(retry(1, Selection::All)).then(retry_requested(1, Selection::All));
    // One that ended is tried again while others still run.
    given([requested(), resolved()])
        .when(retry(1, Selection::Failed))
        .then(retry_requested(1, Selection::Failed));
    // Jobs that a cancel came before are made up for.
    given([requested(), resolved(), cancel_requested(), completed(Outcome::Canceled, NONE)])
        .when(retry(1, Selection::Failed))
        .then(retry_requested(1, Selection::Failed));
}

#[test]
fn a_retry_waits_for_a_cancel_and_forgets_it() {
    given([requested(), resolved(), cancel_requested()])
        .when(retry(1, Selection::All))
        .then_refused(Code::NotEnded);
    let cut = completed(Outcome::Canceled, CUT);
    let again = [requested(), resolved(), cancel_requested(), cut, retry_requested(1, Selection::Failed)];
    given(again).when(Command::Complete(GOOD)).then(completed(Outcome::Succeeded, GOOD));
}

#[test]
fn a_selection_names_jobs_by_their_end() {
    let (one, other) = (JobId::derived(&["one"]), JobId::derived(&["other"]));
    for outcome in [job::Outcome::Succeeded, job::Outcome::Failed, job::Outcome::Canceled] {
        assert!(Selection::All.includes(one, outcome));
        assert_eq!(Selection::Failed.includes(one, outcome), outcome != job::Outcome::Succeeded);
        assert!(Selection::One { job: one }.includes(one, outcome));
        assert!(!Selection::One { job: one }.includes(other, outcome));
    }
}

#[test]
fn a_plan_is_asked_for_where_none_comes_by_itself() {
    let canceled = || [requested(), resolved(), cancel_requested(), completed(Outcome::Canceled, CUT)];
    given([requested(), resolved()]).when(Command::RequestPlan).then_refused(Code::NotEnded);
    given(canceled()).when(Command::RequestPlan).then(PlanRequested {});
    for (outcome, counts) in [(Outcome::Succeeded, GOOD), (Outcome::PartiallyFailed, MIXED)] {
        given([requested(), resolved(), completed(outcome, counts)])
            .when(Command::RequestPlan)
            .then_nothing();
    }
    let planned = canceled().into_iter().chain([PlanRequested {}.into()]);
    Given::new(fold(planned.clone(), evolve), decide).when(Command::RequestPlan).then_nothing();
    // The next end is another state of things.
    let next = [retry_requested(1, Selection::All), cancel_requested(), completed(Outcome::Canceled, CUT)];
    Given::new(fold(planned.chain(next), evolve), decide).when(Command::RequestPlan).then(PlanRequested {});
}

#[test]
fn the_counts_make_the_outcome() {
    let counts =
        |succeeded, failed, canceled, unreachable| Counts { succeeded, failed, canceled, unreachable };
    for (counts, cancel_requested, outcome) in [
        (counts(0, 0, 0, 0), false, Outcome::Succeeded),
        // It was stopped before it had a job.
        (counts(0, 0, 0, 0), true, Outcome::Canceled),
        (counts(0, 0, 0, 3), true, Outcome::Canceled),
        (counts(9, 0, 0, 0), false, Outcome::Succeeded),
        (counts(9, 1, 0, 0), false, Outcome::PartiallyFailed),
        (counts(9, 0, 0, 1), false, Outcome::PartiallyFailed),
        // Single jobs that were stopped, not the whole.
        (counts(9, 0, 1, 0), false, Outcome::PartiallyFailed),
        (counts(0, 0, 1, 0), false, Outcome::Failed),
        (counts(0, 1, 0, 0), false, Outcome::Failed),
        (counts(0, 0, 0, 1), false, Outcome::Failed),
        (counts(0, 0, 9, 0), true, Outcome::Canceled),
        (counts(9, 1, 1, 1), true, Outcome::Canceled),
        (counts(9, 1, 0, 0), true, Outcome::PartiallyFailed),
        (counts(0, u32::MAX, u32::MAX, u32::MAX), false, Outcome::Failed),
    ] {
        assert_eq!(counts.outcome(cancel_requested), outcome, "{counts:?}, canceled: {cancel_requested}");
    }
}

fn starve(lack: Lack, message: &str) -> Starved {
    Starved { pool: "gpu".to_owned(), lack, message: message.to_owned(), hint: "start one".to_owned() }
}

fn pins<const N: usize>(pins: [(&str, &str); N]) -> Vec<ImagePin> {
    let pin = |(reference, digest): (&str, &str)| ImagePin {
        reference: reference.to_owned(),
        digest: digest.to_owned(),
    };
    pins.into_iter().map(pin).collect()
}

#[test]
fn what_an_image_meant_first_it_means_for_all_jobs() {
    let pinned = |images| Event::from(ImagesPinned { images });
    let both = || pins([("alpine:3", "alpine@sha256:a"), ("node", "sha256:n")]);
    let moved = pins([("alpine:3", "alpine@sha256:b"), ("go", "sha256:g")]);
    given([requested()]).when(Command::PinImages(both())).then(pinned(both()));
    given([requested(), pinned(both())]).when(Command::PinImages(both())).then_nothing();
    given([requested(), pinned(both())])
        .when(Command::PinImages(moved.clone()))
        .then(pinned(pins([("go", "sha256:g")])));
    given([requested()])
        .when(Command::PinImages(pins([("go", "sha256:g"), ("go", "sha256:h")])))
        .then(pinned(pins([("go", "sha256:g")])));
    given([requested()]).when(Command::PinImages(vec![])).then_nothing();
    given([requested(), resolved(), completed(Outcome::Failed, MIXED)])
        .when(Command::PinImages(both()))
        .then_nothing();
    let state = fold([requested(), pinned(both()), pinned(moved)], evolve);
    let known = pins([("alpine:3", "alpine@sha256:a"), ("go", "sha256:g"), ("node", "sha256:n")]);
    assert_eq!(state.pins().collect::<Vec<_>>(), known);
    let again = retry_requested(1, Selection::All);
    let state = fold([requested(), pinned(both()), completed(Outcome::Failed, MIXED), again], evolve);
    assert_eq!(state.pins().collect::<Vec<_>>(), both(), "jobs that are tried again use what they used");
}

#[test]
fn that_its_jobs_wait_in_vain_is_told_once_for_each_lack() {
    let no_runner = || starve(Lack::NoRunner, "there is no runner in pool gpu");
    let when = |history: &[Event], starved| {
        Given::new(fold(history.iter().cloned(), evolve), decide).when(Command::Starve(starved))
    };
    when(&[], no_runner()).then_refused(Code::NotFound);
    when(&[requested(), resolved()], no_runner()).then(no_runner());
    when(&[requested(), no_runner().into()], no_runner()).then_nothing();
    when(&[requested(), no_runner().into()], starve(Lack::NoRunner, "in other words")).then_nothing();
    let drains = || starve(Lack::Draining, "the runners of pool gpu drain");
    when(&[requested(), no_runner().into()], drains()).then(drains());
    when(&[requested(), resolved(), completed(Outcome::Succeeded, GOOD)], drains()).then_nothing();
    given([requested(), drains().into()]).when(Command::EndStarvation).then(StarvationEnded {});
    given([requested()]).when(Command::EndStarvation).then_nothing();
    let over = [requested(), resolved(), drains().into(), completed(Outcome::Failed, MIXED)];
    given(over).when(Command::EndStarvation).then_nothing();
}
