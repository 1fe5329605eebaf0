//! Lists by pages.

use std::collections::BTreeSet;

use chrono::Utc;
use events::action::{Definition, Given};
use events::blob::BlobKind;
use events::envelope::{Actor, NewEvent, Origin};
use events::execution::{Reason, Requested, Resolved};
use events::id::{ActionId, CommandId, ExecutionId, JobId, PlanId};
use events::{Aggregate, Event};
use serde_json::{Value, json};

use crate::metrics::{scrape, value};
use crate::world::{DEFINITION, World, execution};

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_is_complete_and_repeats_nothing() {
    for world in World::on_both().await {
        read_a_long_list(world).await;
    }
}

async fn read_a_long_list(world: World) {
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

/// An action, an execution of it that runs, and a job of that.
async fn scene(world: &World) -> JobId {
    world.apply(DEFINITION, None).await;
    world.broker("gateway").await.append_births(&[request(execution())]).await.unwrap();
    let scope = json!({ "workspaces": [], "skipped": [] });
    let scope = world.broker("catalog").await.put_document(BlobKind::Scope, &scope).await.unwrap();
    let resolved = Resolved { scope, workspaces: 1, skipped: 0, unreachable: 0 };
    world.append("catalog", Aggregate::Execution(execution()), Event::Execution(resolved.into())).await;
    world.running_job().await
}

/// A page of executions with all that belongs to each.
const NESTED: &str = "query($first: Int!) { executions(first: $first) { totalCount nodes {
    id action { id name } plan { id execution { id } } skipped(first: 3) { totalCount nodes { repository } }
    jobs(first: 5) { totalCount nodes { id starved { message } execution { id } attempts { number steps { number } } } } } } }";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_many_costs_as_many_statements_as_one_of_few() {
    for world in World::on_both().await {
        scene(&world).await;
        let births: Vec<NewEvent> = (0..80).map(birth).collect();
        world.broker("gateway").await.append_births(&births).await.unwrap();
        let at = world.broker("gateway").await.last_sequence().await.unwrap();
        world
            .data(
                "query($at: Sequence!) { executions(first: 1, atLeast: $at) { nodes { id } } }",
                json!({ "at": at }),
            )
            .await;

        let statements =
            async || value(&scrape(&world).await, "patchwave_gateway_projection_statements_total");
        let mut cost = Vec::new();
        for first in [2, 80] {
            let before = statements().await;
            let page = world.data(NESTED, json!({ "first": first })).await;
            assert_eq!(page["executions"]["nodes"].as_array().unwrap().len(), first);
            cost.push(statements().await - before);
        }
        let ids: Vec<String> = births.iter().map(|birth| birth.aggregate.to_string()).collect();
        let before = statements().await;
        world.data("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", json!({ "ids": ids })).await;
        cost.push(statements().await - before);
        assert!(cost[0] >= 4.0 && cost[1] <= cost[0] && cost[2] <= 1.0, "{cost:?}");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_a_length_and_a_choice_and_things_are_found_by_their_ids() {
    for world in World::on_both().await {
        let job = scene(&world).await;
        let births: Vec<NewEvent> = (0..30).map(birth).collect();
        world.broker("gateway").await.append_births(&births).await.unwrap();
        let at = world.broker("gateway").await.last_sequence().await.unwrap();
        let query = "query($at: Sequence!, $action: ID!) {
            all: executions(first: 3, atLeast: $at) { totalCount nodes { id } }
            oldest: executions(first: 1, order: OLDEST) { nodes { id } pageInfo { endCursor } }
            running: executions(state: RUNNING) { totalCount nodes { id } }
            requested: executions(state: REQUESTED, first: 1) { totalCount }
            ofAction: executions(actionId: $action, first: 1) { totalCount }
            both: executions(actionId: $action, state: RUNNING) { totalCount nodes { id } }
            actions(order: NAME) { totalCount nodes { name executions(first: 1) { totalCount } } }
            archived: actions(archived: true) { totalCount }
            repositories { totalCount nodes { id } } }";
        let action = ActionId::named("tidy").to_string();
        let data = world.data(query, json!({ "at": at, "action": action })).await;
        assert_eq!(
            (&data["all"]["totalCount"], &data["requested"]["totalCount"]),
            (&json!(31), &json!(30)),
            "{data:#}"
        );
        assert_eq!(data["oldest"]["nodes"][0]["id"], execution().to_string());
        assert_eq!(data["running"], json!({ "totalCount": 1, "nodes": [{ "id": execution().to_string() }] }));
        assert_eq!(data["both"]["nodes"], data["running"]["nodes"]);
        assert_eq!(data["both"]["totalCount"], Value::Null, "nobody keeps that");
        assert_eq!(data["archived"]["totalCount"], 0);

        let query = "query($id: ID!, $after: String) {
            execution(id: $id) { running: jobs(state: RUNNING) { totalCount nodes { id } } queued: jobs(state: QUEUED) { totalCount nodes { id } }
                jobs { totalCount } }
            newer: executions(first: 2, order: OLDEST, after: $after) { nodes { id } } }";
        let after = &data["oldest"]["pageInfo"]["endCursor"];
        let found = world.data(query, json!({ "id": execution().to_string(), "after": after })).await;
        assert_eq!(found["execution"]["running"]["nodes"], json!([{ "id": job.to_string() }]));
        assert_eq!(found["execution"]["queued"], json!({ "totalCount": 0, "nodes": [] }));
        assert_eq!(found["execution"]["jobs"]["totalCount"], 1);
        let expected: Vec<Value> =
            births[..2].iter().map(|birth| json!({ "id": birth.aggregate.to_string() })).collect();
        assert_eq!(found["newer"]["nodes"], json!(expected));

        let query = "query($ids: [ID!]!, $job: ID!) { node(id: $job) { id __typename ... on Job { execution { id } } }
            nodes(ids: $ids) { __typename id } }";
        let ids = json!([execution().to_string(), job.to_string(), ActionId::named("no such").to_string()]);
        let found = world.data(query, json!({ "ids": ids, "job": job.to_string() })).await;
        assert_eq!(
            found["node"],
            json!({ "id": job.to_string(), "__typename": "Job", "execution": { "id": execution().to_string() } })
        );
        let kinds: Vec<&Value> =
            found["nodes"].as_array().unwrap().iter().map(|node| &node["__typename"]).collect();
        assert_eq!(kinds, [&json!("Execution"), &json!("Job"), &Value::Null]);
        for (bad, what) in [("local", "nothing that is known by its id alone"), ("job_1", "no job id")] {
            let error = world.error("query($id: ID!) { node(id: $id) { id } }", json!({ "id": bad })).await;
            assert!(error["message"].as_str().unwrap().contains(what), "{error:#}");
        }
        world.end().await;
    }
}

