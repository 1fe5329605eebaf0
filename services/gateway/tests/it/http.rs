//! What holds for every request.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use gateway::{Auth, Token};
use serde_json::{Value, json};

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn other_sites_and_other_forms_are_refused() {
    let world = World::new().await;
    let url = format!("{}/graphql", world.url);
    let body = json!({ "query": "{ runners { nodes { id } } }" }).to_string();
    let post = || world.client().post(&url).body(body.clone());
    let json = "application/json; charset=utf-8";
    assert_eq!(post().header("content-type", json).send().await.unwrap().status(), 200);
    assert_eq!(post().header("content-type", "text/plain").send().await.unwrap().status(), 415);
    let other = post().header("content-type", json).header("origin", "https://example.org");
    let refused = other.send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["code"], "invalid-request");
    let rebound = post().header("content-type", json).header("host", "example.org");
    assert_eq!(rebound.send().await.unwrap().status(), 403);
    let own = post().header("content-type", json).header("origin", &world.url);
    assert_eq!(own.send().await.unwrap().status(), 200);

    let large = world.client().post(&url).header("content-type", json).body("x".repeat(5 << 20));
    assert_eq!(large.send().await.unwrap().status(), 413);
    let broken = world.client().post(&url).header("content-type", json).body("{");
    assert_eq!(broken.send().await.unwrap().status(), 400);
    let plain = world.get("/graphql").await;
    assert_eq!((plain.status().as_u16(), &plain.headers()["upgrade"]), (426, &"websocket".parse().unwrap()));
    assert_eq!(world.client().put(&url).send().await.unwrap().status(), 405);
    assert_eq!(world.get("/nowhere").await.status(), 404);
    let health = world.get("/healthz").await;
    assert_eq!(health.headers()["x-content-type-options"], "nosniff");
    assert_eq!(health.text().await.unwrap(), "ok");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_ready_as_long_as_the_broker_answers() {
    let mut world = World::new().await;
    let ready = world.get("/readyz").await;
    assert_eq!(ready.status(), 200);
    let body: Value = ready.json().await.unwrap();
    assert_eq!((&body["broker"], &body["database"]), (&json!(true), &json!(true)), "{body}");
    let port = world.stop_broker().await;
    let unready = world.get("/readyz").await;
    assert_eq!(unready.status(), 503);
    let body: Value = unready.json().await.unwrap();
    assert_eq!(body, json!({ "broker": false, "database": true, "lagEvents": null }));
    assert_eq!(world.get("/healthz").await.status(), 200, "the process is well");
    world.start_broker(port).await;
}

/// Reads one answer whose end its head tells, and returns its status.
fn status(connection: &mut BufReader<TcpStream>) -> u16 {
    let (mut status, mut length) = (String::new(), 0);
    connection.read_line(&mut status).expect("the connection stays");
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).unwrap();
        match line.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap();
            }
            Some(_) => {}
            None => break,
        }
    }
    std::io::copy(&mut connection.by_ref().take(length), &mut std::io::sink()).unwrap();
    status.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {status:?}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_refused_before_it_has_sent_everything_may_go_on() {
    let world = World::new().await;
    let address = world.url.strip_prefix("http://").unwrap().to_owned();
    let (query, token) =
        (json!({ "query": "{ runners { nodes { id } } }" }).to_string(), world.token.reveal());
    let head = |origin: &str, length: usize| {
        format!(
            "POST /graphql HTTP/1.1\r\nhost: {address}\r\norigin: {origin}\r\ncontent-type: application/json\r\n\
             authorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n"
        )
    };
    let large = "x".repeat(5 << 20);
    tokio::task::block_in_place(|| {
        let mut connection = BufReader::new(TcpStream::connect(&address).unwrap());
        connection.get_ref().set_read_timeout(Some(crate::world::PATIENCE)).unwrap();
        // Whoever comes from another site is refused by the head alone, what is too large once too much of it was read.
        for (origin, body, at_first, refusal) in
            [("https://example.org", &query, 0, 403), (&world.url, &large, (4 << 20) + 1, 413)]
        {
            let (first, rest) = body.split_at(at_first);
            let mut send = |text: &str| connection.get_mut().write_all(text.as_bytes()).unwrap();
            send(&head(origin, body.len()));
            send(first);
            assert_eq!(status(&mut connection), refusal);
            let mut send = |text: &str| connection.get_mut().write_all(text.as_bytes()).unwrap();
            send(rest);
            send(&(head(&world.url, query.len()) + &query));
            assert_eq!(status(&mut connection), 200, "after {refusal}");
        }
    });
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_asks_too_much_is_refused() {
    let world = World::new().await;
    let aliases: String = (0..60).map(|n| format!("a{n}: runners {{ nodes {{ id }} }} ")).collect();
    let deep =
        "actions { nodes { executions { nodes { jobs { nodes { attempts { steps { number } } } } } } } }";
    for query in [
        format!("{{ {aliases} }}"),
        format!(
            "{{ {} }}",
            deep.replace("actions", "actions(first: 500)").replace("jobs", "jobs(first: 500)")
        ),
        "{ nonsense }".to_owned(),
        "{".to_owned(),
    ] {
        let error = world.error(&query, json!({})).await;
        assert_eq!(error["extensions"]["code"], "invalid-request", "{error:#}");
        assert!(error["extensions"]["hint"].is_string(), "{error:#}");
    }
    let introspection = "{ __schema { types { name fields { name args { name type { ...T } } type { ...T } } } } }
        fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name ofType { kind name } } } } }";
    let schema = world.data(introspection, json!({})).await;
    assert!(schema["__schema"]["types"].as_array().unwrap().len() > 20);
    world.end().await;
}

#[tokio::test]
async fn an_address_is_refused_that_is_taken_or_reaches_out_without_users() {
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let users = Auth::Users { local: Token::random().unwrap() };
    let taken = gateway::bind(loopback, &users).await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = gateway::bind(address, &users).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--gateway"), "{error}");
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let error = gateway::bind(everywhere, &Auth::None).await.unwrap_err().to_string();
    assert!(error.contains("--auth users") && error.contains("127.0.0.1:0"), "{error}");
    gateway::bind(everywhere, &users).await.unwrap();
    gateway::bind(loopback, &Auth::None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_of_another_build_is_named_with_what_to_do() {
    for mut world in World::on_both().await {
        world.stop_projector().await;
        world
            .change_projection("UPDATE generations SET layout = 900 WHERE active = 1; DROP VIEW runners")
            .await;
        let error = world.error("{ runners { nodes { id } } }", Value::Null).await;
        assert_eq!(error["extensions"]["code"], "stale-projection", "{error:#}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("the projection has layout 900, this build reads layout"), "{message}");
        assert!(error["extensions"]["hint"].as_str().unwrap().contains("`patchwave projection rebuild`"));
        let refusal = world.refusal().await;
        assert!(
            refusal.contains("layout 900") && refusal.contains("`patchwave projection rebuild`"),
            "{refusal}"
        );
        world.end().await;
    }
}
