//! Access control, as stories: who is known, for how long, and what is left of it in the log.

use chrono::{Duration, Utc};
use events::blob::{BlobKind, Sha256};
use events::envelope::{Actor, NewEvent, Origin};
use events::id::{CommandId, TokenId, UserId};
use events::token::{self, TokenKind};
use events::user::{self, PasswordRef, Role, UserName};
use events::{Aggregate, Event};
use reqwest::Client;
use serde_json::{Value, json};
use sha2::Digest as _;

use crate::world::{DEFINITION, World, execution, showing};

const PASSWORD: &str = "correct horse battery";

const CANCEL: &str =
    "mutation($id: ID!) { cancelExecution(input: { executionId: $id }) { sequence execution { id } } }";

/// Makes a user, as whoever may read the data directory.
pub(crate) async fn create_user(world: &World, name: &str, role: &str, password: Option<&str>) {
    let query =
        "mutation($input: CreateUserInput!) { createUser(input: $input) { user { name role } sequence } }";
    let input = json!({ "name": name, "role": role.to_uppercase(), "password": password });
    let created = world.data(query, json!({ "input": input })).await;
    assert_eq!(created["createUser"]["user"]["name"], name);
}

/// An access token of a user.
pub(crate) async fn token_for(world: &World, user: &str, role: &str) -> String {
    token_and_id_for(world, user, role).await.0
}

/// An access token of a user, and its id.
pub(crate) async fn token_and_id_for(world: &World, user: &str, role: &str) -> (String, String) {
    let query = "mutation($input: CreateTokenInput!) { createToken(input: $input) { token id } }";
    let input = json!({ "name": "a test", "user": user, "role": role.to_uppercase() });
    let made = world.data(query, json!({ "input": input })).await;
    let text = |field: &str| made["createToken"][field].as_str().unwrap().to_owned();
    (text("token"), text("id"))
}

async fn ask(client: &Client, world: &World, query: &str, variables: Value) -> Value {
    let request = json!({ "query": query, "variables": variables });
    let answer = client.post(format!("{}/graphql", world.url)).json(&request).send().await.unwrap();
    answer.json().await.unwrap()
}

/// How a client is known: name, role and by what; or why it is not.
async fn known(client: &Client, world: &World) -> Result<[String; 3], String> {
    let answer = ask(client, world, "{ viewer { name role via } }", json!({})).await;
    if let Some(why) = answer["error"]["message"].as_str() {
        assert_eq!(answer["error"]["code"], "unauthenticated", "{answer}");
        return Err(why.to_owned());
    }
    let viewer = &answer["data"]["viewer"];
    Ok(["name", "role", "via"].map(|field| viewer[field].as_str().unwrap().to_owned()))
}

fn code(answer: &Value) -> &Value {
    &answer["errors"][0]["extensions"]["code"]
}

async fn sign_in(world: &World, name: &str, password: &str) -> reqwest::Response {
    let body = json!({ "name": name, "password": password });
    showing(None).post(format!("{}/signin", world.url)).json(&body).send().await.unwrap()
}

