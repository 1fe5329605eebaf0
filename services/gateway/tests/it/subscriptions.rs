//! Subscriptions: nothing lost and nothing twice, whatever happens meanwhile.

use chrono::{SecondsFormat, Utc};
use events::beat::{RunnerBeat, Running, Stage};
use events::id::{JobId, RunnerId};
use events::log::{Chunk, Stream};
use events::{Aggregate, Event, job, runner as gone};
use serde_json::{Value, json};

use crate::access::{create_user, token_for};
use crate::clients::{Events, Socket};
use crate::runners::registered;
use crate::streams::{PIECES, seal, seal_of, succeed};
use crate::world::{DEFINITION, World, execution, runner, showing};

const LOG: &str = "subscription($job: ID!, $from: Sequence, $attempt: Int) {
    jobLog(jobId: $job, fromLine: $from, attempt: $attempt) { attempt firstLine lines nextLine ended } }";

async fn known(world: &World) -> Socket {
    Socket::known(&world.url, world.token.reveal()).await
}

/// The next batch of a log.
async fn batch(socket: &mut Socket) -> Value {
    let mut answer = socket.answer("log").await;
    answer["data"]["jobLog"].take()
}

/// Batches until so many lines have come or the log has ended; checks that each begins where the one before ended.
async fn lines(socket: &mut Socket, from: u64, count: usize) -> (Vec<String>, u64) {
    let (mut lines, mut next) = (Vec::new(), from);
    while lines.len() < count {
        let batch = batch(socket).await;
        assert_eq!(batch["firstLine"], next, "{batch}");
        let came = batch["lines"].as_array().unwrap();
        lines.extend(came.iter().map(|line| line.as_str().unwrap().to_owned()));
        next += came.len() as u64;
        assert_eq!(batch["nextLine"], next, "{batch}");
        if batch["ended"] == true {
            break;
        }
    }
    (lines, next)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_over_its_sealing_and_over_every_break() {
    let world = World::new().await;
    let job = world.running_job().await;
    let mut socket = known(&world).await;
    socket.subscribe("log", LOG, json!({ "job": job.to_string() })).await;
    world.chunk(job, 1, 1, PIECES[0]).await;
    assert_eq!(lines(&mut socket, 1, 1).await, (vec!["one".to_owned()], 2), "the second line has not ended");
    world.chunk(job, 2, 2, PIECES[1]).await;
    world.chunk(job, 3, 4, PIECES[2]).await;
    let (more, next) = lines(&mut socket, 2, 3).await;
    assert_eq!((more, next), (["two", "three", "four"].map(str::to_owned).to_vec(), 5));

    // The reader is gone while the log ends and is sealed, and goes on.
    drop(socket);
    world.chunk(job, 4, 5, PIECES[3]).await;
    let mut live = known(&world).await;
    live.subscribe("log", LOG, json!({ "job": job.to_string(), "from": 5 })).await;
    assert_eq!(lines(&mut live, 5, 1).await.0, ["five"]);
    succeed(&world, job).await;
    seal(&world, job).await;
    let last = batch(&mut live).await;
    assert_eq!(last, json!({ "attempt": 1, "firstLine": 6, "lines": ["six"], "nextLine": 7, "ended": true }));
    assert_eq!(live.hear().await, json!({ "type": "complete", "id": "log" }));

    for (from, expected) in
        [(next, vec!["five", "six"]), (1, vec!["one", "two", "three", "four", "five", "six"]), (7, vec![])]
    {
        live.subscribe("log", LOG, json!({ "job": job.to_string(), "from": from, "attempt": 1 })).await;
        assert_eq!(lines(&mut live, from, 9).await.0, expected, "from {from}");
        assert_eq!(live.hear().await["type"], "complete");
    }
    for (job, attempt, code) in [
        (job, json!(2), "not-found"),
        (job, json!(-1), "not-found"),
        (JobId::derived(&["none"]), Value::Null, "not-found"),
    ] {
        live.subscribe("log", LOG, json!({ "job": job.to_string(), "attempt": attempt })).await;
        let error = live.error("log").await;
        assert_eq!(error["extensions"]["code"], code, "{error}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_reading_misses_no_line() {
    const LINES: u64 = 150_000;
    const PIECE: u64 = 250;
    let world = World::new().await;
    let job = world.running_job().await;
    let line = |number: u64| format!("{number} {}", "x".repeat(200));
    let piece = |first: u64| (first..first + PIECE).map(|number| line(number) + "\n").collect::<String>();
    let firsts = || (1..=LINES).step_by(usize::try_from(PIECE).unwrap());
    let mut socket = known(&world).await;
    socket.subscribe("log", LOG, json!({ "job": job.to_string() })).await;

    // Nothing is read of 30 MB while they are written, sealed and purged: more than waits between two programs.
    let from = world.broker("runner-local").await;
    for (number, first_line) in (1..).zip(firsts()) {
        let bytes = piece(first_line).into_bytes();
        let chunk = Chunk { number, first_line, step: 1, stream: Stream::Stdout, time: Utc::now(), bytes };
        from.send_chunk(&runner(), &Running { job, attempt: 1 }, &chunk).await.stored().await.unwrap();
    }
    seal_of(&world, job, firsts().map(piece)).await;

    let (mut expected, mut batches) = (1, 0);
    loop {
        let batch = batch(&mut socket).await;
        batches += 1;
        for shown in batch["lines"].as_array().unwrap() {
            assert_eq!(shown.as_str().unwrap(), line(expected));
            expected += 1;
        }
        if batch["ended"] == true {
            break;
        }
    }
    assert_eq!(expected, LINES + 1);
    assert!(batches >= LINES / 1_000, "{batches} batches");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_log_is_followed_by_filter_from_a_sequence_or_a_time() {
    const QUERY: &str = "subscription($filters: [String!], $after: Sequence, $since: DateTime) {
        events(filters: $filters, after: $after, since: $since) { sequence subject id type time actor unknown data } }";
    let mut world = World::new().await;
    let subscribe = async |variables: Value| {
        let request = json!({ "query": QUERY, "variables": variables });
        Events::of(world.client(), &world.url, &request).await
    };
    let mut now =
        subscribe(json!({ "filters": ["ev.execution.*.job.*.>", "ev.execution.*.job.*.queued"] })).await;
    let before = Utc::now();
    let job = world.running_job().await;
    let types = ["job.queued", "job.assigned", "job.started"];
    let mut seen = Vec::new();
    for kind in types {
        let event = now.answer().await["events"].take();
        assert_eq!(event["type"], kind);
        assert!(event["subject"].as_str().unwrap().starts_with("ev.execution."), "{event}");
        assert_eq!((&event["actor"], &event["unknown"]), (&json!("service:scheduler"), &Value::Null));
        assert!(event["data"].is_object(), "{event}");
        seen.push(event);
    }
    let time = before.to_rfc3339_opts(SecondsFormat::Micros, true);
    for (variables, first) in [
        (json!({ "after": 0 }), 0),
        (json!({ "after": seen[0]["sequence"], "filters": [job.to_string()] }), 1),
        (json!({ "since": time, "filters": [execution().to_string()] }), 0),
        (json!({ "after": seen[1]["sequence"] }), 2),
    ] {
        let mut events = subscribe(variables.clone()).await;
        for event in &seen[first..] {
            assert_eq!(events.answer().await["events"], *event, "{variables}");
        }
    }
    // The broker is away and comes back: it goes on behind the last.
    world.restart_broker().await;
    world.append_job(job, job::CancelRequested {}).await;
    assert_eq!(now.answer().await["events"]["type"], "job.cancel_requested");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_the_users_are_and_what_is_sealed_is_told_to_administrators_alone() {
    const QUERY: &str = "subscription($filters: [String!]) { events(after: 0, filters: $filters) { type } }";
    let world = World::new().await;
    create_user(&world, "olga", "operator", None).await;
    let olga = showing(Some(&token_for(&world, "olga", "operator").await));
    world.apply(DEFINITION, None).await;
    let first = async |client: &reqwest::Client, filters: Value| {
        let request = json!({ "query": QUERY, "variables": { "filters": filters } });
        let (kind, answer) = Events::of(client, &world.url, &request).await.next().await.unwrap();
        assert_eq!(kind, "next");
        answer
    };
    let told = |answer: Value| answer["data"]["events"]["type"].as_str().unwrap().to_owned();
    assert_eq!(told(first(world.client(), Value::Null).await), "user.created");
    assert_eq!(told(first(world.client(), json!(["ev.token.>"])).await), "token.issued");
    for filters in [Value::Null, json!(["ev.*.*.created"]), json!(["ev.>", "ev.user.*.created"])] {
        assert_eq!(told(first(&olga, filters).await), "action.created");
    }
    for filters in
        [json!(["ev.user.>"]), json!(["ev.plan.>", "ev.token.*.issued"]), json!(["ev.secret.*.set"])]
    {
        let refused = first(&olga, filters).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "forbidden", "{refused}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_are_told_first_and_then_those_that_change() {
    const QUERY: &str =
        "subscription { runners { id state reason now { slots running { jobId attempt } trouble } } }";
    let world = World::new().await;
    for name in ["east", "west"] {
        let there = Aggregate::Runner(name.parse().unwrap());
        world.append("scheduler", there, Event::Runner(registered().into())).await;
    }
    let mut runners = Events::of(world.client(), &world.url, &json!({ "query": QUERY })).await;
    let shown =
        |id: &str, state: &str, now: Value| json!({ "id": id, "state": state, "reason": null, "now": now });
    for name in ["east", "west"] {
        assert_eq!(runners.answer().await["runners"], shown(name, "REGISTERED", Value::Null));
    }
    // What was recorded last of each may be told once more; from here on all is new.
    let mut next = async || loop {
        let runner = runners.answer().await["runners"].take();
        if runner != shown("east", "REGISTERED", Value::Null)
            && runner != shown("west", "REGISTERED", Value::Null)
        {
            return runner;
        }
    };
    let job = JobId::derived(&["one"]);
    let mut beat = RunnerBeat {
        incarnation: uuid::Uuid::from_u128(7),
        slots: 4,
        running: vec![Running { job, attempt: 1 }],
        pool: "gpu".to_owned(),
        stage: Stage::Working,
        labels: Default::default(),
        version: "1".to_owned(),
        trouble: None,
        sealing_key: None,
    };
    let local: RunnerId = runner();
    let registration = Event::Runner(registered().into());
    world.append("scheduler", Aggregate::Runner(local.clone()), registration).await;
    assert_eq!(next().await, shown("local", "REGISTERED", Value::Null));
    let from = world.broker("runner-local").await;
    let running = json!([{ "jobId": job.to_string(), "attempt": 1 }]);
    // The same word again is no change; another is.
    for _ in 0..3 {
        from.last_beat_of_runner(&local, &beat).await.unwrap();
    }
    assert_eq!(
        next().await,
        shown("local", "REGISTERED", json!({ "slots": 4, "running": running, "trouble": null }))
    );
    (beat.slots, beat.trouble) = (0, Some("the disk is full".to_owned()));
    from.last_beat_of_runner(&local, &beat).await.unwrap();
    let trouble = json!({ "slots": 0, "running": running, "trouble": "the disk is full" });
    assert_eq!(next().await, shown("local", "REGISTERED", trouble.clone()));

    let gone = gone::Gone { reason: "silent".to_owned() };
    world.append("scheduler", Aggregate::Runner("west".parse().unwrap()), Event::Runner(gone.into())).await;
    assert_eq!(next().await["reason"], "silent");
    // A runner that falls silent is shown so, without a word of anybody.
    assert_eq!(next().await, shown("local", "REGISTERED", Value::Null));
    world.end().await;
}
