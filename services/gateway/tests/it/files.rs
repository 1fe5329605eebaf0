//! The files of actions: taken, refused, and looked into when an action is saved.

use std::io::{Read as _, Write as _};

use events::blob::{BlobKind, BlobRef, Sha256};
use events::id::ActionId;
use serde_json::{Value, json};
use sha2::Digest as _;
use tar::{Builder, EntryType, Header};

use crate::world::{FILES_LIMIT, World};

fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(content.len() as u64);
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn archive(build: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    build(&mut tar);
    zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap()
}

/// A folder with a script of this text.
pub(crate) fn scripts(text: &str) -> Vec<u8> {
    archive(|tar| {
        entry(tar, EntryType::Directory, "scripts", "", b"");
        entry(tar, EntryType::Regular, "scripts/run.sh", "", text.as_bytes());
    })
}

pub(crate) fn blob(bytes: &[u8]) -> BlobRef {
    let sha256 = Sha256::from_bytes(&sha2::Sha256::digest(bytes).into());
    BlobRef { kind: BlobKind::Files, sha256, size: bytes.len() as u64 }
}

/// Puts bytes under their digest.
pub(crate) async fn put(world: &World, bytes: &[u8]) -> (u16, Value) {
    put_as(world, blob(bytes).sha256.as_str(), bytes.to_vec()).await
}