/// The token of somebody who signs in as a program does.
async fn session(world: &World, name: &str, password: &str) -> String {
    let answer = sign_in(world, name, password).await;
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("set-cookie"), "a program keeps no cookies");
    let mut answer: Value = answer.json().await.unwrap();
    serde_json::from_value(answer["token"].take()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_shows_nothing_is_nobody_and_the_data_directory_is_the_administrator() {
    let world = World::new().await;
    let nobody = known(&showing(None), &world).await.unwrap_err();
    assert_eq!(nobody, "it is not known who asks");
    let wrong = known(&showing(Some("pw_wrong")), &world).await.unwrap_err();
    assert_eq!(wrong, "the token is not one that was made here");
    let refused = showing(None).get(format!("{}/files", world.url)).send().await.unwrap();
    assert_eq!(refused.status(), 401);
    assert!(refused.headers().contains_key("www-authenticate"));
    let local = known(world.client(), &world).await.unwrap();
    assert_eq!(local, ["local", "ADMIN", "DATA_DIRECTORY"]);

    let open = world.open_gateway().await;
    let body = json!({ "query": "{ viewer { name via } }" });
    let answer = showing(None).post(format!("{open}/graphql")).json(&body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["data"]["viewer"], json!({ "name": "local", "via": "NOTHING" }));
    let none = showing(None).get(format!("{open}/signin")).send().await.unwrap();
    assert_eq!(none.status(), 404, "there is nobody to sign in as");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_and_an_operator_acts_in_a_name_of_their_own() {
    let world = World::new().await;
    world.running_job().await;
    let id = json!({ "id": execution().to_string() });
    create_user(&world, "vera", "viewer", None).await;
    create_user(&world, "olga", "operator", None).await;
    let vera = showing(Some(&token_for(&world, "vera", "admin").await));
    assert_eq!(known(&vera, &world).await.unwrap(), ["vera", "VIEWER", "TOKEN"], "the least of both counts");
    let refused = ask(&vera, &world, CANCEL, id.clone()).await;
    assert_eq!(*code(&refused), "forbidden", "{refused}");
    assert_eq!(refused["errors"][0]["extensions"]["needed"], "operator");
    let message = refused["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("cancelExecution") && message.contains("vera has the role viewer"), "{message}");

    let olga = showing(Some(&token_for(&world, "olga", "operator").await));
    let input = json!({ "fileName": "tidy.batch.yaml", "source": DEFINITION, "mutationId": "once" });
    let apply = "mutation($input: ApplyActionInput!) { applyAction(input: $input) { changed sequence } }";
    let applied = ask(&olga, &world, apply, json!({ "input": input })).await;
    let sequence = applied["data"]["applyAction"]["sequence"].as_u64().unwrap();
    let event = world.broker("operator").await.event_at(sequence).await.unwrap().unwrap();
    assert_eq!(event.event().unwrap().actor.as_str(), "user:olga");

    // Another's mutation id brings no answer that was another's.
    let other = input["source"].as_str().unwrap().replace("Tidies.", "Tidies more.");
    let theirs = json!({ "fileName": "tidy.batch.yaml", "source": other, "mutationId": "once" });
    let done = world.data(apply, json!({ "input": theirs })).await;
    assert_eq!(done["applyAction"]["changed"], true);
    let again = ask(&olga, &world, apply, json!({ "input": input })).await;
    assert_eq!(again["data"]["applyAction"]["sequence"], sequence, "one's own is done once: {again}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_time_its_revocation_its_users_role_or_its_user() {
    let world = World::new().await;
    create_user(&world, "anna", "admin", None).await;
    create_user(&world, "bob", "operator", None).await;
    let (first, id) = token_and_id_for(&world, "bob", "operator").await;
    let second = token_for(&world, "bob", "operator").await;
    let (bob, other) = (showing(Some(&first)), showing(Some(&second)));

    let list = "query($user: String) { tokens(user: $user) { nodes { id name user kind role } } }";
    let tokens = ask(&bob, &world, list, json!({})).await;
    assert_eq!(tokens["data"]["tokens"]["nodes"].as_array().unwrap().len(), 2, "{tokens}");
    let of_anna = ask(&bob, &world, list, json!({ "user": "anna" })).await;
    assert_eq!(*code(&of_anna), "forbidden");

    let revoke = "mutation($id: ID!) { revokeToken(input: { id: $id }) { token { name revokedAt } } }";
    let revoked = ask(&other, &world, revoke, json!({ "id": id })).await;
    assert!(revoked["data"]["revokeToken"]["token"]["revokedAt"].is_string(), "{revoked}");
    assert_eq!(known(&bob, &world).await.unwrap_err(), "the token was revoked");
    assert_eq!(known(&other, &world).await.unwrap(), ["bob", "OPERATOR", "TOKEN"]);

    let made =
        ask(&other, &world, "mutation { createToken(input: { name: \"child\" }) { token } }", json!({}))
            .await;
    assert_eq!(*code(&made), "forbidden", "a token makes no tokens: {made}");

    let role = "mutation { setUserRole(input: { name: \"bob\", role: VIEWER }) { user { role } } }";
    world.data(role, json!({})).await;
    assert_eq!(known(&other, &world).await.unwrap(), ["bob", "VIEWER", "TOKEN"]);

    // One that has expired: its time came before it was made.
    let text = "pw_expired";
    let token_sha256 = Sha256::from_bytes(&sha2::Sha256::digest(text).into());
    let issued = token::Issued {
        user: "bob".parse().unwrap(),
        name: "old".to_owned(),
        kind: TokenKind::Access,
        token_sha256: token_sha256.clone(),
        role: Role::Operator,
        expires_at: Utc::now() - Duration::seconds(1),
    };
    let aggregate = Aggregate::Token(TokenId::derived(&["expired"]));
    world.append("gateway", aggregate, Event::Token(issued.into())).await;
    let why = known(&showing(Some(text)), &world).await.unwrap_err();
    assert!(why.starts_with("the token expired at"), "{why}");

    world.data("mutation { removeUser(input: { name: \"bob\" }) { user { removed } } }", json!({})).await;
    assert_eq!(known(&other, &world).await.unwrap_err(), "the token was revoked");
    let again = "mutation { createUser(input: { name: \"bob\", role: VIEWER }) { user { name } } }";
    let refused = world.error(again, json!({})).await;
    assert_eq!(refused["extensions"]["code"], "already-exists", "a name is one person's: {refused}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_made_is_not_made_again_and_not_shown_again() {
    let world = World::new().await;
    create_user(&world, "anna", "admin", None).await;
    create_user(&world, "bob", "operator", None).await;
    let query = "mutation($user: String!, $again: String!) {
        createToken(input: { name: \"nightly\", user: $user, mutationId: $again }) { token id user expiresAt sequence } }";
    let make = async |user: &str, again: &str| {
        world.data(query, json!({ "user": user, "again": again })).await["createToken"].take()
    };
    let (mut first, mut second) = tokio::join!(make("bob", "1"), make("bob", "1"));
    if first["token"].is_null() {
        std::mem::swap(&mut first, &mut second);
    }
    let token = first["token"].take();
    assert!(token.is_string() && second["token"].is_null(), "{token} {second}");
    assert_eq!(first, second, "all but the token is told again");
    let refused = world.error(query, json!({ "user": "anna", "again": "1" })).await;
    assert_eq!(refused["extensions"]["code"], "already-exists", "that is another request: {refused}");
    assert_ne!(make("bob", "2").await["id"], second["id"]);
    assert_eq!(
        known(&showing(token.as_str()), &world).await.unwrap(),
        ["bob", "OPERATOR", "TOKEN"],
        "the one that was shown is the one that counts"
    );
    let list = "query { tokens(user: \"bob\") { nodes { id } } }";
    assert_eq!(world.data(list, json!({})).await["tokens"]["nodes"].as_array().unwrap().len(), 2);

    let query = "mutation($again: String!) {
        createRunnerToken(input: { runner: \"east\", mutationId: $again }) { token expiresAt sequence } }";
    let make =
        async |again: &str| world.data(query, json!({ "again": again })).await["createRunnerToken"].take();
    let mut first = make("1").await;
    assert!(first["token"].take().is_string());
    assert_eq!(make("1").await, first);
    let mut newer = make("2").await;
    assert!(newer["token"].take().is_string());
    assert_eq!(make("1").await, first, "also when another was made since, which is the one that counts");
    let other = "mutation { createRunnerToken(input: { runner: \"east\", pool: \"gpu\", mutationId: \"1\" }) { token } }";
    let refused = world.error(other, json!({})).await;
    assert_eq!(refused["extensions"]["code"], "already-exists", "that is another request: {refused}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_is_left() {
    let world = World::new().await;
    create_user(&world, "anna", "admin", None).await;
    let remove = "mutation($name: String!) { removeUser(input: { name: $name }) { user { removed } } }";
    let demote = "mutation { setUserRole(input: { name: \"anna\", role: VIEWER }) { user { role } } }";
    assert_eq!(world.error(remove, json!({ "name": "anna" })).await["extensions"]["code"], "last-admin");
    assert_eq!(world.error(demote, json!({})).await["extensions"]["code"], "last-admin");
    create_user(&world, "bob", "admin", None).await;
    assert_eq!(world.data(demote, json!({})).await["setUserRole"]["user"]["role"], "VIEWER");
    assert_eq!(world.error(remove, json!({ "name": "bob" })).await["extensions"]["code"], "last-admin");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_no_other_site_uses_that() {
    let world = World::new().await;
    create_user(&world, "anna", "operator", Some(PASSWORD)).await;
    let browser = Client::builder().build().unwrap();
    let page = browser.get(format!("{}/signin", world.url)).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script"), "{policy}");
    assert!(!page.text().await.unwrap().contains("<script"));

    let form = "name=anna&password=correct+horse+battery";
    let post = |body: &'static str, origin: &str| {
        let request = browser.post(format!("{}/signin", world.url)).body(body);
        request.header("content-type", "application/x-www-form-urlencoded").header("origin", origin)
    };
    let wrong = post("name=anna&password=wrong", &world.url).send().await.unwrap();
    assert_eq!(wrong.status(), 401);
    assert!(wrong.text().await.unwrap().contains("The name or the password is another one."));
    assert_eq!(post(form, "https://example.org").send().await.unwrap().status(), 403);
    let signed_in = post(form, &world.url).send().await.unwrap();
    assert_eq!(signed_in.status(), 200);
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!signed_in.text().await.unwrap().contains("pw_"), "no script could read it from the page");
    let cookie = cookie.split(';').next().unwrap();

    let body = json!({ "query": "{ viewer { name role via } }" });
    let asks = || browser.post(format!("{}/graphql", world.url)).json(&body).header("cookie", cookie);
    assert_eq!(asks().send().await.unwrap().status(), 403, "it does not say from where");
    assert_eq!(asks().header("origin", "https://example.org").send().await.unwrap().status(), 403);
    assert_eq!(asks().header("sec-fetch-site", "same-site").send().await.unwrap().status(), 403);
    let answer: Value = asks().header("origin", &world.url).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["data"]["viewer"], json!({ "name": "anna", "role": "OPERATOR", "via": "SESSION" }));

    let out = browser.post(format!("{}/signout", world.url)).header("cookie", cookie);
    let out = out.header("origin", &world.url).send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert!(out.headers()["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    assert_eq!(asks().header("origin", &world.url).send().await.unwrap().status(), 401);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_by_whoever_knows_the_one_before() {
    let world = World::new().await;
    create_user(&world, "anna", "operator", Some(PASSWORD)).await;
    let before = session(&world, "anna", PASSWORD).await;
    let anna = showing(Some(&before));
    let change = "mutation($input: SetPasswordInput!) { setPassword(input: $input) { user { name } } }";
    let input = |current: Option<&str>, new: &str| json!({ "input": { "password": new, "currentPassword": current } });
    for refused in [
        input(None, "another one entirely"),
        input(Some("wrong"), "another one entirely"),
        input(Some(PASSWORD), "short"),
    ] {
        let answer = ask(&anna, &world, change, refused).await;
        assert_eq!(*code(&answer), "invalid-password", "{answer}");
        assert!(
            !answer.to_string().contains("another one entirely") && !answer.to_string().contains(PASSWORD)
        );
    }
    let answer = ask(&anna, &world, change, input(Some(PASSWORD), "another one entirely")).await;
    assert_eq!(answer["data"]["setPassword"]["user"]["name"], "anna", "{answer}");
    assert_eq!(known(&anna, &world).await.unwrap_err(), "the password was changed since");
    assert_eq!(sign_in(&world, "anna", PASSWORD).await.status(), 401);
    session(&world, "anna", "another one entirely").await;

    let theirs = json!({ "input": { "name": "anna", "password": "set by the administrator" } });
    world.data(change, theirs).await;
    session(&world, "anna", "set by the administrator").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_guesses_waits() {
    let world = World::new().await;
    create_user(&world, "anna", "viewer", Some(PASSWORD)).await;
    for _ in 0..5 {
        assert_eq!(sign_in(&world, "anna", "a guess").await.status(), 401);
    }
    let refused = sign_in(&world, "anna", PASSWORD).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    let refused: Value = refused.json().await.unwrap();
    assert_eq!(refused["error"]["code"], "too-many-attempts");
    assert_eq!(
        sign_in(&world, "nobody", "a guess").await.status(),
        401,
        "a name that nobody has is no other"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_between_a_hash_and_its_event_leaves_nothing_broken() {
    let world = World::new().await;
    let gateway = world.broker("gateway").await;
    // The hash was stored, and nobody was left to append the event.
    gateway.put_blob(BlobKind::Password, b"$argon2id$left behind").await.unwrap();
    create_user(&world, "anna", "viewer", Some(PASSWORD)).await;
    session(&world, "anna", PASSWORD).await;

    // And if a hash were lost, its user could not sign in, and nothing else.
    let name: UserName = "bob".parse().unwrap();
    let password = Some(PasswordRef { sha256: Sha256::from_bytes(&[7; 32]), size: 97 });
    let created = user::Created { name: name.clone(), role: Role::Viewer, password, identity: None };
    let aggregate = Aggregate::User(UserId::named(&name));
    world.append("gateway", aggregate, Event::User(created.into())).await;
    assert_eq!(sign_in(&world, "bob", PASSWORD).await.status(), 401);
    let set = json!({ "input": { "name": "bob", "password": "another one entirely" } });
    let change = "mutation($input: SetPasswordInput!) { setPassword(input: $input) { user { name } } }";
    world.data(change, set).await;
    session(&world, "bob", "another one entirely").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_first_administrators_there_is_one() {
    let world = World::new().await;
    let gateway = world.broker("gateway").await;
    let filter = events::subject::every(events::AggregateKind::User, "created");
    let first = |name: &str| {
        let name: UserName = name.parse().unwrap();
        let origin = Origin {
            command: CommandId::derived(&[name.as_str()]),
            actor: Actor::user(name.as_str()),
            correlation: "test".to_owned(),
            causation: None,
            trace_parent: None,
        };
        let aggregate = Aggregate::User(UserId::named(&name));
        let created = user::Created { name, role: Role::Admin, password: None, identity: None };
        NewEvent { aggregate, event: Event::User(created.into()), time: Utc::now(), origin }
    };
    let all = ["anna", "bob", "carla", "dan"].map(first);
    let tries = all.iter().map(|event| gateway.append_first(event, &filter));
    let tries = futures::future::join_all(tries).await;
    assert_eq!(tries.iter().filter(|appended| appended.is_ok()).count(), 1, "{tries:?}");
    // Whoever did not hear the answer asks again.
    let won = tries.iter().position(Result::is_ok).unwrap();
    let again = gateway.append_first(&all[won], &filter).await.unwrap();
    assert!(again.repeated);
    create_user(&world, "eve", "viewer", None).await;
    world.end().await;
}

/// The files below a folder that hold these bytes.
fn holding(folder: &std::path::Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read(&path).unwrap_or_default().windows(bytes.len()).any(|part| part == bytes)
            {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stream_holds_a_password_or_a_token_and_the_log_no_hash() {
    let world = World::new().await;
    create_user(&world, "anna", "viewer", Some(PASSWORD)).await;
    let session = session(&world, "anna", PASSWORD).await;
    let access = token_for(&world, "anna", "viewer").await;
    let folder = world.broker_folder();
    for secret in [PASSWORD, &session, &session[3..], &access, &access[3..], world.token.reveal()] {
        let found = holding(&folder, secret.as_bytes());
        assert!(found.is_empty(), "{found:?}");
    }
    let events = |found: Vec<String>| found.into_iter().filter(|path| path.contains("/EVENTS/")).count();
    assert!(events(holding(&folder, b"\"anna\"")) > 0, "the control: what stands there is found");
    let hashes = holding(&folder, b"$argon2id$");
    assert!(!hashes.is_empty() && hashes.iter().all(|path| path.contains("/BLOBS/")), "{hashes:?}");
    world.end().await;
}
