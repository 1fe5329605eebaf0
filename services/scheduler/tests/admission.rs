//! The scheduler on a real broker: who gets a slot, what waits too long, and how a runner leaves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is the test's failure")]

mod world;

use events::beat::Stage;
use events::report::What;
use events::ticket::Control;
use events::{Event, job, runner};
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn many_jobs_of_one_user_keep_another_waiting_for_one_slot() {
    let mut world = World::new().await;
    let mut runner = world.runner("one", 2).await;
    let many = world.request("anna", 200, "").await;
    let tickets = [runner.begin().await, runner.begin().await];
    let few = world.request("ben", 2, "").await;
    world.until(202, "job.queued").await;
    runner.succeed(&tickets[0]).await;
    let next = runner.begin().await;
    assert_eq!(next.execution, few, "the first slot that is free");
    runner.succeed(&tickets[1]).await;
    assert_eq!(runner.begin().await.execution, many, "she holds none, and he holds one");
    runner.succeed(&next).await;
    assert_eq!(runner.begin().await.execution, few, "its own slot again");
    world.until(5, "job.assigned").await;
    assert_eq!(world.assigned(), [many, many, few, many, few]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_holds_no_more_slots_than_it_wants() {
    let mut world = World::new().await;
    let mut runner = world.runner("one", 3).await;
    let narrow = world.request("anna", 5, "patchwave:\n  maxJobs: 1\n").await;
    let first = runner.begin().await;
    let wide = world.request("anna", 5, "").await;
    assert_eq!([runner.begin().await.execution, runner.begin().await.execution], [wide, wide]);
    runner.succeed(&first).await;
    assert_eq!(runner.begin().await.execution, narrow);
    world.until(4, "job.assigned").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_drains_gives_back_what_it_has_not_begun_and_no_loss_is_counted() {
    let mut world = World::new().await;
    let mut one = world.runner("one", 2).await;
    world.request("anna", 3, "").await;
    let begun = one.begin().await;
    world.until(2, "job.assigned").await;
    world.ask_to_drain(&one).await;
    assert_eq!(one.control().await, Control::Drain { incarnation: one.incarnation });
    one.say(Stage::Draining, 0);
    let left = one.ticket().await;
    one.report(&left, 1, What::Returned { reason: "it drains".to_owned() }).await;
    assert_eq!(one.tickets_left().await, 0);
    world.until(1, "job.returned").await;
    let mut two = world.runner("two", 2).await;
    let again = [two.begin().await, two.begin().await];
    assert!(again.iter().any(|ticket| (ticket.job, ticket.attempt) == (left.job, 2)), "{again:?}");
    one.succeed(&begun).await;
    one.say(Stage::Leaving, 0);
    let gone = world.until(1, "runner.gone").await;
    let Event::Runner(runner::Event::Gone(gone)) = gone.event else { panic!("{gone:?}") };
    assert_eq!(gone.reason, "drained");
    for ticket in &again {
        two.succeed(ticket).await;
    }
    world.until(1, "execution.completed").await;
    let lost = |event: &Event| matches!(event, Event::Job(job::Event::Lost(_)));
    assert!(!world.events.iter().any(|one| lost(&one.event)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stops_by_itself_is_told_once_nothing_more_comes() {
    let mut world = World::new().await;
    let mut one = world.runner("one", 1).await;
    world.until(1, "runner.registered").await;
    one.say(Stage::Draining, 0);
    world.until(1, "runner.draining").await;
    assert_eq!(one.control().await, Control::Drain { incarnation: one.incarnation });
    world.request("anna", 1, "").await;
    world.until(1, "job.queued").await;
    let starved = world.until(1, "execution.starved").await;
    let text = serde_json::to_string(&starved.event.to_value().unwrap()).unwrap();
    assert!(
        text.contains("\"draining\"") && text.contains("every runner in pool default drains: one"),
        "{text}"
    );
    // The same runner, started again, takes jobs again.
    drop(one);
    let mut one = world.runner("one", 1).await;
    let ticket = one.begin().await;
    world.until(1, "execution.starvation_ended").await;
    one.succeed(&ticket).await;
    world.until(1, "execution.completed").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_waits_too_long_ends_and_a_pool_without_runners_is_noticed() {
    let mut world = World::new().await;
    let mut one = world.runner("one", 1).await;
    world.request("anna", 2, "patchwave:\n  pool: gpu\n  queueTimeout: 10s\n").await;
    world.until(1, "execution.starved").await;
    let end = world.until(2, "job.queue_timed_out").await;
    let Event::Job(job::Event::QueueTimedOut(end)) = end.event else { panic!("{end:?}") };
    assert_eq!((end.limit_ms, end.reason.as_str()), (10_000, "there is no runner in pool gpu"));
    world.until(1, "execution.completed").await;
    assert!(world.assigned().is_empty(), "the runner of another pool gets nothing");
    // It is free for others.
    world.request("anna", 1, "").await;
    let ticket = one.begin().await;
    one.succeed(&ticket).await;
    world.until(2, "execution.completed").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_may_take_as_long_as_its_definition_says_and_the_site_allows() {
    let mut world = World::new().await;
    let mut runner = world.runner("one", 1).await;
    for (settings, seconds) in
        [("", 60), ("patchwave:\n  timeout: 90s\n", 90), ("patchwave:\n  timeout: 2h\n", 600)]
    {
        world.request("anna", 1, settings).await;
        let ticket = runner.begin().await;
        assert_eq!(ticket.timeout_ms, seconds * 1_000, "{settings:?}");
        runner.succeed(&ticket).await;
    }
    world.until(3, "execution.completed").await;
    world.end().await;
}
