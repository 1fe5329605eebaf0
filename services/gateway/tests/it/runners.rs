//! Runners as they are shown, from the first word of them to the last.

use chrono::{DateTime, Duration, Utc};
use events::enrollment::{self, Enrolled, Revoked, TokenIssued};
use events::id::RunnerId;
use events::{Aggregate, Event, runner};
use serde_json::{Value, json};

use crate::world::World;

const FIELDS: &str = "id state slots pool reason enrollment { state tokenExpiresAt }";

async fn enrollment(world: &World, user: &str, name: &str, event: impl Into<enrollment::Event>) {
    world.append(user, Aggregate::Enrollment(name.parse().unwrap()), Event::Enrollment(event.into())).await;
}

async fn runner(world: &World, name: &str, event: impl Into<runner::Event>) {
    let id: RunnerId = name.parse().unwrap();
    world.append("scheduler", Aggregate::Runner(id), Event::Runner(event.into())).await;
}

fn token(expires_at: DateTime<Utc>) -> TokenIssued {
    TokenIssued { token_sha256: "a".repeat(64).parse().unwrap(), expires_at, pool: None, labels: None }
}

fn key() -> Enrolled {
    Enrolled { token_sha256: "a".repeat(64).parse().unwrap(), public_key: "UA".to_owned() }
}

pub(crate) fn registered() -> runner::Registered {
    runner::Registered {
        incarnation: uuid::Uuid::from_u128(7),
        slots: 4,
        pool: "gpu".to_owned(),
        labels: [("zone".to_owned(), "a".to_owned())].into(),
        version: "1".to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_invited_enrolled_or_revoked_is_shown_like_who_is_there() {
    for world in World::on_both().await {
        let expires_at: DateTime<Utc> = "2026-01-02T03:04:05.000006Z".parse().unwrap();
        // One of each, told in another order than they are listed.
        runner(&world, "static", registered()).await;
        for name in ["invited", "enrolled", "busy", "barred", "replaced", "cut"] {
            enrollment(&world, "gateway", name, token(expires_at - Duration::hours(1))).await;
        }
        enrollment(&world, "gateway", "invited", token(expires_at)).await;
        for name in ["enrolled", "busy", "replaced", "cut"] {
            enrollment(&world, "registrar", name, key()).await;
        }
        for name in ["busy", "replaced", "cut"] {
            runner(&world, name, registered()).await;
        }
        enrollment(&world, "gateway", "replaced", token(expires_at)).await;
        for name in ["barred", "cut"] {
            enrollment(&world, "gateway", name, Revoked {}).await;
        }
        runner(&world, "cut", runner::Gone { reason: "silent".to_owned() }).await;

        let found =
            world.data(&format!("{{ runners {{ totalCount nodes {{ {FIELDS} }} }} }}"), Value::Null).await;
        let shown = |name: &str, state: &str, process: Value, enrollment: Value| {
            let mut shown = json!({ "id": name, "state": state, "slots": null, "pool": null, "reason": null,
                "enrollment": enrollment });
            shown.as_object_mut().unwrap().extend(process.as_object().unwrap().clone());
            shown
        };
        let process = || json!({ "slots": 4, "pool": "gpu" });
        let enrolled =
            |state: &str, expires_at: Option<&str>| json!({ "state": state, "tokenExpiresAt": expires_at });
        let until = Some("2026-01-02T03:04:05.000006Z");
        let expected = [
            shown("barred", "REVOKED", json!({}), enrolled("REVOKED", None)),
            shown("busy", "REGISTERED", process(), enrolled("ENROLLED", None)),
            shown(
                "cut",
                "GONE",
                json!({ "slots": 4, "pool": "gpu", "reason": "silent" }),
                enrolled("REVOKED", None),
            ),
            shown("enrolled", "ENROLLED", json!({}), enrolled("ENROLLED", None)),
            shown("invited", "INVITED", json!({}), enrolled("INVITED", until)),
            shown("replaced", "REGISTERED", process(), enrolled("ENROLLED", until)),
            shown("static", "REGISTERED", process(), Value::Null),
        ];
        assert_eq!(found["runners"], json!({ "totalCount": 7, "nodes": expected }), "{found:#}");
        let query = format!("query($id: ID!) {{ runner(id: $id) {{ {FIELDS} }} }}");
        for runner in expected {
            let one = world.data(&query, json!({ "id": runner["id"] })).await;
            assert_eq!(one["runner"], runner);
        }
        assert_eq!(world.data(&query, json!({ "id": "nobody" })).await["runner"], Value::Null);
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_a_runner_can_be_read_at_once() {
    let world = World::new().await;
    let create = "mutation { createRunnerToken(input: { runner: \"east\" }) { token expiresAt } }";
    let made = world.data(create, Value::Null).await["createRunnerToken"].take();
    let query = format!("{{ runners {{ nodes {{ {FIELDS} }} }} }}");
    let found = world.data(&query, Value::Null).await;
    assert_eq!(found["runners"]["nodes"][0]["state"], "INVITED", "{found:#}");
    let secret = made["token"].as_str().unwrap().split_once('.').unwrap().1;
    assert!(!found.to_string().contains(secret), "{found:#}");
    let revoke = "mutation { revokeRunner(input: { runner: \"east\" }) { runner } }";
    world.data(revoke, Value::Null).await;
    let found = world.data(&query, Value::Null).await;
    assert_eq!(found["runners"]["nodes"][0]["state"], "REVOKED", "{found:#}");
    for (wrong, message) in [("pool: \"a b\"", "pool"), ("labels: [\"a,b\"]", "label")] {
        let create =
            format!("mutation {{ createRunnerToken(input: {{ runner: \"west\", {wrong} }}) {{ token }} }}");
        let error = world.error(&create, Value::Null).await;
        assert!(error["message"].as_str().unwrap().contains(message), "{error:#}");
    }
    let drain = "mutation { drainRunner(input: { id: \"east\" }) { sequence } }";
    let error = world.error(drain, Value::Null).await;
    assert_eq!(error["extensions"]["code"], "not-found", "{error:#}");
    world.end().await;
}
