//! Streams: byte-exact, without a gap, and with an end.

use std::time::Duration;

use broker::sealed_log::SealedLogWriter;
use chrono::Utc;
use events::beat::Running;
use events::blob::{BlobKind, Sha256};
use events::execution::{Completed, Counts, Outcome, Resolved};
use events::id::{JobId, PlanId};
use events::job::{Assigned, DiffStat, LogSealed, LossCause, Lost, Retried, Succeeded};
use events::log::{Chunk, LogEnd, Stream};
use events::{Aggregate, Event, document, plan};
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::clients::Events;
use crate::world::{DEFINITION, PATIENCE, World, execution, runner};

/// Reads a response until so many bytes have come.
async fn read(response: &mut reqwest::Response, length: usize) -> String {
    let mut text = Vec::new();
    while text.len() < length {
        let part = tokio::time::timeout(PATIENCE, response.chunk()).await.expect("more comes").unwrap();
        text.extend_from_slice(&part.expect("the stream goes on"));
    }
    String::from_utf8(text).unwrap()
}

/// Reads the rest of a response, which must end in order.
async fn rest(mut response: reqwest::Response) -> String {
    let mut text = Vec::new();
    while let Some(part) = tokio::time::timeout(PATIENCE, response.chunk()).await.expect("an end").unwrap() {
        text.extend_from_slice(&part);
    }
    String::from_utf8(text).unwrap()
}

pub(crate) const PIECES: [&str; 4] = ["one\ntw", "o\nthree\n", "four\nfi", "ve\nsix"];

fn end() -> LogEnd {
    let plain = PIECES.concat();
    let sha256 = Sha256::from_bytes(&sha2::Sha256::digest(&plain).into());
    LogEnd { chunks: 4, bytes: plain.len() as u64, lines: 6, sha256 }
}

pub(crate) async fn succeed(world: &World, job: JobId) {
    let patch = world.broker("runner-local").await.put_blob(BlobKind::Patch, b"the patch\n").await.unwrap();
    let diff_stat = DiffStat { files: 1, insertions: 2, deletions: 3 };
    world
        .append_job(
            job,
            Succeeded { attempt: 1, patch: Some(patch), diff_stat, outputs: Default::default(), log: end() },
        )
        .await;
}

/// Seals the log and purges its live part, as the log-collector does.
pub(crate) async fn seal(world: &World, job: JobId) {
    seal_of(world, job, PIECES.map(str::to_owned)).await;
}

