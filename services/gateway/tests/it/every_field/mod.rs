//! Every field of the schema says something, of a site where everything has happened once.
//!
//! What happened is told in the events of the contract's golden files, so that a field of an event that is new is new here.

mod schema;

use std::path::Path;

use broker::sealing::KeyPair;
use events::beat::{RunnerBeat, Running, Stage};
use events::blob::BlobKind;
use events::document::{Place, Preview, SkipReason, Skipped};
use events::id::{ExecutionId, JobId, PlanId, PreviewId, RepositoryId, SealingKeyId};
use events::{Aggregate, Event};
use serde_json::{Value, json};

use crate::access::{create_user, token_and_id_for};
use crate::files::{blob, mounting, put, scripts};
use crate::world::{World, execution, runner};
use schema::Schema;

/// What says nothing here: what is reused needs a step cache, with which the scenarios of previews are told; and tokens end
/// by themselves, so that nobody keeps how many there are.
const ELSEWHERE: [&str; 2] = ["PreviewedWorkspace.reused", "UserTokenConnection.totalCount"];

/// The event of a golden file, `job.failed.v3` say, with other values of some of its fields.
fn golden(aggregate: &Aggregate, file: &str, values: Value) -> Event {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events/tests/golden");
    let text = std::fs::read_to_string(folder.join(format!("{file}.json"))).unwrap();
    let mut payload: Value = serde_json::from_str(&text).unwrap();
    payload.as_object_mut().unwrap().extend(values.as_object().unwrap().clone());
    let parts: Vec<&str> = file.split('.').collect();
    let version = parts[2].trim_start_matches('v').parse().unwrap();
    Event::from_json(aggregate.kind(), parts[1], version, payload.to_string().as_bytes()).unwrap()
}

async fn append(world: &World, by: &str, aggregate: Aggregate, file: &str, values: Value) {
    let event = golden(&aggregate, file, values);
    world.append(by, aggregate, event).await;
}

async fn job(world: &World, of: (ExecutionId, JobId), file: &str, values: Value) {
    append(world, "scheduler", Aggregate::Job(of.0, of.1), file, values).await;
}

/// Jobs of an execution: one that succeeded, one that failed, one that waits after a loss, and one that runs.
async fn jobs(world: &World, of: ExecutionId) -> [JobId; 4] {
    let ids = ["succeeded", "failed", "lost", "runs"].map(|name| JobId::derived(&[&of.to_string(), name]));
    for id in ids {
        job(world, (of, id), "job.queued.v1.path", json!({})).await;
        job(world, (of, id), "job.assigned.v1.secrets", json!({ "attempt": 1, "runner": "local" })).await;
        job(world, (of, id), "job.started.v1", json!({ "attempt": 1 })).await;
    }
    let [succeeded, failed, lost, _] = ids;
    let first = |step: u32| json!({ "attempt": 1, "step": step });
    job(world, (of, succeeded), "job.steps_reused.v1", json!({ "step": 1 })).await;
    job(world, (of, succeeded), "job.step_started.v1", first(2)).await;
    job(world, (of, succeeded), "job.step_finished.v1", first(2)).await;
    job(world, (of, succeeded), "job.step_skipped.v1", first(3)).await;
    let patch = world.broker("runner-local").await.put_blob(BlobKind::Patch, b"the patch\n").await.unwrap();
    job(world, (of, succeeded), "job.succeeded.v2.outputs", json!({ "attempt": 1, "patch": patch })).await;
    let sealed = golden(&Aggregate::Job(of, succeeded), "job.log_sealed.v1", json!({ "attempt": 1 }));
    world.append("log-collector", Aggregate::Job(of, succeeded), sealed).await;
    job(world, (of, failed), "job.failed.v3", json!({ "attempt": 1 })).await;
    job(world, (of, lost), "job.lost.v2", json!({ "attempt": 1, "runner": "local" })).await;
    ids
}

