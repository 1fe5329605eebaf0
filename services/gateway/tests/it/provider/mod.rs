//! Signing in with a provider of identities, as stories: a certified one, and one that lies.

pub(crate) mod browser;
pub(crate) mod certified;
mod lies;

use std::sync::atomic::Ordering;

use events::Aggregate;
use events::id::UserId;
use events::user::Role;
use gateway::ProviderRules;
use reqwest::StatusCode;
use serde_json::{Value, json};

use self::browser::{Browser, Page};
use self::certified::Certified;
use crate::access::create_user;
use crate::world::World;

const PASSWORD: &str = "correct horse battery";

/// An address as a name, and everybody is let in.
fn open() -> ProviderRules {
    ProviderRules {
        name_claim: "email".to_owned(),
        role_claim: None,
        roles: Vec::new(),
        default_role: Some(Role::Viewer),
    }
}

/// Groups decide about roles.
fn by_groups() -> ProviderRules {
    let roles = [("devs", Role::Operator), ("leads", Role::Admin), ("guests", Role::Viewer)];
    ProviderRules {
        role_claim: Some("groups".to_owned()),
        roles: roles.map(|(value, role)| (value.to_owned(), role)).to_vec(),
        default_role: None,
        ..open()
    }
}

fn person(subject: &str, email: &str) -> Value {
    json!({ "sub": subject, "email": email, "email_verified": true })
}

/// A world with an administrator, a provider, and a gateway that sends people there; says where that is.
async fn world(rules: ProviderRules, more: Value) -> (World, Certified, String) {
    let world = World::new().await;
    create_user(&world, "root", "admin", None).await;
    let (listener, url) = World::listener().await;
    let provider = Certified::start(&url, &more).await;
    world.gateway_on(listener, provider.config(rules)).await;
    (world, provider, url)
}

/// Signs in with a browser of one's own, which is no user's before.
async fn sign_in(gateway: &str) -> (Browser, Page) {
    let mut browser = Browser::new();
    let page = browser.sign_in(gateway).await;
    (browser, page)
}

/// Nobody came in, and a page says why.
fn refused(browser: &Browser, page: &Page, status: u16, why: &str) {
    assert_eq!(page.status.as_u16(), status, "{}", page.text);
    assert!(page.text.contains("Not signed in") && page.text.contains(why), "{why}: {}", page.text);
    assert!(!browser.has_session());
}

