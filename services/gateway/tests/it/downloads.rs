//! Downloads: whole, in parts, packed, and under names of their own.

use std::io::Read as _;

use broker::sealed_log::SealedLogWriter;
use chrono::Utc;
use events::beat::Running;
use events::blob::{BlobKind, BlobRef, Sha256};
use events::execution::Resolved;
use events::id::{ExecutionId, JobId, PlanId};
use events::job::{DiffStat, LogSealed, Succeeded};
use events::log::{Chunk, LogEnd, Stream};
use events::{Aggregate, Event, document};
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::world::{World, execution};

/// A log of several frames, with colours, and with bytes that are no text.
fn long_log() -> Vec<Vec<u8>> {
    let line = |number: usize| format!("\u{1b}[32mline {number:06}\u{1b}[0m \u{e9}\n").into_bytes();
    let mut chunks: Vec<Vec<u8>> =
        (0..40).map(|chunk| (0..3_000).flat_map(|at| line(chunk * 3_000 + at)).collect()).collect();
    chunks.push(b"\xff\xfe\n".to_vec());
    chunks
}

/// Ends the first attempt of a job, whose log was sealed.
async fn end_with(world: &World, job: JobId, chunks: &[Vec<u8>], patch: Option<BlobRef>) -> LogEnd {
    let mut writer = SealedLogWriter::new(Vec::new()).unwrap();
    for (number, bytes) in (1..).zip(chunks) {
        let (stream, time, bytes) = (Stream::Stdout, Utc::now(), bytes.clone());
        writer.write(&Chunk { number, first_line: 1, step: 1, stream, time, bytes }).unwrap();
    }
    let (bytes, log) = writer.finish().unwrap();
    let diff_stat = DiffStat { files: 1, insertions: 2, deletions: 3 };
    let outputs = Default::default();
    world.append_job(job, Succeeded { attempt: 1, patch, diff_stat, outputs, log: log.clone() }).await;
    let collector = world.broker("log-collector").await;
    let blob = collector.put_blob(BlobKind::Log, &bytes).await.unwrap();
    let sealed = Event::Job(LogSealed { attempt: 1, blob, log: log.clone() }.into());
    world.append("log-collector", Aggregate::Job(execution(), job), sealed).await;
    collector.purge_log(&Running { job, attempt: 1 }, None).await.unwrap();
    log
}

