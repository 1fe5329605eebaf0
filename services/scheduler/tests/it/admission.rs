//! The scheduler on a real broker: who gets a slot, what waits too long, and how a runner leaves.

use crate::world::World;
use events::beat::Stage;
use events::execution::{self, Lack};
use events::image::ImagePin;
use events::report::What;
use events::ticket::Control;
use events::{Event, job, runner};

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
async fn one_job_says_what_the_images_are_before_the_others_begin() {
    let mut world = World::new().await;
    let mut runner = world.runner("one", 4).await;
    let first = world.request("anna", 3, "").await;
    let finds = runner.ticket().await;
    assert_eq!((finds.execution, finds.images.len()), (first, 0));
    runner.report(&finds, 1, What::Started).await;
    world.until(1, "job.started").await;
    let other = world.request("anna", 2, "").await;
    let next = runner.ticket().await;
    assert_eq!(next.execution, other, "the first execution has two more jobs and the runner two free slots");
    let images = vec![image("y", "a"), image("z", "b")];
    runner.report(&finds, 2, What::Images { images: images.clone() }).await;
    for _ in 0..2 {
        let ticket = runner.ticket().await;
        assert_eq!((ticket.execution, ticket.images), (first, images.clone()));
    }
    runner.report(&next, 1, What::Started).await;
    runner.report(&next, 2, What::StepStarted { step: 1 }).await;
    runner.succeed(&finds).await;
    let last = runner.ticket().await;
    assert_eq!((last.execution, last.images.len()), (other, 0), "a job whose step began has nothing to say");
    runner.report(&last, 1, What::Images { images: vec![image("y", "c"), image("x", "d")] }).await;
    let pinned = world.until(2, "execution.images_pinned").await;
    let Event::Execution(execution::Event::ImagesPinned(pinned)) = pinned.event else { panic!("{pinned:?}") };
    assert_eq!(pinned.images, [image("y", "c"), image("x", "d")]);
    world.end().await;
}

fn image(reference: &str, digit: &str) -> ImagePin {
    let digest = format!("{reference}@sha256:{}", digit.repeat(64));
    ImagePin { reference: reference.to_owned(), digest }
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
async fn a_job_waits_for_a_runner_with_all_its_labels_and_nobody_waits_for_it() {
    let mut world = World::new().await;
    let mut one = world.runner_with("one", 2, &[("arch", "arm64")]).await;
    let settings = "patchwave:\n  labels: [gpu, arch=arm64]\n";
    let choosy = world.request("anna", 2, settings).await;
    world.until(2, "job.queued").await;
    let starved = world.until(1, "execution.starved").await;
    let Event::Execution(execution::Event::Starved(starved)) = starved.event else { panic!("{starved:?}") };
    assert_eq!((starved.lack, &*starved.message), (Lack::Labels, "no runner in pool default has gpu"));
    // The same user's other jobs go on, and her job that waits has lost no place when its runner comes.
    let plain = world.request("anna", 3, "").await;
    let begun = [one.begin().await, one.begin().await];
    assert_eq!(begun.each_ref().map(|ticket| ticket.execution), [plain; 2]);
    let mut two = world.runner_with("two", 1, &[("gpu", ""), ("arch", "arm64"), ("disk", "large")]).await;
    let first = two.begin().await;
    assert_eq!(first.execution, choosy, "she holds two slots of the other execution");
    world.until(1, "execution.starvation_ended").await;
    one.succeed(&begun[0]).await;
    let last = one.begin().await;
    assert_eq!(last.execution, plain, "the second that wants a graphics card waits for it");
    two.succeed(&first).await;
    let second = two.begin().await;
    assert_eq!(second.execution, choosy);
    two.succeed(&second).await;
    one.succeed(&begun[1]).await;
    one.succeed(&last).await;
    world.until(2, "execution.completed").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_is_what_its_token_says_whatever_its_machine_says() {
    let mut world = World::new().await;
    world.enroll("one", "gpu", &[("arch", "arm64")]).await;
    // It says that it is in the default pool and may be trusted.
    let mut one = world.runner_with("one", 1, &[("trusted", "")]).await;
    let registered = world.until(1, "runner.registered").await;
    let Event::Runner(runner::Event::Registered(registered)) = registered.event else {
        panic!("{registered:?}")
    };
    assert_eq!(registered.pool, "gpu");
    assert_eq!(runner::label_words(&registered.labels), ["arch=arm64".to_owned()].into());
    world.request("anna", 1, "").await;
    world.request("anna", 1, "patchwave:\n  pool: gpu\n  labels: [trusted]\n").await;
    world.until(2, "execution.starved").await;
    assert!(world.assigned().is_empty(), "neither is for it");
    let own = world.request("anna", 1, "patchwave:\n  pool: gpu\n  labels: [arch=arm64]\n").await;
    let ticket = one.begin().await;
    assert_eq!(ticket.execution, own);
    one.succeed(&ticket).await;
    world.until(1, "execution.completed").await;
    assert_eq!(world.assigned(), [own]);
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
