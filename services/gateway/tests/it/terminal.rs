//! Signing in a terminal by a browser, as stories.

use events::user::Role;
use gateway::{ProviderRules, Terminal, TerminalCode, Token};
use reqwest::{Client, StatusCode, Url};
use serde_json::{Value, json};

use crate::access::{create_user, token_for};
use crate::provider::browser::{Browser, Page};
use crate::provider::certified::Certified;
use crate::world::{World, showing};

const PASSWORD: &str = "correct horse battery";

/// Where the terminals here would listen.
const PORT: u16 = 50_000;

/// The address that a terminal with this half shows.
fn address(gateway: &str, half: &Token) -> String {
    let query = Terminal::of(half, PORT).query().map(|(name, value)| format!("{name}={value}"));
    format!("{gateway}/signin/terminal?{}", query.join("&"))
}

/// Opens the address of a terminal, and signs in with a password on the way.
async fn open(browser: &mut Browser, address: &str, name: &str) -> Page {
    let form = browser.open(address).await;
    browser.send_form(&form, "/signin", &[("name", name), ("password", PASSWORD)]).await
}

/// Says yes; the code that the browser brings to the terminal.
async fn say_yes(browser: &mut Browser, page: &Page) -> TerminalCode {
    let led = browser.send_form(page, "/signin/terminal", &[("way", "send")]).await;
    assert!(led.url.as_str().starts_with(&format!("http://127.0.0.1:{PORT}/?code=")), "{}", led.url);
    let (_, code) = led.url.query_pairs().next().unwrap();
    code.parse().unwrap()
}

/// Whom a gateway takes a token for.
async fn whose(gateway: &str, token: &str) -> Value {
    let query = json!({ "query": "{ viewer { name role via } }" });
    let answer = showing(Some(token)).post(format!("{gateway}/graphql")).json(&query).send().await.unwrap();
    let mut answer: Value = answer.json().await.unwrap();
    answer["data"]["viewer"].take()
}

