//! Lists by pages.

use std::collections::BTreeSet;

use chrono::Utc;
use events::Aggregate;
use events::action::{Definition, Given};
use events::envelope::{Actor, NewEvent, Origin};
use events::execution::{Reason, Requested};
use events::id::{ActionId, CommandId, ExecutionId};
use serde_json::{Value, json};

use crate::world::{DEFINITION, World, execution};

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_complete_and_repeats_nothing() {
    let world = World::new().await;
    let births: Vec<NewEvent> = (0..1_200).map(birth).collect();
    world.broker("gateway").await.append_births(&births).await.unwrap();
    let last = world.broker("gateway").await.last_sequence().await.unwrap();
    let query = "query($id: ID!, $at: Sequence!) { execution(id: $id, atLeast: $at) { id } }";
    world.data(query, json!({ "id": execution().to_string(), "at": last })).await;

    let query = "query($after: String) { executions(first: 500, after: $after) {
        nodes { id jobs(first: 1) { nodes { id } pageInfo { hasNextPage } } } pageInfo { hasNextPage endCursor } } }";
    let (mut seen, mut pages, mut after) = (BTreeSet::new(), 0, Value::Null);
    loop {
        let page = world.data(query, json!({ "after": after })).await["executions"].take();
        for node in page["nodes"].as_array().unwrap() {
            assert!(seen.insert(node["id"].as_str().unwrap().to_owned()), "{node} came twice");
        }
        (pages, after) = (pages + 1, page["pageInfo"]["endCursor"].clone());
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
        // What comes meanwhile is new and does not move what is old.
        world.broker("gateway").await.append_births(&[birth(5_000 + pages)]).await.unwrap();
    }
    let expected: BTreeSet<String> = births.iter().map(|birth| birth.aggregate.to_string()).collect();
    assert_eq!((seen, pages), (expected, 3));

    for (query, what) in [
        ("{ executions(first: 0) { nodes { id } } }", "`first` is 0"),
        ("{ executions(first: 501) { nodes { id } } }", "`first` is 501"),
        ("{ executions(after: \"00\") { nodes { id } } }", "`after`"),
        ("{ executions(after: \"5b2278225d\") { nodes { id } } }", "`after`"),
    ] {
        let error = world.error(query, json!({})).await;
        assert_eq!(error["extensions"]["code"], "invalid-request", "{error:#}");
        assert!(error["message"].as_str().unwrap().contains(what), "{error:#}");
    }
    world.end().await;
}

/// One of many executions.
fn birth(number: u64) -> NewEvent {
    let id = ExecutionId::derived(&["one of many", &number.to_string()]);
    let definition = Definition {
        file_name: "tidy.batch.yaml".to_owned(),
        source: DEFINITION.to_owned(),
        given: Given::default(),
    };
    let requested = Requested {
        action: ActionId::named("tidy"),
        action_name: "tidy".to_owned(),
        revision: 1,
        definition,
        repositories: vec!["/a".to_owned()],
        reason: Reason::Manual,
    };
    let origin = Origin {
        command: CommandId::derived(&[&number.to_string()]),
        actor: Actor::user("local"),
        correlation: id.to_string(),
        causation: None,
        trace_parent: None,
    };
    let event = events::Event::Execution(requested.into());
    NewEvent { aggregate: Aggregate::Execution(id), event, time: Utc::now(), origin }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_come_with_their_attempts_and_steps() {
    let world = World::new().await;
    let job = world.running_job().await;
    world.append_job(job, events::job::StepStarted { attempt: 1, step: 1 }).await;
    let query = "query($id: ID!) { job(id: $id) { state attempt runner repository hasPatch diffStat { files } failure { kind }
        attempts { number runner state logSealed logLines steps { number exitCode durationMs } } } }";
    let found = world.data(query, json!({ "id": job.to_string() })).await;
    let expected = json!({
        "state": "RUNNING", "attempt": 1, "runner": "local", "repository": "r", "hasPatch": false,
        "diffStat": null, "failure": null,
        "attempts": [{
            "number": 1, "runner": "local", "state": "RUNNING", "logSealed": false, "logLines": null,
            "steps": [{ "number": 1, "exitCode": null, "durationMs": null }],
        }],
    });
    assert_eq!(found["job"], expected, "{found:#}");
    world.end().await;
}
