//! A provider that signs what it should not: what a certified one cannot be made to do.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::Utc;
use data_encoding::BASE64URL_NOPAD;
use gateway::{Plain, ProviderConfig};
use openidconnect::core::{CoreEdDsaPrivateSigningKey, CoreJwsSigningAlgorithm};
use openidconnect::{JsonWebKeyId, PrivateSigningKey as _};
use reqwest::Url;
use serde_json::{Value, json};

use super::browser::{Browser, Page};
use super::{open, refused};
use crate::access::create_user;
use crate::world::World;

const CLIENT: &str = "patchwave";

/// A key that signs.
fn key(name: &str) -> CoreEdDsaPrivateSigningKey {
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(JsonWebKeyId::new(name.to_owned()))).unwrap()
}

fn part(value: &Value) -> String {
    BASE64URL_NOPAD.encode(value.to_string().as_bytes())
}

fn signed(key: &CoreEdDsaPrivateSigningKey, name: &str, claims: &Value) -> String {
    let text = format!("{}.{}", part(&json!({ "alg": "EdDSA", "kid": name })), part(claims));
    let signature = key.sign(&CoreJwsSigningAlgorithm::EdDsa, text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[derive(Clone)]
struct Liar {
    issuer: String,
    keys: Value,
    /// What the next code is exchanged for.
    token: Arc<Mutex<String>>,
    /// What is told of whoever has an access token.
    told: Arc<Mutex<Value>>,
}

async fn serve(keys: Value) -> Liar {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let liar = Liar { issuer, keys, token: Arc::default(), told: Arc::default() };
    let said = |State(liar): State<Liar>| async move {
        let issuer = &liar.issuer;
        Json(json!({
            "issuer": issuer, "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
            "userinfo_endpoint": format!("{issuer}/me"), "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["EdDSA"],
        }))
    };
    let exchange = |State(liar): State<Liar>| async move {
        let token = liar.token.lock().unwrap().clone();
        Json(json!({ "access_token": "a", "token_type": "Bearer", "id_token": token }))
    };
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(said))
        .route("/jwks", get(|State(liar): State<Liar>| async move { Json(json!({ "keys": [liar.keys] })) }))
        .route("/token", post(exchange))
        .route("/me", get(|State(liar): State<Liar>| async move { Json(liar.told.lock().unwrap().clone()) }))
        .with_state(liar.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    liar
}

/// Comes back with a code for which the provider gives what `token` makes of the claims that would be right.
async fn come_back(gateway: &str, liar: &Liar, token: impl FnOnce(Value) -> String) -> (Browser, Page) {
    let mut browser = Browser::new();
    let asked = browser.leave(gateway).await;
    let said = |wanted: &str| asked.query_pairs().find(|(name, _)| name == wanted).unwrap().1.into_owned();
    assert_eq!(said("code_challenge_method"), "S256");
    let now = Utc::now().timestamp();
    let claims = json!({
        "iss": liar.issuer, "aud": CLIENT, "sub": "1", "exp": now + 300, "iat": now, "nonce": said("nonce"),
        "email": "anna@example.org", "email_verified": true,
    });
    *liar.token.lock().unwrap() = token(claims);
    let back = format!("{gateway}/signin/oidc/callback?code=c&state={}", said("state"));
    let page = browser.be_led_to(&Url::parse(&back).unwrap()).await;
    (browser, page)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_did_not_sign_for_us_now_is_worth_nothing() {
    let world = World::new().await;
    create_user(&world, "root", "admin", None).await;
    let (right, wrong) = (key("first"), key("first"));
    let liar = serve(serde_json::to_value(right.as_verification_key()).unwrap()).await;
    let (listener, gateway) = World::listener().await;
    let config = ProviderConfig {
        issuer: liar.issuer.clone(),
        client_id: CLIENT.to_owned(),
        client_secret: Plain::new("of a client".to_owned()),
        scopes: Vec::new(),
        rules: open(),
    };
    world.gateway_on(listener, config).await;

    let changes: [(&str, Option<Value>); 9] = [
        ("nonce", Some(json!("another"))),
        ("nonce", None),
        ("exp", Some(json!(Utc::now().timestamp() - 1))),
        ("aud", Some(json!("another-client"))),
        ("aud", Some(json!([CLIENT, "another-client"]))),
        ("iss", Some(json!("https://id.example.org"))),
        ("sub", None),
        ("sub", Some(json!(""))),
        ("at_hash", Some(json!("AAAAAAAAAAAAAAAAAAAAAA"))),
    ];
    for (claim, value) in changes {
        let (browser, page) = come_back(&gateway, &liar, |mut claims| {
            match &value {
                Some(value) => claims[claim] = value.clone(),
                None => drop(claims.as_object_mut().unwrap().remove(claim)),
            }
            signed(&right, "first", &claims)
        })
        .await;
        let status = page.status.as_u16();
        assert!(
            status == 401 || (claim == "sub" && status == 503),
            "{claim} {value:?}: {status} {}",
            page.text
        );
        refused(&browser, &page, status, "");
    }
    let forged: [fn(&CoreEdDsaPrivateSigningKey, &Value) -> String; 4] = [
        |wrong, claims| signed(wrong, "first", claims),
        |wrong, claims| signed(wrong, "another", claims),
        |_, claims| format!("{}.{}.", part(&json!({ "alg": "none" })), part(claims)),
        |wrong, claims| {
            let text = signed(wrong, "first", claims);
            format!(
                "{}.{}",
                part(&json!({ "alg": "HS256", "kid": "first" })),
                text.split_once('.').unwrap().1
            )
        },
    ];
    for forge in forged {
        let (browser, page) = come_back(&gateway, &liar, |claims| forge(&wrong, &claims)).await;
        refused(&browser, &page, 401, "does not hold");
    }

    // What it tells of somebody else is not taken for the one who came.
    *liar.told.lock().unwrap() = json!({ "sub": "2", "email": "root@example.org", "email_verified": true });
    let (browser, page) = come_back(&gateway, &liar, |mut claims| {
        claims.as_object_mut().unwrap().remove("email");
        signed(&right, "first", &claims)
    })
    .await;
    refused(&browser, &page, 503, "does not answer as it should");

    let (browser, page) = come_back(&gateway, &liar, |claims| signed(&right, "first", &claims)).await;
    assert_eq!(page.status, 200, "the control: {}", page.text);
    assert_eq!(browser.viewer(&gateway).await["name"], "anna@example.org");
    world.end().await;
}