async fn users(world: &World) -> Value {
    let query = "{ users { nodes { name role actor passwordSetAt identity { issuer subject } } } }";
    world.data(query, json!({})).await["users"]["nodes"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_from_the_provider_is_a_user_and_stays_the_same_one() {
    let (world, provider, gateway) = world(open(), json!({})).await;
    provider.person(&person("1", "Anna@Example.org")).await;
    let (browser, page) = sign_in(&gateway).await;
    assert!(page.text.contains("Signed in as anna@example.org (viewer)"), "{}", page.text);
    assert_eq!(page.url.path(), "/signin", "no code stays in the address");
    let viewer = json!({ "name": "anna@example.org", "role": "VIEWER", "via": "SESSION" });
    assert_eq!(browser.viewer(&gateway).await, viewer);
    let identity = json!({ "issuer": provider.issuer, "subject": "1" });
    let anna = json!({ "name": "anna@example.org", "role": "VIEWER", "actor": "service:gateway",
        "passwordSetAt": null, "identity": identity });
    assert_eq!(users(&world).await[0], anna);

    // An administrator gives another role, and the address is another by now: still the same user.
    let role = "mutation { setUserRole(input: { name: \"anna@example.org\", role: OPERATOR }) { sequence } }";
    world.data(role, json!({})).await;
    provider.person(&person("1", "anna.b@example.org")).await;
    let (_, page) = sign_in(&gateway).await;
    assert!(page.text.contains("Signed in as anna@example.org (operator)"), "{}", page.text);
    assert_eq!(users(&world).await.as_array().unwrap().len(), 2);

    // The address is somebody else's now.
    provider.person(&person("2", "anna@example.org")).await;
    let (browser, page) = sign_in(&gateway).await;
    refused(&browser, &page, 403, "there is a user anna@example.org already");
    let command = format!("patchwave user link anna@example.org --issuer {} --subject 2", provider.issuer);
    assert!(page.text.contains(&command), "{}", page.text);

    let remove = "mutation { removeUser(input: { name: \"anna@example.org\" }) { sequence } }";
    world.data(remove, json!({})).await;
    for subject in ["1", "2"] {
        provider.person(&person(subject, "anna@example.org")).await;
        let (browser, page) = sign_in(&gateway).await;
        refused(&browser, &page, if subject == "1" { 403 } else { 400 }, "was removed");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_a_password_is_nobody_elses_until_an_administrator_says_so() {
    let (world, provider, gateway) = world(open(), json!({ "claimsInToken": true })).await;
    create_user(&world, "anna@example.org", "operator", Some(PASSWORD)).await;
    provider.person(&person("1", "anna@example.org")).await;
    let (browser, page) = sign_in(&gateway).await;
    refused(&browser, &page, 403, "there is a user anna@example.org already");

    let link =
        "mutation($input: LinkUserInput!) { linkUser(input: $input) { user { identity { subject } } } }";
    let input = |name: &str, issuer: &str, subject: &str| json!({ "input": { "name": name, "issuer": issuer, "subject": subject } });
    let linked = world.data(link, input("anna@example.org", &provider.issuer, "1")).await;
    assert_eq!(linked["linkUser"]["user"]["identity"]["subject"], "1");
    let (_, page) = sign_in(&gateway).await;
    assert!(page.text.contains("Signed in as anna@example.org (operator)"), "{}", page.text);

    for (name, issuer, code) in [
        ("root", provider.issuer.as_str(), "already-exists"),
        ("nobody", "https://id.example.org", "not-found"),
        ("root", "id.example.org", "invalid-request"),
    ] {
        let refused = world.error(link, input(name, issuer, "1")).await;
        assert_eq!(refused["extensions"]["code"], code, "{refused}");
    }

    // Whoever is linked instead is the user from then on, and nobody else.
    world.data(link, input("anna@example.org", &provider.issuer, "2")).await;
    let (browser, page) = sign_in(&gateway).await;
    refused(&browser, &page, 403, "there is a user anna@example.org already");
    provider.person(&person("2", "other@example.org")).await;
    let (browser, page) = sign_in(&gateway).await;
    assert!(page.text.contains("Signed in as anna@example.org (operator)"), "{}", page.text);

    // The session is as any other.
    let revoke = "mutation($id: ID!) { revokeToken(input: { id: $id }) { sequence } }";
    let tokens = world.data("{ tokens { nodes { id kind user } } }", json!({})).await;
    assert_eq!(tokens["tokens"]["nodes"].as_array().unwrap().len(), 2, "{tokens}");
    for token in tokens["tokens"]["nodes"].as_array().unwrap() {
        assert_eq!((&token["kind"], &token["user"]), (&json!("SESSION"), &json!("anna@example.org")));
        world.data(revoke, json!({ "id": token["id"] })).await;
    }
    assert_eq!(browser.viewer(&gateway).await, Value::Null);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_follows_what_the_provider_says() {
    let (world, provider, gateway) = world(by_groups(), json!({ "method": "client_secret_post" })).await;
    let anna = async |groups: Value| {
        let mut claims = person("1", "anna@example.org");
        claims["groups"] = groups;
        provider.person(&claims).await;
        sign_in(&gateway).await
    };
    let (browser, page) = anna(json!(["others"])).await;
    refused(&browser, &page, 403, "nothing gives them a role");
    for (groups, role) in [
        (json!(["guests", "devs"]), "operator"),
        (json!("leads"), "admin"),
        (json!(["guests"]), "viewer"),
        (json!(["leads"]), "admin"),
    ] {
        let (_, page) = anna(groups).await;
        assert!(page.text.contains(&format!("Signed in as anna@example.org ({role})")), "{}", page.text);
    }
    let (browser, page) = anna(json!([])).await;
    refused(&browser, &page, 403, "nothing gives them a role");

    // The last administrator stays one.
    world.data("mutation { removeUser(input: { name: \"root\" }) { sequence } }", json!({})).await;
    let (_, page) = anna(json!(["guests"])).await;
    assert!(page.text.contains("Signed in as anna@example.org (admin)"), "{}", page.text);
    assert_eq!(users(&world).await[0]["role"], "ADMIN");

    // Only what changes is an event.
    let anna = Aggregate::User(UserId::named(&"anna@example.org".parse().unwrap()));
    let history = world.broker("operator").await.history(&anna).await.unwrap();
    let names: Vec<&str> = history.iter().map(|recorded| recorded.event.name()).collect();
    assert_eq!(names, ["created", "role_changed", "role_changed", "role_changed"]);
    assert!(history.iter().all(|recorded| recorded.actor.as_str() == "service:gateway"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_nobody_verified_is_no_name_and_the_first_user_is_an_administrator() {
    let world = World::new().await;
    let (listener, gateway) = World::listener().await;
    let provider = Certified::start(&gateway, &json!({})).await;
    world.gateway_on(listener, provider.config(open())).await;
    provider.person(&person("1", "anna@example.org")).await;
    let (browser, page) = sign_in(&gateway).await;
    refused(&browser, &page, 403, "there is no administrator yet");
    create_user(&world, "root", "admin", None).await;

    for (claims, why) in [
        (json!({ "sub": "1", "email": "anna@example.org", "email_verified": false }), "has not verified"),
        (json!({ "sub": "1", "email": "anna@example.org" }), "has not verified"),
        (json!({ "sub": "1" }), "does not say your"),
        (json!({ "sub": "1", "email": "anna+1@example.org", "email_verified": true }), "cannot be a name"),
        (Value::Null, "the provider says `access_denied`"),
    ] {
        provider.person(&claims).await;
        let (browser, page) = sign_in(&gateway).await;
        refused(&browser, &page, if claims.is_null() { 401 } else { 403 }, why);
    }
    assert_eq!(users(&world).await.as_array().unwrap().len(), 1, "nobody became a user");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_finishes_only_what_it_began() {
    let (world, provider, gateway) = world(open(), json!({})).await;
    provider.person(&person("1", "anna@example.org")).await;
    let mut anna = Browser::new();
    let back = anna.stop_before_coming_back(&gateway).await;

    // Somebody else is led to where anna was to come back: signed in as her, they would work in her name.
    let mut nobody = Browser::new();
    let page = nobody.be_led_to(&back).await;
    refused(&nobody, &page, 401, "did not begin to sign in here");
    let mut other = Browser::new();
    other.stop_before_coming_back(&gateway).await;
    let page = other.be_led_to(&back).await;
    refused(&other, &page, 401, "does not hold");

    // A link that asks to be led elsewhere leads nowhere else.
    for (change, status, why) in [
        (("state", "another"), 401, "does not hold"),
        (("iss", "https://id.example.org"), 401, "does not hold"),
        (("code", "made-up"), 401, "does not hold"),
        (("next", "https://elsewhere.example.org"), 401, "does not hold"),
    ] {
        let mut browser = anna.clone();
        let mut url = back.clone();
        let pairs: Vec<(String, String)> = back.query_pairs().into_owned().collect();
        let kept = pairs.iter().filter(|(name, _)| name != change.0);
        url.query_pairs_mut().clear().extend_pairs(kept).append_pair(change.0, change.1);
        if change.0 == "next" {
            url.query_pairs_mut().append_pair("state", "twice");
        }
        let page = browser.be_led_to(&url).await;
        let status = if change.0 == "next" { 400 } else { status };
        let why = if change.0 == "next" { "cannot be read" } else { why };
        refused(&browser, &page, status, why);
        assert!(page.refresh().is_none() && !page.text.contains("elsewhere.example.org"));
    }

    // It is good once, whatever cookie comes with it.
    let twin = anna.clone();
    let page = anna.be_led_to(&back).await;
    assert_eq!(
        (page.status, page.refresh().unwrap().as_str()),
        (StatusCode::OK, &*format!("{gateway}/signin"))
    );
    assert_eq!(anna.viewer(&gateway).await["name"], "anna@example.org");
    for mut again in [anna.clone(), twin] {
        let had = again.has_session();
        let page = again.be_led_to(&back).await;
        assert_eq!(page.status, 401, "{}", page.text);
        assert_eq!(again.has_session(), had);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_began_another_finishes() {
    let world = World::new().await;
    create_user(&world, "root", "admin", None).await;
    let (listener, url) = World::listener().await;
    let provider = Certified::start(&url, &json!({})).await;
    let met = world.gateways_behind(listener, [provider.config(open()), provider.config(open())]).await;
    provider.person(&person("1", "anna@example.org")).await;
    for begins in [0, 1] {
        let mut browser = Browser::new();
        assert_eq!(met.load(Ordering::SeqCst) % 2, begins);
        let back = browser.stop_before_coming_back(&url).await;
        assert_eq!(met.load(Ordering::SeqCst) % 2, 1 - begins, "the next one to be met is the other");
        let page = browser.be_led_to(&back).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        // A third request, so that the other begins next.
        assert_eq!(browser.viewer(&url).await["name"], "anna@example.org");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_away_passwords_go_on_and_new_keys_are_found() {
    let (world, mut provider, gateway) = world(open(), json!({})).await;
    create_user(&world, "bob", "viewer", Some(PASSWORD)).await;
    provider.stop().await;
    let mut browser = Browser::new();
    let page = browser.open(&format!("{gateway}/signin/oidc")).await;
    refused(&browser, &page, 503, "does not answer as it should");
    let credentials = json!({ "name": "bob", "password": PASSWORD });
    let request = reqwest::Client::new().post(format!("{gateway}/signin")).json(&credentials);
    assert_eq!(request.send().await.unwrap().status(), 200);

    provider.start_again("first").await;
    provider.person(&person("1", "anna@example.org")).await;
    let (_, page) = sign_in(&gateway).await;
    assert!(page.text.contains("Signed in as anna@example.org"), "{}", page.text);

    provider.stop().await;
    provider.start_again("second").await;
    provider.person(&person("1", "anna@example.org")).await;
    let (_, page) = sign_in(&gateway).await;
    assert!(page.text.contains("Signed in as anna@example.org"), "a key that was not known: {}", page.text);

    // It goes away between leaving and coming back.
    let mut browser = Browser::new();
    let back = browser.stop_before_coming_back(&gateway).await;
    provider.stop().await;
    let page = browser.be_led_to(&back).await;
    refused(&browser, &page, 503, "does not answer as it should");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_provider_is_set_nobody_is_sent_to_one() {
    let world = World::new().await;
    let mut browser = Browser::new();
    for path in ["/signin/oidc", "/signin/oidc/callback?code=1&state=2"] {
        let page = browser.open(&format!("{}{path}", world.url)).await;
        refused(&browser, &page, 404, "nobody signs in here by another site");
    }
    let form = browser.open(&format!("{}/signin", world.url)).await;
    assert!(!form.text.contains("/signin/oidc"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_on_its_machine_a_gateway_goes_by_its_public_name() {
    let world = World::new().await;
    create_user(&world, "bob", "viewer", Some(PASSWORD)).await;
    let (listener, url) = World::listener().await;
    world.gateway_known_as("https://patchwave.example.org".parse().unwrap(), listener, None).await;
    let client = reqwest::Client::new();
    for (host, status) in [("patchwave.example.org", 200), ("example.org", 403)] {
        let answer = client.get(format!("{url}/healthz")).header("host", host).send().await.unwrap();
        assert_eq!(answer.status(), status, "{host}");
    }
    let form = client.post(format!("{url}/signin")).header("host", "patchwave.example.org");
    let form = form.header("origin", "https://patchwave.example.org");
    let form = form.header("content-type", "application/x-www-form-urlencoded");
    let signed_in = form.body("name=bob&password=correct+horse+battery").send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap();
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    world.end().await;
}
