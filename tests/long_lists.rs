//! Lists that are longer than what is asked for at once: the commands show all of them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{World, http_client};

/// More than a page of any command has.
const MANY: usize = 105;

/// Asks for the same mutation many times, with another name each, a few in one request.
fn ask_for_many(world: &World, mutation: impl Fn(usize) -> String) {
    let gateway = world.gateway().unwrap();
    let numbers: Vec<usize> = (0..MANY).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for some in numbers.chunks(35) {
        let fields: Vec<String> =
            some.iter().map(|number| format!("n{number}: {}", mutation(*number))).collect();
        let body = json!({ "query": format!("mutation {{ {} }}", fields.join(" ")) });
        let request =
            http_client().post(format!("{}/graphql", gateway.url)).bearer_auth(&gateway.token).json(&body);
        let answer: Value = runtime.block_on(async { request.send().await.unwrap().json().await.unwrap() });
        assert_eq!(answer["errors"], Value::Null, "{answer:#}");
    }
}

/// What a list shows, told apart by a field, and that what it prints for people has each.
fn listed(world: &World, command: &[&str], field: &str) -> BTreeSet<String> {
    let documents = world.documents(&[command, &["--json"]].concat());
    let printed = world.ok(command);
    let names: BTreeSet<String> =
        documents.iter().map(|document| document[field].as_str().unwrap().to_owned()).collect();
    assert_eq!(names.len(), documents.len(), "none comes twice");
    for name in &names {
        assert!(printed.contains(name.as_str()), "{name} is not in:\n{printed}");
    }
    names
}

#[test]
fn users_tokens_secrets_and_runners_are_shown_whole_however_many() {
    let world = World::up();
    let names = |prefix: &str| -> BTreeSet<String> { (0..MANY).map(|n| format!("{prefix}{n:03}")).collect() };

    ask_for_many(&world, |n| {
        format!("createUser(input: {{ name: \"user-{n:03}\", role: VIEWER }}) {{ sequence }}")
    });
    assert_eq!(listed(&world, &["user", "list"], "name"), names("user-"));

    let token = |n| format!("createToken(input: {{ name: \"t{n:03}\", user: \"user-000\" }}) {{ sequence }}");
    ask_for_many(&world, token);
    assert_eq!(listed(&world, &["token", "list", "--user", "user-000"], "name"), names("t"));
    assert_eq!(listed(&world, &["token", "list"], "name"), names("t"));

    ask_for_many(&world, |n| {
        format!("setSecret(input: {{ name: \"NAME_{n:03}\", value: \"secret\" }}) {{ sequence }}")
    });
    assert_eq!(listed(&world, &["secret", "list"], "name"), names("NAME_"));

    ask_for_many(&world, |n| {
        format!("createRunnerToken(input: {{ runner: \"runner-{n:03}\" }}) {{ expiresAt }}")
    });
    let mut runners = names("runner-");
    runners.insert("local".to_owned());
    assert_eq!(listed(&world, &["runner", "list"], "id"), runners);
    world.end();
}