async fn tokens(world: &World) -> Vec<Value> {
    let tokens = world.data("{ tokens { nodes { id user kind name role revokedAt } } }", json!({})).await;
    tokens["tokens"]["nodes"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_signs_in_says_yes_and_the_terminal_acts_as_they_do() {
    let world = World::new().await;
    create_user(&world, "anna", "operator", Some(PASSWORD)).await;
    let half = Token::random().unwrap();
    let address = address(&world.url, &half);
    let mut browser = Browser::new();
    let form = browser.open(&address).await;
    assert!(form.status == StatusCode::OK && form.text.contains("Password"), "{}", form.text);
    let wrong = browser.send_form(&form, "/signin", &[("name", "anna"), ("password", "a guess")]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    let page = browser.send_form(&wrong, "/signin", &[("name", "anna"), ("password", PASSWORD)]).await;
    assert_eq!(page.url.as_str(), address, "a slip does not lose the way");
    assert!(page.text.contains("Let a terminal act as anna (operator)?"), "{}", page.text);
    assert!(page.text.contains(&Terminal::of(&half, PORT).mark()) && !page.text.contains("<script"));
    let elsewhere = ["http://127.0.0.1:50001/", "http://localhost:50000/", "https://example.org/"];
    for url in elsewhere {
        assert!(!page.lets_forms_lead_to(&url.parse().unwrap()), "{url}");
    }
    assert_eq!(tokens(&world).await.len(), 1, "to be asked makes nothing");

    let code = say_yes(&mut browser, &page).await;
    let token = code.completes(&half);
    let anna = json!({ "name": "anna", "role": "OPERATOR", "via": "SESSION" });
    assert_eq!(whose(&world.url, token.reveal()).await, anna);
    let other = code.completes(&Token::random().unwrap());
    for worthless in [half.reveal(), other.reveal(), &code.to_string()] {
        assert_eq!(whose(&world.url, worthless).await, Value::Null);
    }

    // Pressed again, and after the browser went back, it is the same one.
    assert_eq!(say_yes(&mut browser, &page).await, code);
    let again = browser.open(&address).await;
    assert!(
        again.text.contains("Let a terminal act"),
        "whoever is signed in is asked at once: {}",
        again.text
    );
    let shown = browser.send_form(&again, "/signin/terminal", &[("way", "show")]).await;
    assert!(shown.text.contains(&code.to_string()), "{}", shown.text);
    let all = tokens(&world).await;
    let of_terminal: Vec<&Value> =
        all.iter().filter(|token| token["name"] == "signed in at a terminal").collect();
    assert_eq!((all.len(), of_terminal.len()), (2, 1), "{all:?}");
    assert_eq!((&of_terminal[0]["kind"], &of_terminal[0]["role"]), (&json!("SESSION"), &json!("OPERATOR")));

    // What was taken away is not given again by the same yes.
    let revoke = "mutation($id: ID!) { revokeToken(input: { id: $id }) { sequence } }";
    world.data(revoke, json!({ "id": of_terminal[0]["id"] })).await;
    assert_eq!(say_yes(&mut browser, &page).await, code);
    assert_eq!(whose(&world.url, token.reveal()).await, Value::Null);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_yes_of_somebody_else_makes_another_token() {
    let world = World::new().await;
    create_user(&world, "anna", "operator", Some(PASSWORD)).await;
    create_user(&world, "eve", "viewer", Some(PASSWORD)).await;
    let half = Token::random().unwrap();
    let address = address(&world.url, &half);
    let mut codes = Vec::new();
    for (name, role) in [("eve", "VIEWER"), ("anna", "OPERATOR")] {
        let mut browser = Browser::new();
        let page = open(&mut browser, &address, name).await;
        let code = say_yes(&mut browser, &page).await;
        let whole = code.completes(&half);
        assert_eq!(
            whose(&world.url, whole.reveal()).await,
            json!({ "name": name, "role": role, "via": "SESSION" })
        );
        codes.push(code);
    }
    assert_ne!(codes[0], codes[1]);

    // Whoever made somebody say yes to a half of theirs has no code, and whoever saw the code has no half.
    let other = codes[1].completes(&Token::random().unwrap());
    assert_eq!(whose(&world.url, other.reveal()).await, Value::Null);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_form_of_the_page_says_yes() {
    let world = World::new().await;
    create_user(&world, "anna", "operator", Some(PASSWORD)).await;
    let access = token_for(&world, "anna", "operator").await;
    let sign_in = json!({ "name": "anna", "password": PASSWORD });
    let signed_in = showing(None).post(format!("{}/signin", world.url)).json(&sign_in).send().await.unwrap();
    let mut signed_in: Value = signed_in.json().await.unwrap();
    let session: String = serde_json::from_value(signed_in["token"].take()).unwrap();
    let before = tokens(&world).await.len();

    let sha256 = Terminal::of(&Token::random().unwrap(), PORT).query()[0].1.clone();
    let good = format!("sha256={sha256}&port={PORT}&way=send");
    let cookie = format!("patchwave_session={session}");
    let bearer = |token: &str| format!("Bearer {token}");
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let post = async |form: &str, headers: &[(&str, &str)]| {
        let request = client.post(format!("{}/signin/terminal", world.url)).body(form.to_owned());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap().status().as_u16()
    };
    let own = ("origin", world.url.as_str());
    let anna = ("cookie", cookie.as_str());
    for (headers, status) in [
        (vec![own], 401),
        (vec![anna], 403),
        (vec![anna, ("origin", "https://example.org")], 403),
        (vec![anna, ("origin", "null")], 403),
        (vec![anna, own, ("sec-fetch-site", "cross-site")], 403),
        (vec![anna, own, ("sec-fetch-site", "same-site")], 403),
        // A program's token makes no others, and neither does a session that a program shows.
        (vec![("authorization", &*bearer(&access))], 403),
        (vec![("authorization", &*bearer(&session))], 403),
        (vec![anna, own, ("authorization", &*bearer(&session))], 403),
        (vec![own, ("cookie", &*format!("patchwave_session={access}"))], 403),
    ] {
        assert_eq!(post(&good, &headers).await, status, "{headers:?}");
    }
    let digest =
        |sha256: &str| good.replace(&format!("sha256={}", &good[7..71]), &format!("sha256={sha256}"));
    for bad in [
        String::new(),
        digest(""),
        digest("ab"),
        digest(&sha256.to_uppercase().replace(char::is_numeric, "A")),
        good.replace("50000", "80"),
        good.replace("50000", "70000"),
        good.replace("50000", "50000@example.org"),
        good.replace("50000", "example.org"),
        good.replace("send", "elsewhere"),
        good.replace("&way=send", ""),
        format!("{good}&port=50001"),
    ] {
        assert_eq!(post(&bad, &[anna, own]).await, 400, "{bad}");
        if !bad.contains("way=elsewhere") && bad.contains("way=") {
            let page = client.get(format!("{}/signin/terminal?{bad}", world.url)).send().await.unwrap();
            assert_eq!(page.status(), 400, "{bad}");
        }
    }
    assert_eq!(tokens(&world).await.len(), before, "nothing was made");
    assert_eq!(post(&good, &[anna, own]).await, 303, "the control");
    assert_eq!(tokens(&world).await.len(), before + 1);

    // A page of another site that leads to ours finds nobody signed in, and says yes for nobody.
    let mut led = Browser::new();
    open(&mut led, &address(&world.url, &Token::random().unwrap()), "anna").await;
    let url: Url = address(&world.url, &Token::random().unwrap()).parse().unwrap();
    let page = led.be_led_to(&url).await;
    assert!(page.text.contains("Password") && !page.text.contains("Let a terminal"), "{}", page.text);

    let nobody = world.open_gateway().await;
    for request in [
        client.get(address(&nobody, &Token::random().unwrap())),
        client.post(format!("{nobody}/signin/terminal")),
    ] {
        assert_eq!(request.send().await.unwrap().status(), 404, "there is nobody to sign in as");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_from_the_provider_says_yes_whichever_gateway_they_meet() {
    let world = World::new().await;
    create_user(&world, "root", "admin", None).await;
    let (listener, url) = World::listener().await;
    let provider = Certified::start(&url, &json!({})).await;
    let rules = ProviderRules {
        name_claim: "email".to_owned(),
        role_claim: None,
        roles: Vec::new(),
        default_role: Some(Role::Operator),
    };
    let gateways = [provider.config(rules.clone()), provider.config(rules)];
    world.gateways_behind(listener, gateways).await;
    provider.person(&json!({ "sub": "1", "email": "anna@example.org", "email_verified": true })).await;

    let half = Token::random().unwrap();
    let address = address(&url, &half);
    let mut browser = Browser::new();
    let form = browser.open(&address).await;
    let page = browser.sign_in_from(&form).await;
    assert_eq!(page.url.as_str(), address, "the way through the provider does not lose it");
    assert!(page.text.contains("Let a terminal act as anna@example.org (operator)?"), "{}", page.text);
    // The next request is answered by the other one.
    let codes = [say_yes(&mut browser, &page).await, say_yes(&mut browser, &page).await];
    assert_eq!(codes[0], codes[1]);
    let token = codes[0].completes(&half);
    let anna = json!({ "name": "anna@example.org", "role": "OPERATOR", "via": "SESSION" });
    for gateway in [&url, &url, &world.url] {
        assert_eq!(whose(gateway, token.reveal()).await, anna);
    }

    let half = format!("{url}/signin/oidc?sha256={}", "0a".repeat(32));
    let page = Browser::new().open(&half).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "half a terminal: {}", page.text);
    world.end().await;
}
