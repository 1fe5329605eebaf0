//! Images: what the steps of a job run on.

use std::process::Stdio;

use events::beat::Running;
use events::image::ImagePin;
use events::job::{FailureKind, LossCause};
use events::log::Stream;
use events::report::What;
use events::ticket::Ticket;
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::world::{IMAGE, World, stream};

pub(super) async fn docker(arguments: &[&str], input: &str) -> String {
    let mut command = tokio::process::Command::new("docker");
    command.args(arguments).env("DOCKER_BUILDKIT", "0").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Makes an image that says this of itself, and gives it this name in place of the one that had it. Returns its id.
pub(super) async fn make(name: &str, says: &str) -> String {
    // No two tests have one image: each removes its own.
    let dockerfile = format!("FROM {IMAGE}\nRUN echo {says} >/says\nLABEL of={name}\n");
    docker(&["build", "--quiet", "--network=none", "--tag", name, "-"], &dockerfile).await
}

fn unique(name: &str) -> String {
    format!("{name}-{}:tag", Uuid::now_v7().simple())
}

impl World {
    pub(super) fn says(&self, image: &str) -> Ticket {
        self.ticket(&format!("- container: {image}\n  run: cat /says\n"))
    }

    /// What a job printed that must succeed.
    pub(super) async fn printed(&mut self, attempt: &Running) -> String {
        let What::Succeeded { log, .. } = self.end(attempt).await else {
            panic!("{:?}", self.heard(attempt));
        };
        stream(&self.log(attempt, &log).await, Stream::Stdout)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_the_image_that_it_began_with_when_its_tag_moves() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let name = unique("moving");
    let first = make(&name, "first").await;
    let ticket = world.ticket(&format!(
        "- container: {name}\n  run: cat /says\n- container: {IMAGE}\n  run: until [ -e /tmp/go ]; do sleep 0.05; done\n\
         - container: {name}\n  run: cat /says\n"
    ));
    let attempt = world.send(&ticket).await;
    world.report(&attempt, |what| matches!(what, What::StepStarted { step: 2 })).await;
    make(&name, "second").await;
    let next = world.send(&world.says(&name)).await;
    assert_eq!(world.printed(&next).await, "second\n", "whoever begins later has what the tag means then");
    let job = format!("label=patchwave.job={}", attempt.job);
    let waiting =
        docker(&["ps", "--quiet", "--filter", &job, "--filter", &format!("ancestor={IMAGE}")], "").await;
    for container in waiting.lines() {
        docker(&["exec", container, "touch", "/tmp/go"], "").await;
    }
    assert_eq!(world.printed(&attempt).await, "first\nfirst\n");
    world.clean().await;
    world.close(runner).await;
    docker(&["image", "rm", &name, &first], "").await;
}

impl World {
    /// What an attempt told of its images.
    pub(super) fn pins(&self, attempt: &Running) -> Option<Vec<ImagePin>> {
        self.heard(attempt).iter().find_map(|report| match &report.what {
            What::Images { images } => Some(images.clone()),
            _ => None,
        })
    }

    /// Why an attempt was given back.
    async fn given_back(&mut self, ticket: &Ticket) -> String {
        let attempt = self.send(ticket).await;
        match self.end(&attempt).await {
            What::Abandoned { cause: LossCause::Infrastructure, reason, .. } => reason,
            end => panic!("{end:?}"),
        }
    }
}

fn pin(reference: &str, digest: &str) -> ImagePin {
    ImagePin { reference: reference.to_owned(), digest: digest.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_between_two_jobs_of_an_execution_changes_nothing() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let name = unique("between");
    let first = make(&name, "first").await;
    let ticket = world.says(&name);
    let attempt = world.send(&ticket).await;
    assert_eq!(world.printed(&attempt).await, "first\n");
    let pins = world.pins(&attempt).unwrap();
    assert_eq!(pins, [pin(&name, &first)], "it came from no registry: its id");
    let second = make(&name, "second").await;
    let next = Ticket { execution: ticket.execution, images: pins, ..world.says(&name) };
    let attempt = world.send(&next).await;
    assert_eq!(world.printed(&attempt).await, "first\n");
    assert_eq!(world.pins(&attempt), None, "there is nothing to tell");
    let attempt = world.send(&world.says(&name)).await;
    assert_eq!(world.printed(&attempt).await, "second\n", "a new execution asks anew");
    assert_eq!(world.pins(&attempt).unwrap(), [pin(&name, &second)]);
    world.clean().await;
    world.close(runner).await;
    docker(&["image", "rm", &name, &first], "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_image_that_is_not_there_is_left_to_another_runner() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let absent = format!("sha256:{}", "07".repeat(32));
    let pinned = |ticket: Ticket, digest: &str| Ticket { images: vec![pin(IMAGE, digest)], ..ticket };
    let reason = world.given_back(&pinned(world.says(IMAGE), &absent)).await;
    assert!(reason.contains(&format!("`{IMAGE}` is {absent} for this execution")), "{reason}");
    assert!(reason.contains("the host of the runner `local` does not have"), "{reason}");
    assert!(reason.contains("patchwave image import"), "{reason}");
    // Nothing listens there, wherever the test runs.
    let away = format!("127.0.0.1:1/team/tool@{absent}");
    let reason = world.given_back(&pinned(world.says(IMAGE), &away)).await;
    assert!(reason.contains("its registry cannot be reached"), "{reason}");
    let attempt = world.send(&world.scripts(&["true"])).await;
    let end = world.end(&attempt).await;
    assert!(matches!(end, What::Succeeded { .. }), "the runner is well: {end:?}");
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_cannot_be_had_fails_its_job_at_once_unless_no_step_needs_it_after_all() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let steps = |condition: &str| {
        format!(
            "- container: {IMAGE}\n  run: \"true\"\n  outputs: {{ go: {{ value: \"no\" }} }}\n\
             - container: Not/A/Name\n  run: \"true\"\n  if: {condition}\n"
        )
    };
    let attempt = world.send(&world.ticket(&steps("true"))).await;
    let What::Failed { failure, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    assert_eq!((failure.kind, failure.step), (FailureKind::Image, Some(2)));
    let began = |attempt: &Running| {
        world.heard(attempt).iter().any(|report| matches!(report.what, What::StepStarted { .. }))
    };
    assert!(!began(&attempt), "no work is done for nothing");
    let attempt = world.send(&world.ticket(&steps("${{ eq outputs.go \"yes\" }}"))).await;
    let end = world.end(&attempt).await;
    assert!(matches!(end, What::Succeeded { .. }), "{end:?}");
    world.clean().await;
    world.close(runner).await;
}