async fn put_as(world: &World, sha256: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
    let url = format!("{}/files/{sha256}", world.url);
    let answer = world.client().put(url).body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn is_stored(world: &World, bytes: &[u8]) -> bool {
    world.broker("gateway").await.has_blob(&blob(bytes)).await.unwrap()
}

pub(crate) fn mounting(path: &str) -> String {
    format!(
        "name: mounts\nsteps:\n  - run: /scripts/run.sh\n    container: alpine\n    mount:\n      - path: {path}\n        \
         mountpoint: /scripts\nchangesetTemplate:\n  title: T\n  branch: b\n  commit:\n    message: m\n"
    )
}

const APPLY: &str =
    "mutation($input: ApplyActionInput!) { applyAction(input: $input) { changed action { revision } } }";

fn input(source: &str, files: Option<&BlobRef>) -> Value {
    let files = files.map(|blob| json!({ "sha256": blob.sha256, "size": blob.size }));
    json!({ "input": { "fileName": "a.batch.yaml", "source": source, "files": files } })
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_taken_once_and_belong_to_a_revision() {
    let world = World::new().await;
    let (one, other) = (scripts("one"), scripts("other"));
    for _ in 0..2 {
        assert_eq!(put(&world, &one).await, (200, json!({ "sha256": blob(&one).sha256, "size": one.len() })));
    }
    assert!(is_stored(&world, &one).await);
    let stored = world.broker("runner-local").await.get_blob(&blob(&one)).await.unwrap();
    assert_eq!(stored, one, "a runner may read it");

    let source = mounting("scripts");
    let apply =
        async |files: &BlobRef| world.data(APPLY, input(&source, Some(files))).await["applyAction"].take();
    assert_eq!(apply(&blob(&one)).await, json!({ "changed": true, "action": { "revision": 1 } }));
    assert_eq!(apply(&blob(&one)).await, json!({ "changed": false, "action": { "revision": 1 } }));
    put(&world, &other).await;
    assert_eq!(apply(&blob(&other)).await, json!({ "changed": true, "action": { "revision": 2 } }));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_says_what_was_sent_with_it() {
    for world in World::on_both().await {
        let action = ActionId::named("mounts");
        let list = async |revision: &str| {
            let answer = world.get(&format!("/actions/{action}/revisions/{revision}/files")).await;
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            (status, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>())
        };
        assert_eq!(list("1").await.0, 404);
        let many = archive(|tar| {
            entry(tar, EntryType::Directory, "scripts", "", b"");
            entry(tar, EntryType::Symlink, "scripts/link", "run.sh", b"");
            // As many as take several parts of the answer.
            for number in 0..3_000 {
                entry(tar, EntryType::Regular, &format!("scripts/n{number:04}"), "", b"12");
            }
            entry(tar, EntryType::Regular, "scripts/run.sh", "", b"one");
        });
        for bytes in [&many, &scripts("other")] {
            put(&world, bytes).await;
            world.data(APPLY, input(&mounting("scripts"), Some(&blob(bytes)))).await;
        }

        let query = "query($name: String, $revision: Int) { action(name: $name) {
            definition(revision: $revision) { files { sha256 size contents { files bytes } } } } }";
        let files = async |revision: Option<i32>| {
            let variables = json!({ "name": "mounts", "revision": revision });
            world.data(query, variables).await["action"]["definition"]["files"].take()
        };
        let (first, newest) = (blob(&many), blob(&scripts("other")));
        let shown = |blob: &BlobRef, files: u64, bytes: u64| json!({ "sha256": blob.sha256, "size": blob.size, "contents": { "files": files, "bytes": bytes } });
        for _ in 0..2 {
            assert_eq!(files(Some(1)).await, shown(&first, 3_002, 6_003));
            assert_eq!(files(None).await, shown(&newest, 1, 5));
        }
        let unknown = world.error(query, json!({ "name": "mounts", "revision": 3 })).await;
        assert_eq!(unknown["extensions"]["code"], "not-found", "{unknown:#}");

        let (status, lines) = list("1").await;
        assert_eq!((status, lines.len()), (200, 3_003));
        assert_eq!(lines[0], json!({ "path": "scripts", "kind": "folder", "bytes": 0 }));
        assert_eq!(lines[1], json!({ "path": "scripts/link", "kind": "link", "bytes": 0 }));
        assert_eq!(lines[2], json!({ "path": "scripts/n0000", "kind": "executable", "bytes": 2 }));
        assert_eq!(lines[3_002], json!({ "path": "scripts/run.sh", "kind": "executable", "bytes": 3 }));
        assert_eq!(list("2").await.1.len(), 2);
        for (revision, status) in [("3", 404), ("0", 404), ("x", 400)] {
            assert_eq!(list(revision).await.0, status, "{revision}");
        }

        let plain = world.apply(crate::world::DEFINITION, None).await["action"]["id"].take();
        let answer = world.get(&format!("/actions/{}/revisions/1/files", plain.as_str().unwrap())).await;
        assert_eq!(answer.status(), 204, "no step mounts any");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_saved_with_what_it_mounts_or_not_at_all() {
    let world = World::new().await;
    let bytes = scripts("one");
    let known = blob(&bytes);
    let code = async |source: &str, files: Option<&BlobRef>| {
        let error = world.error(APPLY, input(source, files)).await;
        assert!(error["extensions"]["hint"].is_string(), "{error:#}");
        error["extensions"]["code"].as_str().unwrap().to_owned()
    };
    assert_eq!(code(&mounting("scripts"), None).await, "files-missing");
    assert_eq!(code(&mounting("scripts"), Some(&known)).await, "files-missing", "not sent yet");
    put(&world, &bytes).await;
    assert_eq!(code(crate::world::DEFINITION, Some(&known)).await, "invalid-request", "nothing mounts them");
    let longer = BlobRef { size: known.size + 1, ..known.clone() };
    assert_eq!(code(&mounting("scripts"), Some(&longer)).await, "invalid-files");
    let wrong = json!({ "input": { "fileName": "a", "source": mounting("x"), "files": { "sha256": "x", "size": 1 } } });
    assert_eq!(world.error(APPLY, wrong).await["extensions"]["code"], "invalid-request");

    let error = world.error(APPLY, input(&mounting("scripts/other.sh"), Some(&known))).await;
    assert_eq!(error["extensions"]["code"], "invalid-definition");
    let diagnostic = &error["extensions"]["diagnostics"][0];
    assert_eq!(
        (&diagnostic["code"], &diagnostic["line"], &diagnostic["column"]),
        (&json!("missing-file"), &json!(6), &json!(15))
    );
    assert_eq!(diagnostic["length"], "scripts/other.sh".len());
    let actions = world.data("{ actions { nodes { id } } }", json!({})).await;
    assert_eq!(actions["actions"]["nodes"], json!([]), "nothing was saved");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_archives_are_refused_and_not_stored() {
    use EntryType as T;
    let world = World::new().await;
    let single = |kind, name: &str, link: &str| archive(|tar| entry(tar, kind, name, link, b""));
    let twice = archive(|tar| {
        entry(tar, T::Regular, "a", "", b"x");
        entry(tar, T::Regular, "a", "", b"y");
    });
    let through_a_link = archive(|tar| {
        entry(tar, T::Symlink, "a", "b", b"");
        entry(tar, T::Regular, "a/x", "", b"x");
    });
    for (part, bytes) in [
        ("its path is absolute", single(T::Regular, "/etc/passwd", "")),
        ("`..`", single(T::Regular, "a/../../x", "")),
        ("leads out", single(T::Symlink, "a", "../x")),
        ("absolute path", single(T::Symlink, "a", "/etc/passwd")),
        ("hard link", single(T::Link, "a", "/etc/passwd")),
        ("a device", single(T::Block, "a", "")),
        ("a device", single(T::Char, "a", "")),
        ("a pipe", single(T::Fifo, "a", "")),
        ("stands twice", twice),
        ("stands in no folder", through_a_link),
        ("no tar archive", b"PK\x03\x04".to_vec()),
        ("no tar archive", scripts("x")[..40].to_vec()),
        ("no tar archive", Vec::new()),
    ] {
        let (status, answer) = put(&world, &bytes).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid-files")), "{part}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(part), "{part}: {answer:#}");
        assert!(answer["error"]["hint"].is_string());
        // An empty blob needs no chunk and is always there.
        assert!(bytes.is_empty() || !is_stored(&world, &bytes).await, "{part}");
    }
    let (status, answer) = put_as(&world, &"0".repeat(64), scripts("x")).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("invalid-files")), "another digest");
    let (status, answer) = put_as(&world, "../../x", scripts("x")).await;
    assert!(status == 400 || status == 404, "{answer:#}");
    assert!(!is_stored(&world, &scripts("x")).await);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_in_bounded_memory() {
    let world = World::new().await;
    assert_eq!(world.get("/files").await.json::<Value>().await.unwrap()["packedBytes"], FILES_LIMIT);
    let refused = |(status, answer): (u16, Value)| {
        assert_eq!((status, &answer["error"]["code"]), (413, &json!("files-too-large")), "{answer:#}");
    };

    // A bomb: half a megabyte that would be sixteen gigabytes.
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let mut header = Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_mode(0o644);
    header.set_size(16 << 30);
    header.set_cksum();
    bomb.write_all(header.as_bytes()).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(64 << 20), &mut bomb).unwrap();
    let bomb = bomb.finish().unwrap();
    refused(put(&world, &bomb).await);
    assert!(!is_stored(&world, &bomb).await);

    // More than is taken, without an end: the client says no length, and is cut off.
    let before = resident();
    let piece = bytes::Bytes::from(vec![7; 1 << 20]);
    let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
    let url = format!("{}/files/{}", world.url, "0".repeat(64));
    let answer = world.client().put(url).body(reqwest::Body::wrap_stream(endless)).send().await;
    // The answer may be lost with the connection that the server closes on whoever sends on.
    if let Ok(answer) = answer {
        assert_eq!(answer.status(), 413);
    }
    assert!(resident() < before + (256 << 20), "{} and before {before}", resident());

    // What is said to be too long is not even read.
    let url = format!("{}/files/{}", world.url, "0".repeat(64));
    let declared = world.client().put(url).header("content-length", FILES_LIMIT + 1);
    let never =
        reqwest::Body::wrap_stream(futures::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let answer = declared.body(never).send().await.unwrap();
    assert_eq!(answer.status(), 413);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_cut_off_leaves_nothing() {
    let world = World::new().await;
    let bytes = scripts(&"x\n".repeat(1_000));
    let address = world.url.strip_prefix("http://").unwrap().to_owned();
    let head = format!(
        "PUT /files/{} HTTP/1.1\r\nhost: {address}\r\ncontent-length: {}\r\n\r\n",
        blob(&bytes).sha256,
        bytes.len()
    );
    let mut connection = std::net::TcpStream::connect(&address).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&bytes[..bytes.len() - 1]).unwrap();
    connection.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = connection.read_to_string(&mut answer);
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!is_stored(&world, &bytes).await);
    assert_eq!(put(&world, &bytes).await.0, 200, "and it can be sent again");
    world.end().await;
}

/// How much memory this process has, with the gateway in it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}