/// A plan of an execution, with an entry of each kind.
async fn plan(world: &World, id: PlanId, of: ExecutionId, job: JobId) {
    let spec = json!({
        "job": job, "repository": "r", "url": "/r", "base_ref": "refs/heads/main", "base_oid": "a".repeat(40),
        "head_ref": "refs/heads/tidy", "title": "Tidy", "body": "All of it.", "message": "Tidy",
        "author": "Anna <anna@example.org>", "fork": true, "publication": "draft",
        "patch": { "kind": "patch", "sha256": "c".repeat(64), "size": 1 },
        "diff_stat": { "files": 1, "insertions": 2, "deletions": 3 },
    });
    let content = json!({
        "changeset_specs": [spec],
        "missing": [{ "job": job, "repository": "m", "reason": "it failed" }],
        "unchanged": [{ "job": job, "repository": "u", "reason": "nothing to do" }],
        "imports": [{ "repository": "i", "external_id": "12" }],
    });
    let planner = world.broker("campaign-plan").await;
    let document = planner.put_document(BlobKind::Plan, &content).await.unwrap();
    let values = json!({ "execution": of, "document": document,
        "changesets": 1, "missing": 1, "unchanged": 1, "imports": 1 });
    append(world, "campaign-plan", Aggregate::Plan(id), "plan.created.v2", values).await;
}

/// Says where an execution works: one repository was left out.
async fn resolve(world: &World, id: ExecutionId) {
    let scope = json!({ "workspaces": [], "skipped": [{ "repository": "s", "reason": "empty", "message": "no commits" }] });
    let scope = world.broker("catalog").await.put_document(BlobKind::Scope, &scope).await.unwrap();
    let values = json!({ "scope": scope, "workspaces": 4, "skipped": 1, "unreachable": 0 });
    append(world, "catalog", Aggregate::Execution(id), "execution.resolved.v1", values).await;
}

