//! The event log over HTTP: from a place on, the last of it, or as it goes on.

use serde_json::{Value, json};

use crate::world::{DEFINITION, PATIENCE, World, showing};

/// What comes until the end.
async fn documents(world: &World, path: &str) -> Vec<Value> {
    let answer = world.get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = tokio::time::timeout(PATIENCE, answer.text()).await.expect("an end").unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn types(documents: &[Value]) -> Vec<&str> {
    documents.iter().map(|document| document["type"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_to_its_end_or_followed() {
    let world = World::new().await;
    assert_eq!(documents(&world, "/events").await, [] as [Value; 0], "nothing yet, and an end");
    assert_eq!(documents(&world, "/events?last=5&filters=ev.plan.>").await, [] as [Value; 0]);
    world.apply(DEFINITION, None).await;
    let job = world.running_job().await;

    let all = documents(&world, "/events").await;
    assert_eq!(types(&all), ["action.created", "job.queued", "job.assigned", "job.started"]);
    assert_eq!(all[1]["aggregate"], job.to_string());
    let place = all[1]["sequence"].as_u64().unwrap();
    assert_eq!(documents(&world, &format!("/events?after={place}")).await, all[2..]);
    assert_eq!(documents(&world, "/events?last=2").await, all[2..]);
    assert_eq!(documents(&world, "/events?last=0").await, [] as [Value; 0]);
    assert_eq!(documents(&world, &format!("/events?filters={job},ev.action.>")).await, all);
    assert_eq!(documents(&world, &format!("/events?filters={job}&last=2")).await, all[2..]);
    let time = all[0]["time"].as_str().unwrap();
    assert_eq!(documents(&world, &format!("/events?since={time}")).await.last(), all.last());

    let mut followed = world.get("/events?last=1&follow=true&filters=ev.execution.>").await;
    world.append_job(job, events::job::StepStarted { attempt: 1, step: 1 }).await;
    let mut text = String::new();
    while text.lines().count() < 2 || !text.ends_with('\n') {
        let part = tokio::time::timeout(PATIENCE, followed.chunk()).await.expect("more comes").unwrap();
        text.push_str(std::str::from_utf8(&part.expect("it stays open")).unwrap());
    }
    let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(types(&told), ["job.started", "job.step_started"]);

    for (path, what) in [
        ("/events?after=1000", "which the log has not reached"),
        ("/events?after=1&last=1", "each say where to begin"),
        ("/events?last=1001", "`last` is 1001"),
        ("/events?filters=report.>", "no filter of events"),
        ("/events?since=yesterday", ""),
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status(), 400, "{path}");
        let refusal: Value = answer.json().await.unwrap();
        assert!(refusal["error"]["message"].as_str().unwrap().contains(what), "{path}: {refusal}");
    }
    drop(followed);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_learns_nothing_of_people_and_secrets() {
    let world = World::new().await;
    world.apply(DEFINITION, None).await;
    let user = json!({ "input": { "name": "vera", "role": "VIEWER" } });
    world.data("mutation($input: CreateUserInput!) { createUser(input: $input) { sequence } }", user).await;
    let token = json!({ "input": { "name": "t", "user": "vera" } });
    let query = "mutation($input: CreateTokenInput!) { createToken(input: $input) { token } }";
    let token = world.data(query, token).await["createToken"]["token"].take();
    assert_eq!(
        types(&documents(&world, "/events").await),
        ["action.created", "user.created", "token.issued"]
    );

    let vera = showing(token.as_str());
    let seen = |query: &str| vera.get(format!("{}/events{query}", world.url)).send();
    for query in ["", "?last=5", "?filters=ev.>"] {
        let text = seen(query).await.unwrap().text().await.unwrap();
        assert!(text.lines().count() == 1 && text.contains("action.created"), "{query}: {text}");
    }
    assert_eq!(seen("?filters=ev.user.>").await.unwrap().status(), 403);
    world.end().await;
}