/// The same for a log of these pieces.
pub(crate) async fn seal_of(world: &World, job: JobId, pieces: impl IntoIterator<Item = String>) {
    let mut writer = SealedLogWriter::new(Vec::new()).unwrap();
    for (number, text) in (1..).zip(pieces) {
        let bytes = text.into_bytes();
        let chunk = Chunk { number, first_line: 1, step: 1, stream: Stream::Stdout, time: Utc::now(), bytes };
        writer.write(&chunk).unwrap();
    }
    let (bytes, log) = writer.finish().unwrap();
    let collector = world.broker("log-collector").await;
    let blob = collector.put_blob(BlobKind::Log, &bytes).await.unwrap();
    let sealed = Event::Job(LogSealed { attempt: 1, blob, log }.into());
    world.append("log-collector", Aggregate::Job(execution(), job), sealed).await;
    collector.purge_log(&Running { job, attempt: 1 }, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_live_across_its_sealing_and_from_any_line() {
    let mut world = World::new().await;
    let job = world.running_job().await;
    world.chunk(job, 1, 1, PIECES[0]).await;
    let path = format!("/jobs/{job}/log");
    let mut followed = world.get(&format!("{path}?follow=true")).await;
    assert_eq!(followed.headers()["patchwave-attempt"], "1");
    let late = world.get(&format!("{path}?follow=true&fromLine=5")).await;
    assert_eq!(read(&mut followed, 6).await, "one\ntw");
    assert_eq!(world.get(&path).await.text().await.unwrap(), "one\ntw", "what there is");
    assert_eq!(world.get(&format!("{path}?fromLine=2")).await.text().await.unwrap(), "tw");
    assert_eq!(world.get(&format!("{path}?fromLine=9")).await.text().await.unwrap(), "");

    world.restart_broker().await;
    world.chunk(job, 2, 2, PIECES[1]).await;
    assert_eq!(read(&mut followed, 8).await, "o\nthree\n");
    world.chunk(job, 3, 4, PIECES[2]).await;
    assert_eq!(read(&mut followed, 7).await, "four\nfi");

    // The attempt ends with a chunk on its way, and the log is sealed and purged before it is read.
    succeed(&world, job).await;
    seal(&world, job).await;
    assert_eq!(rest(followed).await, "ve\nsix");
    assert_eq!(rest(late).await, "five\nsix");

    for follow in ["true", "false"] {
        for (line, expected) in [
            (0, PIECES.concat()),
            (2, "two\nthree\nfour\nfive\nsix".to_owned()),
            (6, "six".to_owned()),
            (7, String::new()),
        ] {
            let log = world.get(&format!("{path}?attempt=1&fromLine={line}&follow={follow}")).await;
            assert_eq!(rest(log).await, expected, "line {line}");
        }
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_followed_log_ends_with_the_attempt_before_it_is_sealed() {
    let world = World::new().await;
    let job = world.running_job().await;
    let followed = world.get(&format!("/jobs/{job}/log?follow=true")).await;
    for (number, text) in (1..).zip(PIECES) {
        world.chunk(job, number, 1, text).await;
    }
    succeed(&world, job).await;
    assert_eq!(rest(followed).await, PIECES.concat());

    for (path, status) in [
        (format!("/jobs/{job}/log?attempt=2"), 404),
        (format!("/jobs/{job}/log?attempt=0"), 404),
        (format!("/jobs/{job}/log?line=3"), 400),
        (format!("/jobs/{}/log", JobId::derived(&["none"])), 404),
        ("/jobs/nonsense/log".to_owned(), 400),
        (format!("/jobs/{}/patch", JobId::derived(&["none"])), 404),
        (format!("/plans/{}/changesets/1/patch", PlanId::derived(&["none"])), 404),
        (format!("/executions/{}/events", execution()), 404),
    ] {
        let response = world.get(&path).await;
        assert_eq!(response.status(), status, "{path}");
        let error: Value = response.json().await.unwrap();
        assert!(error["error"]["hint"].is_string(), "{path}: {error}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_keeps_its_patch() {
    let world = World::new().await;
    let job = world.running_job().await;
    let patch = async |query: &str| world.get(&format!("/jobs/{job}/patch{query}")).await;
    let refused = async |query: &str| {
        let response = patch(query).await;
        assert_eq!(response.status(), 404, "{query}");
        let error: Value = response.json().await.unwrap();
        assert_eq!(error["error"]["code"], "not-found", "{error}");
        error["error"]["message"].as_str().unwrap().to_owned()
    };
    assert!(refused("").await.ends_with("it is running"));
    succeed(&world, job).await;
    let retry = async |number: u32| {
        world.append_job(job, Retried {}).await;
        let assigned = Assigned { attempt: number, runner: runner(), secrets: Vec::new() };
        world.append_job(job, assigned).await;
    };
    retry(2).await;
    assert!(refused("").await.ends_with("it is assigned"), "the newest one is meant");
    let (cause, reason) = (LossCause::Runner, "silent".to_owned());
    let lost = Lost { attempt: 2, runner: runner(), cause, reason, retry_at: None };
    world.append_job(job, lost).await;
    assert!(refused("?attempt=2").await.ends_with("it is lost"));
    retry(3).await;
    let unchanged = DiffStat { files: 0, insertions: 0, deletions: 0 };
    world
        .append_job(
            job,
            Succeeded {
                attempt: 3,
                patch: None,
                diff_stat: unchanged,
                outputs: Default::default(),
                log: end(),
            },
        )
        .await;
    for query in ["", "?attempt=3"] {
        let nothing = patch(query).await;
        assert_eq!(
            (nothing.status().as_u16(), &nothing.headers()["patchwave-attempt"]),
            (204, &"3".parse().unwrap())
        );
    }
    let first = patch("?attempt=1").await;
    assert_eq!(
        (first.content_length(), &first.headers()["patchwave-attempt"]),
        (Some(10), &"1".parse().unwrap())
    );
    assert_eq!(first.text().await.unwrap(), "the patch\n");
    for attempt in [0, 4, u32::MAX] {
        assert!(
            refused(&format!("?attempt={attempt}")).await.ends_with(&format!("has no attempt {attempt}"))
        );
    }
    assert_eq!(patch("?attempt=x").await.status(), 400);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executions_events_end_with_its_plan() {
    let world = World::new().await;
    let action = world.apply(DEFINITION, None).await["action"]["id"].take();
    let query = "mutation($input: CreateActionExecutionInput!) { createActionExecution(input: $input) { execution { id } } }";
    let input = json!({ "input": { "actionId": action, "repositories": ["/a"] } });
    let created = world.data(query, input).await;
    let id = created["createActionExecution"]["execution"]["id"].as_str().unwrap().to_owned();
    let aggregate = Aggregate::Execution(id.parse().unwrap());
    let path = format!("/executions/{id}/events");
    let mut followed = world.get(&path).await;
    assert_eq!(followed.headers()["content-type"], "application/x-ndjson");
    let first = read(&mut followed, 1).await;
    let first: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&first["type"], &first["aggregate"]), (&json!("execution.requested"), &json!(id)));

    let subscription =
        "subscription($id: ID!, $after: Sequence) { executionEvents(executionId: $id, after: $after) {
        sequence id type version time actor correlation causation aggregate execution data } }";
    let subscribe = |after: u64| json!({ "query": subscription, "variables": { "id": id, "after": after } });
    let mut told = Events::of(world.client(), &world.url, &subscribe(0)).await;
    assert_eq!(told.answer().await["executionEvents"], first, "both show the same");

    let catalog = world.broker("catalog").await;
    let scope = catalog.put_document(BlobKind::Scope, &document::Scope::default()).await.unwrap();
    let resolved = Resolved { scope, workspaces: 0, skipped: 0, unreachable: 0 };
    world.append("catalog", aggregate.clone(), Event::Execution(resolved.into())).await;
    let completed = Completed { outcome: Outcome::Succeeded, counts: Counts::default() };
    world.append("scheduler", aggregate, Event::Execution(completed.into())).await;
    let planner = world.broker("campaign-plan").await;
    let document = planner.put_document(BlobKind::Plan, &document::Plan::default()).await.unwrap();
    let created = |execution: &str| plan::Created {
        execution: execution.parse().unwrap(),
        document: document.clone(),
        changesets: 0,
        missing: 0,
        unchanged: 0,
        imports: None,
    };
    let (other, own) = (PlanId::derived(&["other"]), PlanId::derived(&["own"]));
    let of_other = Event::Plan(created(&execution().to_string()).into());
    world.append("campaign-plan", Aggregate::Plan(other), of_other).await;
    let last = append_plan(&planner, own, &id, created(&id)).await;

    let types = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    };
    let story = ["execution.resolved", "execution.completed", "plan.created"];
    assert_eq!(types(&rest(followed).await), story);
    let after = first["sequence"].as_u64().unwrap();
    assert_eq!(types(&rest(world.get(&format!("{path}?after={after}")).await).await), story);
    assert_eq!(types(&rest(world.get(&format!("{path}?after={}", last - 1)).await).await), ["plan.created"]);
    assert_eq!(rest(world.get(&format!("{path}?after={last}")).await).await, "", "it has ended already");
    assert_eq!(world.get(&format!("{path}?after=900000")).await.status(), 400);

    let of_after = [(after, &story[..]), (last - 1, &["plan.created"]), (last, &[])];
    let mut readers = vec![(told, &story[..])];
    for (after, expected) in of_after {
        readers.push((Events::of(world.client(), &world.url, &subscribe(after)).await, expected));
    }
    for (mut told, expected) in readers {
        for kind in expected {
            assert_eq!(told.answer().await["executionEvents"]["type"], *kind);
        }
        assert_eq!(told.next().await.expect("the end").0, "complete");
        assert!(told.next().await.is_none());
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_canceled_execution_has_an_end_wherever_it_is_taken_up() {
    let world = World::new().await;
    let action = world.apply(DEFINITION, None).await["action"]["id"].take();
    let query = "mutation($input: CreateActionExecutionInput!) { createActionExecution(input: $input) { execution { id } } }";
    let created = world.data(query, json!({ "input": { "actionId": action, "repositories": ["/a"] } })).await;
    let id = created["createActionExecution"]["execution"]["id"].as_str().unwrap().to_owned();
    let aggregate = Aggregate::Execution(id.parse().unwrap());
    let canceled = Completed { outcome: Outcome::Canceled, counts: Counts::default() };
    let last = world.append("scheduler", aggregate, Event::Execution(canceled.into())).await;
    for (after, lines) in [(0, 2), (last - 1, 1), (last, 0)] {
        let told = rest(world.get(&format!("/executions/{id}/events?after={after}")).await).await;
        assert_eq!(told.lines().count(), lines, "after {after}: {told}");
    }
    world.end().await;
}

async fn append_plan(planner: &broker::Broker, plan: PlanId, execution: &str, created: plan::Created) -> u64 {
    let origin = events::envelope::Origin {
        command: events::id::CommandId::derived(&["plan"]),
        actor: events::envelope::Actor::service("campaign-plan"),
        correlation: execution.to_owned(),
        causation: None,
        trace_parent: None,
    };
    let event = Event::Plan(created.into());
    let event =
        events::envelope::NewEvent { aggregate: Aggregate::Plan(plan), event, time: Utc::now(), origin };
    planner.append(&event, 0).await.unwrap().sequence
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_cut_off_when_the_gateway_stops() {
    let world = World::new().await;
    let job = world.running_job().await;
    world.chunk(job, 1, 1, PIECES[0]).await;
    let mut followed = world.get(&format!("/jobs/{job}/log?follow=true")).await;
    assert_eq!(read(&mut followed, 6).await, "one\ntw");
    world.tell_gateway_to_stop();
    let cut = tokio::time::timeout(Duration::from_secs(9), followed.chunk()).await.expect("it is cut off");
    assert!(cut.is_err(), "a reader can tell it from the end of the log");
    world.end().await;
}
