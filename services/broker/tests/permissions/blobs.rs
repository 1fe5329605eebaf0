//! Blobs: whoever has a source's name may read it, and nobody finds a name that he was not given.

use events::blob::BlobKind;
use events::subject;

use crate::raw::Raw;
use crate::world::World;

/// Ways to ask for a source without knowing its name: what follows `DIRECT.GET.BLOBS.`, and a payload.
const GUESSES: [(&str, &str); 12] = [
    ("blob.source.*.0", ""),
    ("blob.source.*.*", ""),
    ("blob.source.*.>", ""),
    ("blob.source.>", ""),
    ("blob.source.>.0", ""),
    ("blob.source.>.>", ""),
    ("blob.source.*.*.*", ""),
    ("blob.source.*.*.>", ""),
    ("blob.*.*.*", ""),
    ("blob.>", ""),
    (">", ""),
    ("blob.source.aaaa.0", r#"{"last_by_subj":"blob.source.>"}"#),
];

/// Ways to ask for what other runners made, with its very name.
const OTHERS: [&str; 4] = ["blob.patch.bbbb.0", "blob.log.cccc.0", "blob.plan.dddd.0", "blob.scope.eeee.0"];

async fn get(raw: &Raw, api: &str, name: &str, payload: &str) -> Option<Vec<u8>> {
    let answer = raw.ask(&format!("{api}DIRECT.GET.BLOBS.{name}"), payload).await?;
    answer.status.is_none().then(|| answer.payload.to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runners_need_is_read_by_its_name_alone() {
    let world = World::new().await;
    let (runner, norths) = (world.runner("north").await, world.norths().await);
    for (kind, writer) in [(BlobKind::Source, "catalog"), (BlobKind::Files, "gateway")] {
        let blob = world.service(writer).await.put_blob(kind, b"secret code").await.unwrap();
        assert_eq!(runner.get_blob(&blob).await.unwrap(), b"secret code");
        assert!(world.service(writer).await.has_blob(&blob).await.unwrap());
        let name = subject::blob_chunk_by_name(&blob, 0);
        for north in &norths {
            assert_eq!(get(north, "WORKJS.", &name, "").await.as_deref(), Some(b"secret code".as_slice()));
            for (guess, payload) in GUESSES {
                let guess = guess.replace("source", kind.token());
                assert_eq!(get(north, "WORKJS.", &guess, payload).await, None, "{guess} {payload}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_shelves_a_wildcard_would_bring_the_newest_source() {
    let world = World::new().await;
    world.service("catalog").await.put_blob(BlobKind::Source, b"secret code").await.unwrap();
    let control = world.anything().await;
    // What the rights of a runner would be worth if a source stood behind its name alone.
    assert!(get(&control, "$JS.API.", "blob.patch.*.*", "").await.is_some());
    assert_eq!(
        get(&control, "$JS.API.", "blob.source.>", "").await.as_deref(),
        Some(b"secret code".as_slice())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_runner_made_is_read_by_no_runner() {
    let world = World::new().await;
    let (norths, control) = (world.norths().await, world.anything().await);
    for name in OTHERS {
        for north in &norths {
            assert_eq!(get(north, "WORKJS.", name, "").await, None, "{name}");
        }
        assert!(get(&control, "$JS.API.", name, "").await.is_some(), "the control: {name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patch_is_stored_once_by_a_runner_that_cannot_look() {
    let world = World::new().await;
    let runner = world.runner("north").await;
    let patch = runner.put_blob(BlobKind::Patch, b"a patch").await.unwrap();
    assert_eq!(runner.put_blob(BlobKind::Patch, b"a patch").await.unwrap(), patch);
    assert_eq!(world.service("campaign-plan").await.get_blob(&patch).await.unwrap(), b"a patch");
    let name = format!("blob.patch.{}.0", patch.sha256);
    assert_eq!(world.contents().await.iter().filter(|stored| stored.subject == name).count(), 1);
}