/// Answers a preview as the catalog does.
async fn answer(world: &World, id: PreviewId) {
    let place = Place {
        repository: "r".to_owned(),
        url: "/r".to_owned(),
        base_ref: "refs/heads/main".parse().unwrap(),
        base_oid: "a".repeat(40).parse().unwrap(),
        path: "sub".to_owned(),
    };
    let (reason, message) = (SkipReason::Empty, "no commits".to_owned());
    let skipped = vec![Skipped { repository: "s".to_owned(), reason, message }];
    let found = Preview { places: vec![place], skipped };
    let scope = world.broker("catalog").await.put_document(BlobKind::Scope, &found).await.unwrap();
    let values = json!({ "scope": scope });
    append(world, "catalog", Aggregate::Preview(id), "preview.resolved.v1", values).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_says_something() {
    for world in World::on_both().await {
        let mut schema = Schema::of(&world).await;
        let key = Aggregate::SealingKey(SealingKeyId::site());
        let values = json!({ "public_key": KeyPair::generate().public_key() });
        append(&world, "scheduler", key, "sealing_key.announced.v1", values).await;

        let id = people(&world, &mut schema).await;
        let action = actions(&world, &mut schema).await;
        let repository = repositories(&world).await;
        fleet(&world, &mut schema).await;
        let (of, [succeeded, failed, lost, runs], plan) = executions(&world, &mut schema, &action).await;

        let asked = [
            ("actions", "archived: null".to_owned()),
            ("action", format!("id: \"{action}\"")),
            ("executions", String::new()),
            ("execution", format!("id: \"{of}\"")),
            ("job", format!("id: \"{succeeded}\"")),
            ("job", format!("id: \"{failed}\"")),
            ("job", format!("id: \"{lost}\"")),
            ("plan", format!("id: \"{plan}\"")),
            ("repositories", String::new()),
            ("repository", format!("id: \"{repository}\"")),
            ("node", format!("id: \"{succeeded}\"")),
            ("nodes", format!("ids: [\"{succeeded}\"]")),
            ("runner", "id: \"local\"".to_owned()),
            ("runners", String::new()),
            ("secrets", format!("actionId: \"{action}\"")),
            ("secrets", String::new()),
            ("viewer", String::new()),
            ("users", String::new()),
            ("tokens", String::new()),
        ];
        for (field, arguments) in asked {
            schema.query(field, &arguments).await;
        }
        world.chunk(runs, 1, 1, "a line\n").await;
        schema.follow("jobLog", &format!("jobId: \"{runs}\""), |_| true).await;
        schema.follow("executionEvents", &format!("executionId: \"{of}\", after: 0"), |_| true).await;
        world.append_unreadable("ev.runner.east.gone").await;
        schema.follow("events", "after: 0", |event| event["unknown"].is_string()).await;

        schema.mutate("revokeToken", json!({ "id": id })).await;
        schema.mutate("removeUser", json!({ "name": "bob" })).await;
        schema.mutate("deleteSecret", json!({ "name": "TOKEN" })).await;
        schema.mutate("drainRunner", json!({ "id": "local" })).await;
        schema.mutate("revokeRunner", json!({ "runner": "local" })).await;
        for clear in
            ["clearActionSchedule", "unlinkActionSavedSearch", "detachActionCampaign", "archiveAction"]
        {
            schema.mutate(clear, json!({ "actionId": action })).await;
        }
        assert_eq!(schema.silent(), ELSEWHERE);
        world.end().await;
    }
}

/// Users, who have everything that a user can have; the id of a token.
async fn people(world: &World, schema: &mut Schema<'_>) -> String {
    let user = json!({ "name": "anna", "role": "ADMIN", "password": "correct horse battery" });
    schema.mutate("createUser", user).await;
    create_user(world, "bob", "operator", None).await;
    schema.mutate("setUserRole", json!({ "name": "bob", "role": "VIEWER" })).await;
    schema.mutate("setPassword", json!({ "name": "bob", "password": "battery staple horse" })).await;
    let identity = json!({ "name": "anna", "issuer": "https://id.example.org", "subject": "a1" });
    schema.mutate("linkUser", identity).await;
    schema.mutate("createToken", json!({ "name": "nightly", "user": "anna" })).await;
    token_and_id_for(world, "bob", "viewer").await.1
}

/// An action that has everything that an action can have, and the preview of one; its id.
async fn actions(world: &World, schema: &mut Schema<'_>) -> String {
    let archive = scripts("echo 1");
    assert_eq!(put(world, &archive).await.0, 200);
    let files = blob(&archive);
    let source = format!("version: \"2\"\n{}", mounting("./scripts"));
    let definition = json!({ "fileName": "a.batch.yaml", "source": source,
        "files": { "sha256": files.sha256, "size": files.size } });
    let given = json!({ "name": "old", "branch": "b", "title": "T", "body": "B", "message": "M" });
    let source = json!({ "scopeQuery": "file:README.md", "steps": [{ "type": "docker", "image": "alpine", "args": ["true"] }] }).to_string();
    schema
        .mutate("applyAction", json!({ "fileName": "action.json", "source": source, "given": given }))
        .await;
    let applied = schema.mutate("applyAction", definition.clone()).await;
    let id = applied["action"]["id"].as_str().unwrap().to_owned();
    schema.mutate("setActionSchedule", json!({ "actionId": id, "cron": "@daily" })).await;
    schema.mutate("linkActionSavedSearch", json!({ "actionId": id, "savedSearch": "news" })).await;
    schema.mutate("attachActionCampaign", json!({ "actionId": id, "campaign": "spring" })).await;
    schema.mutate("setSecret", json!({ "name": "TOKEN", "value": "hunter22" })).await;
    schema.mutate("setSecret", json!({ "name": "TOKEN", "value": "hunter23", "actionId": id })).await;

    let mut input = definition;
    input.as_object_mut().unwrap().extend([
        ("repositories".to_owned(), json!(["/r"])),
        ("mutationId".to_owned(), json!("the preview")),
    ]);
    let ask = "mutation($input: PreviewActionInput!) { previewAction(input: $input) { id } }";
    let asked = world.data(ask, json!({ "input": input })).await;
    let preview = asked["previewAction"]["id"].as_str().unwrap();
    answer(world, preview.parse().unwrap()).await;
    schema.mutate("previewAction", input).await;
    schema.query("preview", &format!("id: \"{preview}\"")).await;
    id
}

async fn repositories(world: &World) -> RepositoryId {
    let id = RepositoryId::derived(&["one"]);
    for file in ["repository.registered.v1", "repository.head_moved.v1"] {
        append(world, "catalog", Aggregate::Repository(id), file, json!({})).await;
    }
    id
}

/// A runner that is there, and one that is gone.
async fn fleet(world: &World, schema: &mut Schema<'_>) {
    schema.mutate("createRunnerToken", json!({ "runner": "local" })).await;
    let (local, east) = (runner(), "east".parse().unwrap());
    for runner in [&local, &east] {
        let aggregate = Aggregate::Runner(runner.clone());
        append(world, "scheduler", aggregate, "runner.registered.v2", json!({})).await;
    }
    append(world, "scheduler", Aggregate::Runner(east), "runner.gone.v1", json!({})).await;
    let beat = RunnerBeat {
        incarnation: "0196b1f4-6a3e-7c51-9a40-3f2c8be7a601".parse().unwrap(),
        slots: 4,
        running: vec![Running { job: JobId::derived(&["one"]), attempt: 1 }],
        pool: "gpu".to_owned(),
        stage: Stage::Working,
        labels: Default::default(),
        version: "1".to_owned(),
        trouble: Some("the disk is full".to_owned()),
        sealing_key: None,
    };
    world.broker("runner-local").await.last_beat_of_runner(&local, &beat).await.unwrap();
    schema.follow("runners", "", |runner| runner["now"].is_object()).await;
}

/// Executions: one that runs and waits in vain, one that failed in part, and one that was canceled.
async fn executions(
    world: &World,
    schema: &mut Schema<'_>,
    action: &str,
) -> (ExecutionId, [JobId; 4], PlanId) {
    let of = execution();
    let values = json!({ "action": action });
    let aggregate = || Aggregate::Execution(of);
    append(world, "gateway", aggregate(), "execution.requested.v4.overrides", values).await;
    resolve(world, of).await;
    let jobs = jobs(world, of).await;
    append(world, "scheduler", aggregate(), "execution.starved.v2", json!({})).await;
    let plans = ["first", "second"].map(|name| PlanId::derived(&[name]));
    for id in plans {
        plan(world, id, of, jobs[0]).await;
    }
    let values = json!({ "by": plans[1] });
    append(world, "campaign-plan", Aggregate::Plan(plans[0]), "plan.superseded.v1", values).await;
    schema.query("plan", &format!("id: \"{}\"", plans[0])).await;

    schema.mutate("retryJob", json!({ "jobId": jobs[1] })).await;
    schema.mutate("cancelJob", json!({ "jobId": jobs[3] })).await;

    for end in ["partially_failed", "canceled"] {
        let input = json!({ "actionId": action, "repositories": ["/r"] });
        let made = schema.mutate("createActionExecution", input).await;
        let id: ExecutionId = made["execution"]["id"].as_str().unwrap().parse().unwrap();
        resolve(world, id).await;
        self::jobs(world, id).await;
        if end == "canceled" {
            schema.mutate("cancelExecution", json!({ "executionId": id })).await;
        }
        let aggregate = Aggregate::Execution(id);
        let counts = json!({ "succeeded": 1, "failed": 1, "canceled": 2, "unreachable": 0 });
        let values = json!({ "outcome": end, "counts": counts });
        append(world, "scheduler", aggregate, "execution.completed.v1", values).await;
        schema.query("execution", &format!("id: \"{id}\"")).await;
        if end == "canceled" {
            schema.mutate("createCampaignPlan", json!({ "executionId": id })).await;
        } else {
            schema.mutate("retryExecution", json!({ "executionId": id, "jobs": "FAILED" })).await;
        }
    }
    (of, jobs, plans[1])
}
