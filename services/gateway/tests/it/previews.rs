//! Previews: asked for, waited for, and read by pages.

use events::blob::BlobKind;
use events::document::{Place, Preview, SkipReason, Skipped};
use events::id::PreviewId;
use events::preview::{Failed, Resolved};
use events::{Aggregate, Event};
use serde_json::{Value, json};

use crate::world::{DEFINITION, World};

const ASK: &str =
    "mutation($input: PreviewActionInput!) { previewAction(input: $input) { id warnings sequence } }";

const STEPS: &str = "steps:
  - run: echo ${{ steps.path }}
    container: alpine
  - run: echo 2
    container: alpine
    if: ${{ eq steps.path \"p7\" }}
  - run: echo 3
    container: alpine
    if: ${{ eq previous_step.stdout \"p7\" }}
";

fn definition() -> String {
    DEFINITION.replace("steps:\n  - run: echo 1\n    container: alpine\n", STEPS)
}

fn input(source: &str) -> Value {
    json!({ "fileName": "tidy.batch.yaml", "source": source, "repositories": ["/srv/mono"] })
}

async fn ask(world: &World, input: Value) -> PreviewId {
    let asked = world.data(ASK, json!({ "input": input })).await["previewAction"].take();
    asked["id"].as_str().unwrap().parse().unwrap()
}

/// Answers as the catalog does.
async fn answer(world: &World, id: PreviewId, places: u32) {
    let place = |number| Place {
        repository: "mono".to_owned(),
        url: "/srv/mono".to_owned(),
        base_ref: "refs/heads/main".parse().unwrap(),
        base_oid: "a".repeat(40).parse().unwrap(),
        path: format!("p{number}"),
    };
    let reason = SkipReason::TwoRules;
    let skipped = Skipped { repository: "twice".to_owned(), reason, message: "Which one?".to_owned() };
    let found = Preview { places: (0..places).map(place).collect(), skipped: vec![skipped] };
    let scope = world.broker("catalog").await.put_document(BlobKind::Scope, &found).await.unwrap();
    let resolved = Resolved { scope, repositories: 1, workspaces: places, skipped: 0, unreachable: 1 };
    world.append("catalog", Aggregate::Preview(id), Event::Preview(resolved.into())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_read_by_pages_and_says_which_steps_would_run() {
    let world = World::new().await;
    let id = ask(&world, input(&definition())).await;
    answer(&world, id, 1_200).await;
    let query = "query($id: ID!, $after: String) { preview(id: $id) { actionName steps
        counts { repositories workspaces skipped unreachable }
        skipped { nodes { repository reason message } pageInfo { hasNextPage } }
        workspaces(first: 500, after: $after) {
            nodes { repository baseRef baseOid path steps { number decision } } pageInfo { hasNextPage endCursor } } } }";
    let (mut nodes, mut pages, mut after) = (Vec::new(), 0, Value::Null);
    loop {
        let variables = json!({ "id": id.to_string(), "after": after });
        let preview = world.data(query, variables).await["preview"].take();
        assert_eq!((&preview["actionName"], &preview["steps"]), (&json!("tidy"), &json!(3)));
        let counts = json!({ "repositories": 1, "workspaces": 1_200, "skipped": 0, "unreachable": 1 });
        assert_eq!(preview["counts"], counts);
        let skipped = json!([{ "repository": "twice", "reason": "two_rules", "message": "Which one?" }]);
        assert_eq!(preview["skipped"], json!({ "nodes": skipped, "pageInfo": { "hasNextPage": false } }));
        let page = &preview["workspaces"];
        nodes.extend(page["nodes"].as_array().unwrap().iter().cloned());
        (pages, after) = (pages + 1, page["pageInfo"]["endCursor"].clone());
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!((nodes.len(), pages), (1_200, 3));
    let steps = |decision: &str| {
        let step = |number, decision| json!({ "number": number, "decision": decision });
        json!([step(1, "RUNS"), step(2, decision), step(3, "LATER")])
    };
    for (number, node) in nodes.iter().enumerate() {
        assert_eq!(node["path"], format!("p{number}"));
        assert_eq!(node["steps"], steps(if number == 7 { "RUNS" } else { "NEVER" }), "{node}");
    }
    for (arguments, what) in [
        ("first: 0", "`first` is 0"),
        ("first: 501", "`first` is 501"),
        ("after: \"00\"", "`after`"),
        ("after: \"5b2278225d\"", "`after`"),
        ("after: \"5b2d315d\"", "`after`"),
    ] {
        let query =
            format!("{{ preview(id: \"{id}\") {{ workspaces({arguments}) {{ nodes {{ path }} }} }} }}");
        let error = world.error(&query, json!({})).await;
        assert!(error["message"].as_str().unwrap().contains(what), "{error:#}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_waited_for_and_makes_no_action() {
    let world = World::new().await;
    let query = "mutation($input: PreviewActionInput!) { previewAction(input: $input) {
        preview { id counts { workspaces } } } }";
    let mut input = input(DEFINITION);
    input["mutationId"] = "m".into();
    let id = ask(&world, input.clone()).await;
    let variables = json!({ "input": input });
    let waiting = world.data(query, variables.clone());
    let (waited, ()) = tokio::join!(waiting, answer(&world, id, 3));
    let preview = json!({ "id": id.to_string(), "counts": { "workspaces": 3 } });
    assert_eq!(waited["previewAction"]["preview"], preview);
    let again = world.data(query, variables).await;
    assert_eq!(again, waited, "the same request is the same preview");
    let nothing = world.data("{ actions { nodes { id } } executions { nodes { id } } }", json!({})).await;
    assert_eq!(nothing, json!({ "actions": { "nodes": [] }, "executions": { "nodes": [] } }));

    input["repositories"] = json!(["/srv/other"]);
    let error = world.error(query, json!({ "input": input })).await;
    assert_eq!(error["extensions"]["code"], "already-exists", "{error:#}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_refused_for_what_a_run_is_refused_for() {
    let world = World::new().await;
    let searching = format!("{DEFINITION}on:\n  - repositoriesMatchingQuery: a\n");
    let secret = DEFINITION.replace("    container: alpine\n", "    container: alpine\n    env: [TOKEN]\n");
    let bad = DEFINITION.replace("steps:", "stps:").replace("name: tidy", "name: a b");
    let nowhere = |source: &str| json!({ "fileName": "a.batch.yaml", "source": source });
    for (input, code) in [
        (nowhere(DEFINITION), "no-repositories"),
        (nowhere(&searching), "unsupported-scope"),
        (input(&secret), "secret-not-set"),
        (input(&bad), "invalid-definition"),
        (
            json!({ "fileName": "a.batch.yaml", "source": DEFINITION, "repositories": ["a"] }),
            "invalid-request",
        ),
    ] {
        let error = world.error(ASK, json!({ "input": input })).await;
        assert_eq!(error["extensions"]["code"], code, "{error:#}");
    }
    let error = world.error(ASK, json!({ "input": input(&bad) })).await;
    assert!(error["extensions"]["diagnostics"].as_array().unwrap().len() > 1, "{error:#}");
    let none = PreviewId::derived(&["none"]);
    let found =
        world.data("query($id: ID!) { preview(id: $id) { id } }", json!({ "id": none.to_string() })).await;
    assert_eq!(found["preview"], Value::Null);

    // Changesets are known by their branches, whoever only asks is warned as well.
    world.apply(DEFINITION, None).await;
    let moved = DEFINITION.replace("  branch: tidy\n", "  branch: moved\n");
    let asked = world.data(ASK, json!({ "input": input(&moved) })).await["previewAction"].take();
    assert!(asked["warnings"][0].as_str().unwrap().contains("replaced-branch"), "{asked}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_that_failed_says_why() {
    let world = World::new().await;
    let id = ask(&world, input(DEFINITION)).await;
    let failed = Failed { message: "it took too long".to_owned(), hint: "Ask again.".to_owned() };
    world.append("catalog", Aggregate::Preview(id), Event::Preview(failed.into())).await;
    let error =
        world.error("query($id: ID!) { preview(id: $id) { id } }", json!({ "id": id.to_string() })).await;
    assert_eq!(
        (&error["message"], &error["extensions"]["code"]),
        (&json!("it took too long"), &json!("preview-failed"))
    );
    assert_eq!(error["extensions"]["hint"], "Ask again.");
    world.end().await;
}
