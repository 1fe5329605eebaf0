//! Blobs: whoever has a source's name may read it, and nobody finds a name that he was not given.

use broker::server::SERVICE_USERS;
use events::blob::BlobKind;
use events::id::{ExecutionId, JobId};
use events::step_cache::CacheEntry;
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
async fn the_hash_of_a_password_is_read_by_the_gateway_alone() {
    let world = World::new().await;
    let gateway = world.service("gateway").await;
    let hash = gateway.put_blob(BlobKind::Password, b"$argon2id$").await.unwrap();
    assert_eq!(gateway.get_blob(&hash).await.unwrap(), b"$argon2id$");
    let name = subject::blob_chunk(&hash, 0);
    let ways = [
        (name.as_str(), ""),
        ("blob.password.>", ""),
        ("blob.*.>", ""),
        ("blob.*.*.*", ""),
        ("*.password.>", ""),
        ("blob.>", ""),
        (">", ""),
        ("blob.scope.eeee.0", r#"{"last_by_subj":"blob.password.>"}"#),
        ("blob.patch.*.0", r#"{"seq":1,"next_by_subj":"blob.password.>"}"#),
    ];
    let control = world.anything().await;
    for user in SERVICE_USERS.iter().filter(|user| **user != "gateway") {
        let raw = world.user(user, &format!("_INBOX_{user}")).await;
        for (way, payload) in ways {
            let found = get(&raw, "$JS.API.", way, payload).await;
            assert_ne!(found.as_deref(), Some(b"$argon2id$".as_slice()), "{user}: {way} {payload}");
        }
        let last = raw.ask("$JS.API.DIRECT.GET.BLOBS", r#"{"last_by_subj":"blob.password.>"}"#).await;
        assert!(last.is_none(), "{user}");
        let last = raw.ask("$JS.API.STREAM.MSG.GET.BLOBS", r#"{"last_by_subj":"blob.password.>"}"#).await;
        assert!(last.is_none(), "{user}");
    }
    for north in &world.norths().await {
        for (way, payload) in ways {
            assert_ne!(
                get(north, "WORKJS.", way, payload).await.as_deref(),
                Some(b"$argon2id$".as_slice()),
                "{way} {payload}"
            );
        }
    }
    for way in [name.as_str(), "blob.password.>"] {
        let found = get(&control, "$JS.API.", way, "").await;
        assert_eq!(found.as_deref(), Some(b"$argon2id$".as_slice()), "the control: {way}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_steps_came_to_is_read_by_runners_that_have_its_name() {
    let world = World::new().await;
    let (north, norths) = (world.runner("north").await, world.norths().await);
    let large = vec![7; 3 * events::blob::CHUNK_BYTES / 2];
    for bytes in [b"what a step came to".as_slice(), &large] {
        let result = world.runner("south").await.put_blob(BlobKind::Result, bytes).await.unwrap();
        assert_eq!(north.get_blob(&result).await.unwrap(), bytes);
        assert_eq!(north.put_blob(BlobKind::Result, bytes).await.unwrap(), result);
        // It stands behind a shelf, whoever wrote it.
        let stored = world.contents().await;
        let names = stored.iter().map(|one| one.subject.as_str());
        let names: Vec<_> = names.filter(|name| name.contains(result.sha256.as_str())).collect();
        assert_eq!(names.len() as u64, result.chunks(), "{names:?}");
        assert!(names.iter().all(|name| name.split('.').count() == 5), "{names:?}");
    }
    for north in &norths {
        for (guess, payload) in GUESSES {
            let guess = guess.replace("blob.source", "cache.result").replace("blob.", "cache.");
            let answer = north.ask(&format!("WORKJS.DIRECT.GET.CACHE.{guess}"), payload).await;
            assert!(answer.is_none_or(|answer| answer.status.is_some()), "{guess} {payload}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_neither_reads_nor_writes_what_is_known_of_keys() {
    let world = World::new().await;
    let (scheduler, gateway) = (world.service("scheduler").await, world.service("gateway").await);
    let (norths, control) = (world.norths().await, world.anything().await);
    let [key, unknown] = ["a", "b"].map(|digit| digit.repeat(64).parse::<events::blob::Sha256>().unwrap());
    let result = world.runner("south").await.put_blob(BlobKind::Result, b"result").await.unwrap();
    let (execution, job) = (ExecutionId::derived(&["e"]), JobId::derived(&["j"]));
    let entry = CacheEntry { result, execution, job };
    scheduler.cache_step(&key, &entry).await;
    for reader in [&scheduler, &gateway] {
        let keys = [(1, key.clone()), (2, unknown.clone())];
        assert_eq!(reader.cached_step(&keys).await.unwrap(), Some((1, entry.clone())));
    }
    let name = subject::cached_step(&key);
    for north in &norths {
        for guess in [name.as_str(), "cache.step.*", "cache.>"] {
            let answer = north.ask(&format!("WORKJS.DIRECT.GET.CACHE.{guess}"), "").await;
            assert!(answer.is_none_or(|answer| answer.status.is_some()), "{guess}");
        }
    }
    let known = control.ask(&format!("$JS.API.DIRECT.GET.CACHE.{name}"), "").await.unwrap();
    assert!(known.status.is_none(), "the control");
}
