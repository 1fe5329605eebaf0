//! Files that a step mounts and that are not what they should be.

use events::blob::{BlobKind, BlobRef, Sha256};
use events::job::FailureKind;
use events::report::What;
use events::ticket::Ticket;

use super::world::{IMAGE, World};

fn mounting(world: &World, files: BlobRef) -> Ticket {
    let mut ticket = world.ticket(&format!(
        "- container: {IMAGE}\n  run: cat /x\n  mount:\n    - path: x\n      mountpoint: /x\n"
    ));
    ticket.definition.files = Some(Box::new(files));
    ticket
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_there_are_named() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let files = BlobRef { kind: BlobKind::Files, sha256: Sha256::from_bytes(&[0xab; 32]), size: 700_000 };
    let attempt = world.send(&mounting(&world, files)).await;
    let What::Abandoned { reason, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    assert!(reason.contains("the action's files") && reason.contains("is not there"), "{reason}");
    assert!(reason.contains("abab"), "{reason}");
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_is_none_fails_the_job_at_once() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let files = world.store_files(b"PK\x03\x04 no tar").await;
    let attempt = world.send(&mounting(&world, files)).await;
    let What::Failed { failure, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    assert_eq!(failure.kind, FailureKind::Workspace);
    assert!(failure.message.contains("cannot be unpacked") && !failure.hint.is_empty(), "{failure:?}");
    world.clean().await;
    world.close(runner).await;
}
