//! The step cache as a runner sees it: what is offered, and what is kept of what a runner says.

use crate::world::World;
use events::blob::{BlobKind, BlobRef, Sha256};
use events::image::ImagePin;
use events::step_cache::{Reuse, StepResult};

/// What the runners of these tests find that the image is.
fn found(digit: char) -> Vec<ImagePin> {
    let digest = format!("y@sha256:{}", digit.to_string().repeat(64));
    vec![ImagePin { reference: "y".to_owned(), digest }]
}

fn came_to(digit: u8, images: Vec<ImagePin>) -> StepResult {
    let result = BlobRef { kind: BlobKind::Result, sha256: Sha256::from_bytes(&[digit; 32]), size: 7 };
    StepResult { step: 1, result, images }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_job_came_to_is_offered_to_the_next_of_its_key() {
    let mut world = World::new().await;
    let mut runner = world.runner("one", 1).await;
    let first = world.request("anna", 1, "").await;
    let ticket = runner.begin().await;
    assert_eq!(ticket.reuse, None);
    let kept = came_to(1, found('d'));
    runner.succeed_with(&ticket, vec![kept.clone()]).await;
    world.until(1, "execution.completed").await;

    world.request("ben", 1, "").await;
    let next = runner.begin().await;
    let (result, job) = (kept.result, ticket.job);
    assert_eq!(next.reuse, Some(Reuse { step: 1, result, execution: first, job, images: found('d') }));
    runner.succeed(&next).await;
    world.until(2, "execution.completed").await;

    // Less reach is another key.
    world.request("ben", 1, "patchwave:\n  network: none\n").await;
    let other = runner.begin().await;
    assert_eq!(other.reuse, None);
    runner.succeed(&other).await;
    world.until(3, "execution.completed").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_of_another_image_than_the_one_that_stands_is_not_kept() {
    let mut world = World::new().await;
    let mut runner = world.runner("one", 1).await;
    world.request("anna", 1, "").await;
    let ticket = runner.begin().await;
    runner.succeed_with(&ticket, vec![came_to(1, found('e'))]).await;
    world.until(1, "execution.completed").await;
    world.request("anna", 1, "").await;
    let next = runner.begin().await;
    assert_eq!(next.reuse, None);
    runner.succeed(&next).await;
    world.until(2, "execution.completed").await;
    world.end().await;
}
