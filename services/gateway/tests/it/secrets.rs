//! Secrets: set, listed, deleted, and never shown.

use broker::sealing::KeyPair;
use events::id::{SealingKeyId, SecretId};
use events::sealing_key::{Announced, Event as KeyEvent};
use events::secret::{Event as SecretEvent, Scope};
use events::{Aggregate, Event};
use serde_json::{Value, json};

use crate::world::{DEFINITION, World};

const SET: &str = "mutation($input: SetSecretInput!) { setSecret(input: $input) { sequence
    secret { id name actionId version actor setAt action { name } } } }";
const DELETE: &str =
    "mutation($input: DeleteSecretInput!) { deleteSecret(input: $input) { secret { name } } }";
const LIST: &str =
    "query($action: ID) { secrets(actionId: $action) { totalCount nodes { name actionId version } } }";

/// A world whose scheduler announced a key.
async fn world() -> (World, KeyPair) {
    let world = World::new().await;
    let key = KeyPair::generate();
    let announced: KeyEvent = Announced { public_key: key.public_key() }.into();
    let aggregate = Aggregate::SealingKey(SealingKeyId::site());
    world.append("scheduler", aggregate, Event::SealingKey(announced)).await;
    (world, key)
}

async fn set(world: &World, name: &str, value: &str) -> Value {
    let input = json!({ "name": name, "value": value });
    world.data(SET, json!({ "input": input })).await["setSecret"]["secret"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_sealed_in_the_log_and_has_versions() {
    let (world, key) = world().await;
    let first = set(&world, "TOKEN", "hunter22").await;
    assert_eq!(
        (&first["version"], &first["actionId"], &first["actor"]),
        (&json!(1), &Value::Null, &json!("user:local"))
    );
    assert_eq!(set(&world, "TOKEN", "hunter23").await["version"], 2);

    let action = world.apply(DEFINITION, None).await["action"]["id"].take();
    let input =
        json!({ "name": "TOKEN", "actionId": action, "value": "of the action", "mutationId": "once" });
    for _ in 0..2 {
        let own = world.data(SET, json!({ "input": input })).await["setSecret"]["secret"].take();
        assert_eq!(
            (&own["version"], &own["action"]["name"]),
            (&json!(1), &json!("tidy")),
            "repeated, it is done once"
        );
    }
    let listed = world.data(LIST, json!({})).await;
    assert_eq!(listed["secrets"]["nodes"].as_array().unwrap().len(), 2, "{listed:#}");
    assert_eq!(listed["secrets"]["totalCount"], 2);

    let id = SecretId::of(&Scope::Global, &"TOKEN".parse().unwrap());
    let history = world.broker("scheduler").await.history(&Aggregate::Secret(id)).await.unwrap();
    let values: Vec<String> = history
        .iter()
        .map(|recorded| match &recorded.event {
            Event::Secret(SecretEvent::Set(set)) => {
                key.open(&set.sealed, &id.to_string()).unwrap().reveal().to_owned()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(values, ["hunter22", "hunter23"]);
    let json: String =
        history.iter().map(|recorded| recorded.event.to_value().unwrap().to_string()).collect();
    assert!(!json.contains("hunter"), "{json}");

    world.data(DELETE, json!({ "input": { "name": "TOKEN" } })).await;
    let listed = world.data(LIST, json!({ "action": action })).await;
    let own = json!({ "totalCount": null, "nodes": [{ "name": "TOKEN", "actionId": action, "version": 1 }] });
    assert_eq!(listed["secrets"], own);
    assert_eq!(world.data("{ secrets { totalCount } }", json!({})).await["secrets"]["totalCount"], 1);
    assert_eq!(set(&world, "TOKEN", "hunter24").await["version"], 3, "a version names one value for ever");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_without_being_repeated() {
    let (world, _) = world().await;
    for (name, value) in
        [("TOKEN", "hun"), ("9TOKEN", "hunter22"), ("TOKEN", "hunter\0"), ("TOKEN", &"x".repeat(16_385))]
    {
        let error = world.error(SET, json!({ "input": { "name": name, "value": value } })).await;
        assert_eq!(error["extensions"]["code"], "invalid-secret", "{error:#}");
        assert!(!error.to_string().contains("hun") && error.to_string().len() < 1_000, "{error:#}");
    }
    let unknown = events::id::ActionId::named("nobody").to_string();
    let input = json!({ "name": "TOKEN", "value": "hunter22", "actionId": unknown });
    let error = world.error(SET, json!({ "input": input })).await;
    assert_eq!(error["extensions"]["code"], "not-found", "{error:#}");
    let error = world.error(DELETE, json!({ "input": { "name": "TOKEN" } })).await;
    assert_eq!(error["extensions"]["code"], "not-found", "{error:#}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_be_sealed_before_a_key_is_announced() {
    let world = World::new().await;
    let error = world.error(SET, json!({ "input": { "name": "TOKEN", "value": "hunter22" } })).await;
    assert_eq!(error["extensions"]["code"], "no-sealing-key", "{error:#}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_whose_secrets_are_not_set_is_refused() {
    let (world, _) = world().await;
    let source = DEFINITION.replace("    container:", "    env: [TOKEN, KEY]\n    container:");
    let action = world.apply(&source, None).await["action"]["id"].take();
    let create =
        "mutation($input: CreateActionExecutionInput!) { createActionExecution(input: $input) { sequence } }";
    let input = json!({ "input": { "actionId": action, "repositories": ["/r"] } });
    set(&world, "KEY", "hunter22").await;
    let error = world.error(create, input.clone()).await;
    assert_eq!(error["extensions"]["code"], "secret-not-set", "{error:#}");
    assert_eq!(error["extensions"]["secrets"], json!(["TOKEN"]));
    assert!(error["extensions"]["hint"].as_str().unwrap().contains("secret set TOKEN"), "{error:#}");
    set(&world, "TOKEN", "hunter22").await;
    world.data(create, input).await;
    world.end().await;
}
