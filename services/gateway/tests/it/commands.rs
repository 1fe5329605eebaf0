//! Commands, and that what they did can be read at once.

use events::id::ExecutionId;
use events::{Aggregate, Event, execution};
use serde_json::json;

use crate::world::{DEFINITION, World};

const CREATE: &str =
    "mutation($input: CreateActionExecutionInput!) { createActionExecution(input: $input) { sequence
    execution { id state actionName revision actor reason counts { workspaces } jobs { nodes { id } } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_applied_once_and_revised() {
    let world = World::new().await;
    let first = world.apply(DEFINITION, None).await;
    assert_eq!((&first["changed"], &first["action"]["revision"]), (&json!(true), &json!(1)), "{first}");
    assert_eq!(first["action"]["description"], "Tidies.");
    assert_eq!(first["action"]["definition"]["source"], DEFINITION);

    let again = world.apply(DEFINITION, None).await;
    assert_eq!((&again["changed"], &again["sequence"]), (&json!(false), &first["sequence"]), "{again}");

    let revised = DEFINITION.replace("Tidies.", "Tidies more.");
    let second = world.apply(&revised, Some("second")).await;
    assert_eq!((&second["changed"], &second["action"]["revision"]), (&json!(true), &json!(2)), "{second}");

    // Repeated after somebody else went back to the first text, it is still the command that was carried out.
    let third = world.apply(DEFINITION, None).await;
    assert_eq!(third["action"]["revision"], 3);
    let repeated = world.apply(&revised, Some("second")).await;
    assert_eq!((&repeated["sequence"], &repeated["changed"]), (&second["sequence"], &json!(true)));
    assert_eq!(repeated["action"]["revision"], 3, "nothing was appended");

    // Changesets are known by their branches.
    let branch = DEFINITION.lines().find(|line| line.trim().starts_with("branch:")).unwrap();
    let moved = world.apply(&DEFINITION.replace(branch, &format!("{branch}-moved")), None).await;
    assert!(moved["warnings"][0].as_str().unwrap().contains("replaced-branch"), "{moved}");
    assert_eq!(third["warnings"], json!([]));

    let found = world.data("{ action(name: \"tidy\") { id executions { nodes { id } } } }", json!({})).await;
    assert_eq!(found["action"]["id"], first["action"]["id"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_definition_is_refused_with_its_places() {
    let world = World::new().await;
    let input = json!({ "fileName": "bad.batch.yaml", "source": DEFINITION.replace("steps:", "stps:") });
    let query = "mutation($input: ApplyActionInput!) { applyAction(input: $input) { changed } }";
    let error = world.error(query, json!({ "input": input })).await;
    assert_eq!(error["extensions"]["code"], "invalid-definition", "{error:#}");
    assert!(error["message"].as_str().unwrap().contains("bad.batch.yaml:3:1"), "{error:#}");
    let place = &error["extensions"]["diagnostics"][0];
    assert_eq!((&place["line"], &place["column"]), (&json!(3), &json!(1)), "{error:#}");
    assert!(place["rendered"].as_str().unwrap().contains("stps"), "{error:#}");
    assert!(error["extensions"]["hint"].is_string());

    let long = json!({ "fileName": "long.batch.yaml", "source": " ".repeat(600_000) });
    let error = world.error(query, json!({ "input": long })).await;
    assert_eq!(error["extensions"]["code"], "invalid-definition", "{error:#}");
    assert!(error["message"].as_str().unwrap().contains("524288"), "{error:#}");
    let none = world.data("{ actions { nodes { id } pageInfo { hasNextPage endCursor } } }", json!({})).await;
    assert_eq!(
        none["actions"],
        json!({ "nodes": [], "pageInfo": { "hasNextPage": false, "endCursor": null } })
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_can_be_read_at_once_and_is_made_once() {
    let world = World::new().await;
    let action = world.apply(DEFINITION, None).await["action"]["id"].take();
    let input = json!({ "input": { "actionId": action, "repositories": ["/srv/a"], "mutationId": "m" } });
    let made = world.data(CREATE, input.clone()).await["createActionExecution"].take();
    let execution = &made["execution"];
    assert_eq!(execution["state"], "REQUESTED");
    assert_eq!((&execution["actor"], &execution["reason"]), (&json!("user:local"), &json!("manual")));

    let again = world.data(CREATE, input).await["createActionExecution"].take();
    assert_eq!((&again["execution"]["id"], &again["sequence"]), (&execution["id"], &made["sequence"]));
    let other = json!({ "input": { "actionId": action, "repositories": ["/srv/b"], "mutationId": "m" } });
    assert_eq!(world.error(CREATE, other).await["extensions"]["code"], "already-exists");

    let list = world.data("{ executions { nodes { id } } }", json!({})).await;
    assert_eq!(list["executions"]["nodes"], json!([{ "id": execution["id"] }]));
    let id = json!({ "id": execution["id"], "at": made["sequence"] });
    let one =
        world.data("query($id: ID!, $at: Sequence) { execution(id: $id, atLeast: $at) { id } }", id).await;
    assert_eq!(one["execution"]["id"], execution["id"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_of_nothing_is_refused() {
    let world = World::new().await;
    let action = world.apply(DEFINITION, None).await["action"]["id"].take();
    let searching =
        format!("{}on:\n  - repositoriesMatchingQuery: a\n", DEFINITION.replace("name: tidy", "name: found"));
    let searching = world.apply(&searching, None).await["action"]["id"].take();
    for (input, code) in [
        (json!({ "actionId": action }), "no-repositories"),
        (json!({ "actionId": searching }), "unsupported-scope"),
        (json!({ "actionId": action, "revision": 7, "repositories": ["/a"] }), "not-found"),
        (json!({ "actionId": "action_00000000000000000000000000", "repositories": ["/a"] }), "not-found"),
        (json!({ "actionId": "nonsense", "repositories": ["/a"] }), "invalid-request"),
        (json!({ "actionId": action, "repositories": ["/a", "/a/"] }), "invalid-request"),
        (json!({ "actionId": action, "repositories": ["a"] }), "invalid-request"),
        (json!({ "actionId": action, "repositories": ["https://anna:secret@h/a"] }), "invalid-request"),
        (json!({ "actionId": action, "repositories": vec!["/a"; 10_001] }), "invalid-request"),
        (json!({ "actionId": action, "repositories": ["/a"], "mutationId": "" }), "invalid-request"),
    ] {
        let error = world.error(CREATE, json!({ "input": input })).await;
        assert_eq!(error["extensions"]["code"], code, "{input:.200}: {error:#}");
        assert!(!error["extensions"]["hint"].as_str().unwrap().is_empty(), "{error:#}");
        assert!(!error.to_string().contains("secret"));
    }
    let none = world.data("{ executions { nodes { id } } }", json!({})).await;
    assert_eq!(none["executions"]["nodes"], json!([]));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_projection_is_said_to_be_late_and_the_command_to_be_done() {
    let mut world = World::new().await;
    world.apply(DEFINITION, None).await;
    world.stop_projector().await;
    let input = json!({ "fileName": "a.batch.yaml", "source": DEFINITION.replace("Tidies.", "More.") });
    let query = "mutation($input: ApplyActionInput!) { applyAction(input: $input) { changed } }";
    let error = world.error(query, json!({ "input": input })).await;
    let extensions = &error["extensions"];
    assert_eq!(extensions["code"], "stale-projection", "{error:#}");
    assert!(error["message"].as_str().unwrap().contains("was carried out"), "{error:#}");
    assert!(extensions["id"].as_str().unwrap().starts_with("action_"), "{error:#}");

    world.start_projector().await;
    let query = "query($at: Sequence) { action(name: \"tidy\", atLeast: $at) { revision } }";
    let found = world.data(query, json!({ "at": extensions["sequence"] })).await;
    assert_eq!(found["action"]["revision"], 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_can_go_to_another_pool_than_its_definition_says() {
    let world = World::new().await;
    let action = world.apply(DEFINITION, None).await["action"]["id"].take();
    let input =
        |pool: &str| json!({ "actionId": action, "repositories": ["/a"], "pool": pool, "mutationId": "m" });
    let made = world.data(CREATE, json!({ "input": input("arm64") })).await["createActionExecution"].take();
    let id: ExecutionId = made["execution"]["id"].as_str().unwrap().parse().unwrap();
    let history = world.broker("gateway").await.history(&Aggregate::Execution(id)).await.unwrap();
    let Event::Execution(execution::Event::Requested(requested)) = &history[0].event else { panic!() };
    assert_eq!(requested.pool.as_deref(), Some("arm64"));

    let other = world.error(CREATE, json!({ "input": input("x86") })).await;
    assert_eq!(other["extensions"]["code"], "already-exists", "{other:#}");
    let none = world.error(CREATE, json!({ "input": input("a pool") })).await;
    assert_eq!(none["extensions"]["code"], "invalid-request", "{none:#}");
    world.end().await;
}