async fn ask(world: &World, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = world.client().request(method, format!("{}{path}", world.url));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.unwrap()
}

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> Response {
    ask(world, Method::GET, path, headers).await
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

async fn body(response: Response) -> Vec<u8> {
    response.bytes().await.unwrap().to_vec()
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complete_log_comes_whole_in_parts_or_packed() {
    let world = World::new().await;
    let job = world.running_job().await;
    let chunks = long_log();
    let plain = chunks.concat();
    let end = end_with(&world, job, &chunks, None).await;
    let path = format!("/jobs/{job}/log");

    let whole = get(&world, &path, &[]).await;
    let headers = whole.headers().clone();
    assert_eq!(whole.status(), 200);
    assert_eq!(header(&headers, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(header(&headers, "content-length"), plain.len().to_string());
    assert_eq!(header(&headers, "accept-ranges"), "bytes");
    assert_eq!(header(&headers, "etag"), format!("\"{}\"", end.sha256));
    assert_eq!(header(&headers, "patchwave-attempt"), "1");
    assert_eq!(header(&headers, "content-disposition"), format!("inline; filename=\"{job}-1.log\""));
    assert!(body(whole).await == plain, "ANSI and all other bytes are kept");

    let size = plain.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1048570-1048600", 1_048_570, 1_048_601),
        ("bytes=2000000-", 2_000_000, size),
        ("bytes=-5", size - 5, size),
    ] {
        let part = get(&world, &path, &[("range", range), ("accept-encoding", "gzip")]).await;
        assert_eq!(part.status(), 206, "{range}");
        let headers = part.headers().clone();
        assert_eq!(header(&headers, "content-range"), format!("bytes {from}-{}/{size}", to - 1));
        assert_eq!(header(&headers, "content-length"), (to - from).to_string());
        assert_eq!(header(&headers, "content-encoding"), "", "a part is not packed");
        assert!(body(part).await == plain[from..to], "{range}");
    }
    let behind = get(&world, &path, &[("range", &format!("bytes={size}-"))]).await;
    assert_eq!(behind.status(), 416);
    assert_eq!(header(behind.headers(), "content-range"), format!("bytes */{size}"));
    let error: Value = behind.json().await.unwrap();
    assert_eq!(error["error"]["code"], "invalid-request");

    let etag = header(&headers, "etag");
    let range = ("range", "bytes=3-7");
    assert_eq!(get(&world, &path, &[range, ("if-range", etag)]).await.status(), 206);
    let other = get(&world, &path, &[range, ("if-range", "\"another\"")]).await;
    assert_eq!((other.status().as_u16(), body(other).await.len()), (200, size));
    assert_eq!(get(&world, &path, &[("if-none-match", etag)]).await.status(), 304);

    let packed = get(&world, &path, &[("accept-encoding", "br, gzip;q=0.5")]).await;
    assert_eq!(header(packed.headers(), "content-encoding"), "gzip");
    assert_eq!(header(packed.headers(), "vary"), "accept-encoding");
    assert_eq!(header(packed.headers(), "etag"), format!("W/{etag}"), "the digest is that of other bytes");
    let packed = body(packed).await;
    assert!(packed.len() * 3 < size && unpacked(&packed) == plain);
    for none in ["gzip;q=0", "br", "identity"] {
        let sent = get(&world, &path, &[("accept-encoding", none)]).await;
        assert_eq!(header(sent.headers(), "content-encoding"), "", "{none}");
    }

    let head = ask(&world, Method::HEAD, &path, &[range]).await;
    assert_eq!(head.status(), 200, "only GET has parts");
    assert_eq!(header(head.headers(), "content-length"), size.to_string());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_comes_without_ansi_if_that_is_wanted() {
    let world = World::new().await;
    let job = world.running_job().await;
    world.chunk(job, 1, 1, "\u{1b}[3").await;
    let path = format!("/jobs/{job}/log");
    let mut live =
        get(&world, &format!("{path}?follow=true&ansi=strip"), &[("accept-encoding", "gzip")]).await;
    assert_eq!(header(live.headers(), "content-encoding"), "", "what is live comes at once");
    assert_eq!(header(live.headers(), "accept-ranges"), "");
    world.chunk(job, 2, 1, "1mred\u{1b}[0m\n").await;
    let part = tokio::time::timeout(crate::world::PATIENCE, live.chunk()).await.expect("it comes");
    assert_eq!(part.unwrap().unwrap(), "red\n");

    let chunks =
        ["\u{1b}[31mred\u{1b}[0m\n", "two \u{1b}]0;title", "\u{7}\n"].map(|text| text.as_bytes().to_vec());
    end_with(&world, job, &chunks, None).await;
    let whole = get(&world, &format!("{path}?ansi=strip"), &[("range", "bytes=0-1")]).await;
    assert_eq!(whole.status(), 200, "only the stored bytes have parts");
    assert_eq!(body(whole).await, b"red\ntwo \n");
    let packed = get(&world, &format!("{path}?ansi=strip&fromLine=2"), &[("accept-encoding", "gzip")]).await;
    assert_eq!(header(packed.headers(), "content-encoding"), "gzip");
    assert_eq!(unpacked(&body(packed).await), b"two \n");
    assert_eq!(body(get(&world, &format!("{path}?ansi=keep"), &[]).await).await, chunks.concat());
    assert_eq!(get(&world, &format!("{path}?ansi=maybe"), &[]).await.status(), 400);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_says_what_it_is_and_what_to_call_it() {
    let world = World::new().await;
    let job = world.running_job().await;
    let text = "diff --git a/a b/a\n".repeat(200);
    let runner = world.broker("runner-local").await;
    let patch = runner.put_blob(BlobKind::Patch, text.as_bytes()).await.unwrap();
    end_with(&world, job, &[], Some(patch.clone())).await;
    let path = format!("/jobs/{job}/patch");
    for method in [Method::GET, Method::HEAD] {
        let answer = ask(&world, method.clone(), &path, &[]).await;
        let headers = answer.headers().clone();
        assert_eq!(header(&headers, "content-type"), "text/x-diff; charset=utf-8");
        assert_eq!(
            header(&headers, "content-disposition"),
            format!("attachment; filename=\"{job}-1.patch\"")
        );
        assert_eq!(header(&headers, "content-length"), text.len().to_string());
        assert_eq!(header(&headers, "etag"), format!("\"{}\"", patch.sha256));
        let expected = if method == Method::GET { text.as_bytes() } else { b"" };
        assert_eq!(body(answer).await, expected);
    }
    let packed = get(&world, &path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(unpacked(&body(packed).await), text.as_bytes());
    let etag = format!("\"{}\"", patch.sha256);
    assert_eq!(get(&world, &path, &[("if-none-match", &etag)]).await.status(), 304);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_comes_as_an_archive_of_what_an_export_writes() {
    let world = World::new().await;
    let id = ExecutionId::derived(&["archived"]);
    let scope = json!({ "workspaces": [], "skipped": [] });
    let scope = world.broker("catalog").await.put_document(BlobKind::Scope, &scope).await.unwrap();
    let resolved = Resolved { scope, workspaces: 0, skipped: 0, unreachable: 0 };
    world.append("catalog", Aggregate::Execution(id), Event::Execution(resolved.into())).await;
    let planner = world.broker("campaign-plan").await;
    let patches = [b"one\n".to_vec(), b"two\n".repeat(100_000), Vec::new()];
    let mut specs = Vec::new();
    for (patch, (repository, branch)) in
        patches.iter().zip([("a/b", "fix/it"), ("a/b", "fix-it"), ("c", "x")])
    {
        let patch = planner.put_blob(BlobKind::Patch, patch).await.unwrap();
        specs.push(json!({
            "job": JobId::derived(&[branch]), "repository": repository, "url": "/r", "base_ref": "refs/heads/main",
            "base_oid": "a".repeat(40), "head_ref": format!("refs/heads/{branch}"), "title": "T", "body": "", "message": "T",
            "author": null, "patch": patch, "diff_stat": { "files": 1, "insertions": 2, "deletions": 3 },
        }));
    }
    let plan = PlanId::derived(&["archived"]);
    let create = async |plan: PlanId, document: BlobRef, changesets: u32| {
        let (missing, unchanged, imports) = (0, 0, None);
        let created =
            events::plan::Created { execution: id, document, changesets, missing, unchanged, imports };
        world.append("campaign-plan", Aggregate::Plan(plan), Event::Plan(created.into())).await;
    };
    let content = json!({ "changeset_specs": specs, "missing": [], "unchanged": [], "imports": [] });
    create(plan, planner.put_document(BlobKind::Plan, &content).await.unwrap(), 3).await;

    let path = format!("/plans/{plan}/archive");
    let answer = get(&world, &path, &[("accept-encoding", "gzip")]).await;
    assert_eq!(header(answer.headers(), "content-type"), "application/gzip");
    assert_eq!(header(answer.headers(), "content-encoding"), "", "it is packed already");
    let name = format!("attachment; filename=\"{plan}.tar.gz\"");
    assert_eq!(header(answer.headers(), "content-disposition"), name);
    let bytes = body(answer).await;
    assert!(body(get(&world, &path, &[]).await).await == bytes, "the same bytes each time");
    assert_eq!(ask(&world, Method::HEAD, &path, &[]).await.status(), 200);
    let names = ["a-b--fix-it.patch", "a-b--fix-it-2.patch", "c--x.patch"];
    let exported = gateway::patch_names([("a/b", "fix/it"), ("a/b", "fix-it"), ("c", "x")]);
    assert_eq!(exported, names);
    let plain = unpacked(&bytes);
    let mut tar = tar::Archive::new(&plain[..]);
    let mut entries = tar.entries().unwrap();
    assert_eq!(entries.next().unwrap().unwrap().path().unwrap().to_str(), Some(format!("{plan}/").as_str()));
    for (name, patch) in names.iter().zip(&patches) {
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some(format!("{plan}/{name}").as_str()));
        assert_eq!((entry.header().mtime().unwrap(), entry.header().mode().unwrap()), (0, 0o644));
        let mut read = Vec::new();
        entry.read_to_end(&mut read).unwrap();
        assert!(read == *patch, "{name}");
    }
    assert!(entries.next().is_none());

    let second = get(&world, &format!("/plans/{plan}/changesets/2/patch"), &[]).await;
    assert_eq!(header(second.headers(), "content-disposition"), "attachment; filename=\"a-b--fix-it.patch\"");
    assert!(body(second).await == patches[1]);

    let empty = PlanId::derived(&["empty"]);
    create(empty, planner.put_document(BlobKind::Plan, &document::Plan::default()).await.unwrap(), 0).await;
    let plain = unpacked(&body(get(&world, &format!("/plans/{empty}/archive"), &[]).await).await);
    assert_eq!(tar::Archive::new(&plain[..]).entries().unwrap().count(), 1, "a folder with nothing in it");
    let unknown = get(&world, &format!("/plans/{}/archive", PlanId::derived(&["none"])), &[]).await;
    assert_eq!(unknown.status(), 404);

    // A patch that is lost ends the archive as a broken transfer, not as a shorter archive.
    let gone = PlanId::derived(&["gone"]);
    let mut content = content;
    content["changeset_specs"][1]["patch"] = json!({ "kind": "patch", "sha256": "c".repeat(64), "size": 1 });
    create(gone, planner.put_document(BlobKind::Plan, &content).await.unwrap(), 3).await;
    let answer = get(&world, &format!("/plans/{gone}/archive"), &[]).await;
    assert!(answer.bytes().await.is_err());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_revision_come_as_they_were_sent() {
    let world = World::new().await;
    let mut tar = tar::Builder::new(Vec::new());
    let mut head = tar::Header::new_gnu();
    head.set_mode(0o755);
    head.set_size(4);
    tar.append_data(&mut head, "run.sh", &b"true"[..]).unwrap();
    let sent = zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap();
    let sha256 = Sha256::from_bytes(&sha2::Sha256::digest(&sent).into());
    let put = world.client().put(format!("{}/files/{sha256}", world.url)).body(sent.clone());
    assert_eq!(put.send().await.unwrap().status(), 200);
    let source = "name: mounts\nsteps:\n  - run: /run.sh\n    container: alpine\n    mount:\n      - path: run.sh\n        \
                  mountpoint: /run.sh\nchangesetTemplate:\n  title: T\n  branch: b\n  commit:\n    message: m\n";
    let query = "mutation($input: ApplyActionInput!) { applyAction(input: $input) { action { id } } }";
    let files = json!({ "sha256": sha256, "size": sent.len() });
    let input = json!({ "input": { "fileName": "a.batch.yaml", "source": source, "files": files } });
    let action = world.data(query, input).await["applyAction"]["action"]["id"].as_str().unwrap().to_owned();

    let path = format!("/actions/{action}/revisions/1/archive");
    let answer = get(&world, &path, &[("accept-encoding", "gzip")]).await;
    let headers = answer.headers().clone();
    assert_eq!(header(&headers, "content-type"), "application/zstd");
    assert_eq!(
        header(&headers, "content-disposition"),
        format!("attachment; filename=\"{action}-1.tar.zst\"")
    );
    assert_eq!(header(&headers, "content-encoding"), "", "it is packed already");
    assert_eq!(header(&headers, "etag"), format!("\"{sha256}\""));
    assert!(body(answer).await == sent);
    let head = ask(&world, Method::HEAD, &path, &[]).await;
    assert_eq!(header(head.headers(), "content-length"), sent.len().to_string());
    assert_eq!(get(&world, &path.replace("/1/", "/2/"), &[]).await.status(), 404);
    let plain = world.apply(crate::world::DEFINITION, None).await["action"]["id"].take();
    let none = get(&world, &format!("/actions/{}/revisions/1/archive", plain.as_str().unwrap()), &[]).await;
    assert_eq!(none.status(), 204, "no step mounts any");
    world.end().await;
}