/// One of many executions.
fn birth(number: u64) -> NewEvent {
    request(ExecutionId::derived(&["one of many", &number.to_string()]))
}

pub(crate) fn request(id: ExecutionId) -> NewEvent {
    let definition = Definition {
        file_name: "tidy.batch.yaml".to_owned(),
        source: DEFINITION.to_owned(),
        given: Given::default(),
        files: None,
    };
    let requested = Requested {
        action: ActionId::named("tidy"),
        action_name: "tidy".to_owned(),
        revision: 1,
        definition,
        repositories: vec!["/a".to_owned()],
        reason: Reason::Manual,
        no_cache: false,
        pool: None,
    };
    let origin = Origin {
        command: CommandId::derived(&[&id.to_string()]),
        actor: Actor::user("local"),
        correlation: id.to_string(),
        causation: None,
        trace_parent: None,
    };
    let event = events::Event::Execution(requested.into());
    NewEvent { aggregate: Aggregate::Execution(id), event, time: Utc::now(), origin }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_read() {
    for world in World::on_both().await {
        read_everything(world).await;
    }
}

async fn read_everything(world: World) {
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

    world.apply(DEFINITION, None).await;
    world.broker("gateway").await.append_births(&[birth(7)]).await.unwrap();
    let id = ExecutionId::derived(&["one of many", "7"]);
    let skipped = json!({ "workspaces": [], "skipped": [{ "repository": "s", "reason": "empty", "message": "no commits" }] });
    let scope = world.broker("catalog").await.put_document(BlobKind::Scope, &skipped).await.unwrap();
    let resolved = Resolved { scope, workspaces: 0, skipped: 1, unreachable: 0 };
    world.append("catalog", Aggregate::Execution(id), Event::Execution(resolved.into())).await;
    let spec = json!({
        "job": job, "repository": "r", "url": "/r", "base_ref": "refs/heads/main", "base_oid": "a".repeat(40),
        "head_ref": "refs/heads/tidy", "title": "Tidy", "body": "", "message": "Tidy", "author": null,
        "patch": { "kind": "patch", "sha256": "c".repeat(64), "size": 1 },
        "diff_stat": { "files": 1, "insertions": 2, "deletions": 3 },
    });
    let content = json!({
        "changeset_specs": [spec, spec],
        "missing": [{ "job": job, "repository": "m", "reason": "it failed" }],
        "unchanged": [{ "job": null, "repository": "u", "reason": "nothing to do" }],
        "imports": [{ "repository": "i", "external_id": "12" }],
    });
    let planner = world.broker("campaign-plan").await;
    let document = planner.put_document(BlobKind::Plan, &content).await.unwrap();
    let (missing, unchanged, imports) = (1, 1, Some(1));
    let created =
        events::plan::Created { execution: id, document, changesets: 2, missing, unchanged, imports };
    let plan = Aggregate::Plan(PlanId::derived(&["p"]));
    world.append("campaign-plan", plan, Event::Plan(created.into())).await;
    let registered = events::runner::Registered {
        pool: "gpu".to_owned(),
        incarnation: uuid::Uuid::from_u128(7),
        slots: 4,
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        version: "1".to_owned(),
    };
    world
        .append("scheduler", Aggregate::Runner(crate::world::runner()), Event::Runner(registered.into()))
        .await;

    let query = "{ runners { totalCount nodes { id state slots labels version since reason } }
        actions(first: 1) { nodes { name archived definition { source } executions(first: 5) { nodes {
            state cancelRequested resolvedAt skipped { nodes { repository reason message } }
            jobs(first: 5) { nodes { id attempts { number steps { number } } } pageInfo { hasNextPage } }
            plan { state changesets missing { nodes { jobId repository reason } } unchanged { nodes { jobId repository reason } }
                imports { totalCount nodes { repository externalId } }
                changesetSpecs(first: 1) { nodes { position jobId author diffStat { files insertions deletions } }
                    pageInfo { hasNextPage endCursor } } } } } } } }";
    let found = world.data(query, json!({})).await;
    assert_eq!(
        (&found["runners"]["totalCount"], &found["runners"]["nodes"][0]["slots"]),
        (&json!(1), &json!(4)),
        "{found:#}"
    );
    let execution = &found["actions"]["nodes"][0]["executions"]["nodes"][0];
    assert_eq!(execution["skipped"]["nodes"][0]["reason"], "empty", "{found:#}");
    assert_eq!(execution["plan"]["missing"]["nodes"][0]["repository"], "m", "{found:#}");
    assert_eq!(execution["plan"]["unchanged"]["nodes"][0]["jobId"], Value::Null, "{found:#}");
    let imports = json!({ "totalCount": 1, "nodes": [{ "repository": "i", "externalId": "12" }] });
    assert_eq!(execution["plan"]["imports"], imports);
    let specs = &execution["plan"]["changesetSpecs"];
    assert_eq!(specs["pageInfo"]["hasNextPage"], true, "{found:#}");
    assert_eq!(specs["nodes"][0]["diffStat"], json!({ "files": 1, "insertions": 2, "deletions": 3 }));
    let query = "query($id: ID!, $after: String) { plan(id: $id) {
        changesetSpecs(after: $after) { nodes { position } pageInfo { hasNextPage } } } }";
    let variables =
        json!({ "id": PlanId::derived(&["p"]).to_string(), "after": specs["pageInfo"]["endCursor"] });
    let rest = world.data(query, variables).await;
    let expected = json!({ "nodes": [{ "position": 2 }], "pageInfo": { "hasNextPage": false } });
    assert_eq!(rest["plan"]["changesetSpecs"], expected);
    world.end().await;
}
