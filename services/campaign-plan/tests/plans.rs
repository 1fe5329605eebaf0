//! Plans on a real broker: what an execution's jobs left is in its plan, each thing once, whenever the service dies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is the test's failure")]

mod world;

use events::document::{SkipReason, Skipped};
use events::job::{Canceled, Failed, Failure, FailureKind, FailureOrigin, Retried, TimedOut};

use world::{World, log_end};

const TEMPLATE: &str = "title: Fix ${{ repository.name }}\n  body: by ${{ batch_change.name }}\n  \
    branch: fix/${{ steps.path }}-x\n  commit:\n    message: |\n      Fix it\n    author: {name: Anna, email: a@example.org}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixed_outcome_is_all_in_the_plan() {
    let world = World::new().await;
    let run = world.execution(TEMPLATE).await;
    let (late, early) = (run.job("z/last", "").await, run.job("a/first", "sub").await);
    late.succeed(1, Some(b"diff --git a/f b/f\n")).await;
    early.succeed(1, Some(b"diff --git a/g b/g\n")).await;
    run.job("b/same", "").await.succeed(1, None).await;
    run.job("h/hostile", "").await.succeed(1, Some(b"diff --git a/../f b/../f\n")).await;
    let message = "step 2 ended with exit code 3".to_owned();
    let failure = Failure {
        kind: FailureKind::StepExit,
        step: Some(2),
        exit_code: Some(3),
        limit: None,
        message,
        hint: String::new(),
    };
    run.job("c/broken", "")
        .await
        .end(Failed { attempt: 1, failure, origin: FailureOrigin::Job, log: None })
        .await;
    run.job("d/slow", "")
        .await
        .end(TimedOut { attempt: 1, limit_ms: 90_000, step: None, log: log_end() })
        .await;
    run.job("e/stopped", "").await.end(Canceled { attempt: None, log: None }).await;
    let skip = |repository: &str, reason, message: &str| Skipped {
        repository: repository.to_owned(),
        reason,
        message: message.to_owned(),
    };
    let skipped = vec![
        skip("f/away", SkipReason::Unreachable, "cannot be reached"),
        skip("g/empty", SkipReason::Empty, "has no commits"),
    ];
    let planner = world.plan().await;
    run.complete(skipped).await;
    let (created, plan) = run.current_plan().await;
    planner.stop().await;

    let specs: Vec<_> =
        plan.changeset_specs.iter().map(|spec| (spec.repository.as_str(), spec.head_ref.short())).collect();
    assert_eq!(specs, [("a/first", "fix/sub-x"), ("z/last", "fix/-x")], "in order");
    let spec = &plan.changeset_specs[0];
    assert_eq!(
        (spec.title.as_str(), spec.body.as_str(), spec.message.as_str()),
        ("Fix a/first", "by fixer", "Fix it")
    );
    assert_eq!(spec.author.as_deref(), Some("Anna <a@example.org>"));
    assert_eq!((spec.job, spec.diff_stat.files, spec.base_ref.short()), (early.id, 1, "main"));
    assert_eq!(world.broker.get_blob(&spec.patch).await.unwrap(), b"diff --git a/g b/g\n");
    let missing: Vec<_> = plan.missing.iter().map(|m| (m.repository.as_str(), m.reason.as_str())).collect();
    assert_eq!(
        missing,
        [
            ("c/broken", "step 2 ended with exit code 3"),
            ("d/slow", "the job reached its time limit of 90 s"),
            ("e/stopped", "it was canceled"),
            ("f/away", "cannot be reached"),
            (
                "h/hostile",
                "its patch is refused because of the path `../f`: it has a part that is `.` or `..`"
            ),
        ]
    );
    assert!(plan.missing[0].job.is_some() && plan.missing[3].job.is_none());
    let unchanged: Vec<_> =
        plan.unchanged.iter().map(|u| (u.repository.as_str(), u.reason.as_str())).collect();
    assert_eq!(unchanged, [("b/same", "the steps changed nothing"), ("g/empty", "has no commits")]);
    assert_eq!((created.changesets, created.missing, created.unchanged), (2, 5, 2));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changesets_in_each_others_way_and_templates_that_fail_are_missing_with_the_reason() {
    let world = World::new().await;
    let template = "title: x\n  branch: ${{ join steps.added_files \"\" }}\n  commit: {message: m}";
    let run = world.execution(template).await;
    let patch = |name: &str| format!("diff --git a/{name} b/{name}\nnew file mode 100644\n").into_bytes();
    let (one, two) = (run.job("r", "one").await, run.job("r", "two").await);
    one.succeed(1, Some(&patch("same"))).await;
    two.succeed(1, Some(&patch("same"))).await;
    run.job("s", "").await.succeed(1, Some(&patch("same"))).await;
    let base = run.job("t", "").await;
    base.succeed(1, Some(&patch("main"))).await;
    let bad = run.job("u", "").await;
    bad.succeed(1, Some(&patch("a..b"))).await;
    let planner = world.plan().await;
    run.complete(Vec::new()).await;
    let (_, plan) = run.current_plan().await;
    planner.stop().await;

    assert_eq!(plan.changeset_specs.len(), 1, "another repository may use the branch");
    assert_eq!(
        (plan.changeset_specs[0].repository.as_str(), plan.changeset_specs[0].head_ref.short()),
        ("s", "same")
    );
    let reason = |id| plan.missing.iter().find(|missing| missing.job == Some(id)).unwrap().reason.as_str();
    for id in [one.id, two.id] {
        let text = reason(id);
        assert!(
            text.contains(&one.id.to_string()) && text.contains(&two.id.to_string()),
            "it names both: {text}"
        );
        assert!(text.contains("`same`") && text.contains("`one` on main"), "{text}");
    }
    assert!(reason(base.id).contains("branch"), "{}", reason(base.id));
    assert!(reason(bad.id).contains("a..b"), "{}", reason(bad.id));
    assert_eq!(plan.missing.len(), 4);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_to_do_is_a_plan_too_and_restarts_change_nothing() {
    let world = World::new().await;
    let first = world.execution(TEMPLATE).await;
    first.complete(Vec::new()).await;
    let planner = world.plan().await;
    let (created, plan) = first.current_plan().await;
    assert_eq!((created.changesets, created.missing, created.unchanged), (0, 0, 0));
    assert_eq!(plan, events::document::Plan::default());
    planner.stop().await;
    // Completed while nobody planned, and once more without a snapshot.
    let second = world.execution(TEMPLATE).await;
    second.job("r", "").await.succeed(1, Some(b"diff --git a/f b/f\n")).await;
    second.complete(Vec::new()).await;
    world.plan().await.stop_after(&second).await;
    world.forget_snapshot();
    let third = world.execution(TEMPLATE).await;
    third.complete(Vec::new()).await;
    world.plan().await.stop_after(&third).await;
    for run in [&first, &second, &third] {
        assert_eq!(run.plan_events().await.len(), 1, "one plan, made once");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_completion_makes_another_plan_that_takes_the_firsts_place() {
    let world = World::new().await;
    let run = world.execution(TEMPLATE).await;
    let (good, retried) = (run.job("a", "").await, run.job("b", "").await);
    good.succeed(1, Some(b"diff --git a/f b/f\n")).await;
    retried.end(Canceled { attempt: Some(1), log: None }).await;
    run.complete(Vec::new()).await;
    let planner = world.plan().await;
    let (_, first) = run.current_plan().await;
    assert_eq!((first.changeset_specs.len(), first.missing.len()), (1, 1));
    retried.end(Retried {}).await;
    retried.succeed(2, Some(b"diff --git a/g b/g\n")).await;
    planner.stop().await;
    run.complete_again().await;
    let planner = world.plan().await;
    let superseded = run.superseded().await;
    let (_, second) = run.current_plan().await;
    assert_eq!((second.changeset_specs.len(), second.missing.len()), (2, 0));
    assert_eq!(superseded.len(), 1);
    planner.stop().await;
    // Made again from the start, the older plan does not come back.
    world.forget_snapshot();
    let last = world.execution(TEMPLATE).await;
    last.complete(Vec::new()).await;
    world.plan().await.stop_after(&last).await;
    assert_eq!(run.plan_events().await.len(), 3, "two created, one superseded");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_execution_that_cannot_be_planned_is_set_aside_and_others_go_on() {
    let world = World::new().await;
    let bad = world.execution("nonsense: true").await;
    bad.complete(Vec::new()).await;
    let good = world.execution(TEMPLATE).await;
    good.complete(Vec::new()).await;
    let planner = world.plan().await;
    good.current_plan().await;
    let letters = world.letters(1).await;
    assert!(letters[0].reason.contains("definition"), "{}", letters[0].reason);
    assert!(letters[0].subject.contains(&bad.id.token()));
    // Taken up although nothing has changed, the letter comes back.
    world.operator.retry_dead(letters[0].id).await.unwrap();
    let again = world.letters(1).await;
    assert!(again[0].id != letters[0].id && again[0].reason == letters[0].reason, "{again:?}");
    planner.stop().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_jobs_make_one_plan() {
    let world = World::new().await;
    let run = world.execution(TEMPLATE).await;
    run.many(2_000).await;
    run.complete(Vec::new()).await;
    let planner = world.plan().await;
    let (created, plan) = run.current_plan().await;
    assert_eq!((created.changesets, plan.changeset_specs.len()), (2_000, 2_000));
    assert!(plan.changeset_specs.is_sorted_by(|a, b| a.repository <= b.repository));
    planner.stop().await;
    world.end().await;
}
