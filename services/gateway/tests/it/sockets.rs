//! WebSockets: the protocol, who may speak on them, and how they end.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use gateway::Pace;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::access::{create_user, token_and_id_for, token_for};
use crate::clients::{Events, PROTOCOL, Socket};
use crate::world::{DEFINITION, PATIENCE, World, showing};

const EVERYTHING: &str = "subscription($after: Sequence) { events(after: $after) { sequence type } }";

const WHO: &str = "{ viewer { name via } }";

#[tokio::test(flavor = "multi_thread")]
async fn operations_of_every_kind_run_over_one_connection() {
    let world = World::new().await;
    let mut socket = Socket::known(&world.url, world.token.reveal()).await;
    socket.say(json!({ "type": "ping", "payload": { "n": 7 } })).await;
    assert_eq!(socket.hear().await, json!({ "type": "pong", "payload": { "n": 7 } }));
    socket.say(json!({ "type": "pong" })).await;

    socket.subscribe("all", EVERYTHING, json!({ "after": 0 })).await;
    let apply = "mutation($input: ApplyActionInput!) { applyAction(input: $input) { changed sequence } }";
    let input = json!({ "fileName": "tidy.batch.yaml", "source": DEFINITION });
    socket.subscribe("apply", apply, json!({ "input": input })).await;
    // The answer, its end and the event come in an order of their own.
    let mut heard = [socket.hear().await, socket.hear().await, socket.hear().await];
    heard.sort_by_key(|message| (message["id"] == "all", message["type"] == "complete"));
    let [answer, complete, event] = heard;
    assert_eq!(answer["payload"]["data"]["applyAction"]["changed"], true, "{answer}");
    assert_eq!(complete, json!({ "type": "complete", "id": "apply" }));
    assert_eq!(event["payload"]["data"]["events"]["type"], "action.created", "{event}");

    // Whoever saw an event may ask what it did.
    let sequence = &event["payload"]["data"]["events"]["sequence"];
    let query = "query($at: Sequence) { actions(atLeast: $at) { nodes { name } } }";
    socket.subscribe("all the same", query, json!({ "at": sequence })).await;
    assert_eq!(socket.answer("all the same").await["data"]["actions"]["nodes"], json!([{ "name": "tidy" }]));
    assert_eq!(socket.hear().await["type"], "complete");

    for (query, words) in [
        ("{ nonsense }", "Unknown field"),
        ("query {", "expected"),
        ("subscription { events { sequence } runners { id } }", "one field at its top"),
        ("subscription { ...F } fragment F on Subscription { runners { id } }", "one field at its top"),
        ("subscription { events(after: 900000) { sequence } }", "has not reached"),
        ("subscription { events(filters: [\"x\"]) { sequence } }", "`x` is no filter"),
        ("subscription { events(after: 1, since: \"2026-01-31T08:00:00Z\") { sequence } }", "where to begin"),
        ("subscription { events(since: \"yesterday\") { sequence } }", "no time"),
        ("subscription { jobLog(jobId: \"x\") { lines } }", "`x`"),
    ] {
        socket.subscribe("wrong", query, json!({})).await;
        let error = socket.error("wrong").await;
        assert!(error["message"].as_str().unwrap().contains(words), "{query}: {error}");
        assert!(error["extensions"]["hint"].is_string(), "{query}: {error}");
    }

    // What was ended says nothing more, and its id is free.
    socket.say(json!({ "type": "complete", "id": "all" })).await;
    socket.say(json!({ "type": "complete", "id": "nobody" })).await;
    socket.subscribe("all", WHO, json!({})).await;
    assert_eq!(
        socket.answer("all").await["data"]["viewer"],
        json!({ "name": "local", "via": "DATA_DIRECTORY" })
    );
    assert_eq!(socket.hear().await, json!({ "type": "complete", "id": "all" }));
    socket.subscribe("all", EVERYTHING, json!({})).await;
    let close = CloseFrame { code: 1000.into(), reason: "enough".into() };
    socket.send(Message::Close(Some(close))).await.unwrap();
    assert_eq!(socket.end().await, (1000, "enough".to_owned()), "it ends in order");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_it_is_was_said_by_what_opened_it_or_is_said_first() {
    let world = World::new().await;
    create_user(&world, "vera", "viewer", None).await;
    let (url, token) = (&world.url, token_for(&world, "vera", "viewer").await);
    let (bearer, local) = (format!("Bearer {token}"), format!("Bearer {}", world.token.reveal()));
    let cookie = format!("patchwave_session={token}");
    let host = url.strip_prefix("http://").unwrap();

    for (headers, payload) in [
        (vec![("authorization", &bearer[..])], Value::Null),
        (vec![("cookie", &cookie), ("origin", url)], Value::Null),
        (vec![], json!({ "authorization": bearer })),
        (vec![], json!({ "Authorization": bearer, "more": 1 })),
        // What is said counts for more than what was shown.
        (vec![("authorization", &local)], json!({ "authorization": bearer })),
        (vec![("authorization", "Bearer pw_wrong")], json!({ "authorization": bearer })),
    ] {
        let headers = [vec![PROTOCOL], headers].concat();
        let mut socket = Socket::open(url, &headers).await.unwrap();
        socket.init(payload).await;
        assert_eq!(socket.hear().await["type"], "connection_ack", "{headers:?}");
        socket.subscribe("1", WHO, json!({})).await;
        assert_eq!(socket.answer("1").await["data"]["viewer"]["name"], "vera", "{headers:?}");
    }
    for (headers, payload) in [
        (vec![], Value::Null),
        (vec![], json!({ "authorization": "Bearer pw_wrong" })),
        (vec![], json!({ "authorization": token })),
        (vec![("authorization", "Bearer pw_wrong")], Value::Null),
    ] {
        let mut socket = Socket::open(url, &[vec![PROTOCOL], headers].concat()).await.unwrap();
        socket.init(payload).await;
        let (code, reason) = socket.end().await;
        assert!(code == 4403 && reason.starts_with("Forbidden: "), "{code} {reason}");
    }

    // A page of another site opens nothing, whatever its visitor's browser adds.
    for headers in [
        vec![("cookie", &cookie[..]), ("origin", "https://example.org")],
        vec![("cookie", &cookie), ("origin", "null")],
        vec![("cookie", &cookie), ("origin", url), ("sec-fetch-site", "cross-site")],
        vec![("cookie", &cookie)],
        vec![("origin", "https://example.org")],
        vec![("host", "example.org"), ("origin", "http://example.org")],
    ] {
        let refused = Socket::open(url, &[vec![PROTOCOL], headers.clone()].concat()).await.err();
        assert_eq!(refused, Some(403), "{headers:?}");
    }
    let own = Socket::open(url, &[PROTOCOL, ("host", host), ("authorization", &bearer)]).await;
    assert!(own.is_ok());
    let open = world.open_gateway().await;
    let mut everybody = Socket::connect(&open).await;
    everybody.init(Value::Null).await;
    assert_eq!(everybody.hear().await["type"], "connection_ack");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_protocol_forbids_ends_the_connection_with_its_code() {
    let world = World::new().await;
    let token = world.token.reveal();
    let known = || Socket::known(&world.url, token);
    let query = json!({ "type": "subscribe", "id": "1", "payload": { "query": WHO } });

    let mut early = Socket::connect(&world.url).await;
    early.say(query.clone()).await;
    assert_eq!(early.end().await, (4401, "Unauthorized".to_owned()));

    let mut twice = known().await;
    twice.init(json!({ "authorization": format!("Bearer {token}") })).await;
    assert_eq!(twice.end().await, (4429, "Too many initialisation requests".to_owned()));

    let mut taken = known().await;
    taken.subscribe("1", EVERYTHING, json!({})).await;
    taken.say(query).await;
    assert_eq!(taken.end().await, (4409, "Subscriber for 1 already exists".to_owned()));

    for message in [Message::text("{"), Message::text(r#"{"type":"start","id":"1"}"#), Message::binary("{}")]
    {
        let mut wrong = known().await;
        wrong.send(message).await.unwrap();
        let (code, reason) = wrong.end().await;
        assert!(code == 4400 && reason.starts_with("Invalid message: "), "{code} {reason}");
    }

    let other = Socket::open(&world.url, &[]).await.unwrap();
    assert_eq!(other.end().await.0, 4406);

    let hasty = world.gateway_at(Pace { init: Duration::from_millis(50), ..Pace::default() }).await;
    let silent = Socket::connect(&hasty).await;
    assert_eq!(silent.end().await, (4408, "Connection initialisation timeout".to_owned()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_bounded_in_operations_and_in_the_size_of_a_message() {
    let world = World::new().await;
    let mut socket = Socket::known(&world.url, world.token.reveal()).await;
    for number in 0..100 {
        socket.subscribe(&number.to_string(), EVERYTHING, json!({})).await;
    }
    socket.subscribe("one more", EVERYTHING, json!({})).await;
    let error = socket.error("one more").await;
    assert_eq!(error["extensions"]["code"], "busy", "{error}");
    socket.say(json!({ "type": "complete", "id": "7" })).await;
    socket.subscribe("one more", WHO, json!({})).await;
    assert_eq!(socket.answer("one more").await["data"]["viewer"]["name"], "local");

    let mut large = Socket::known(&world.url, world.token.reveal()).await;
    let words = "x".repeat(5 << 20);
    let sent = large.send(Message::text(words)).await;
    let ended = async {
        // The connection may be gone before all was sent, and the reason with it.
        if sent.is_ok() {
            while large.send(Message::Ping(Default::default())).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it is ended");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_known_any_more_is_cut_off() {
    let world = World::new().await;
    let url = world.gateway_at(Pace { recheck: Duration::from_millis(50), ..Pace::default() }).await;
    let revoke = "mutation($id: ID!) { revokeToken(input: { id: $id }) { token { revokedAt } } }";
    let demote = "mutation { setUserRole(input: { name: \"olga\", role: VIEWER }) { user { role } } }";
    let remove = "mutation { removeUser(input: { name: \"olga\" }) { user { removed } } }";
    create_user(&world, "olga", "operator", None).await;
    world.apply(DEFINITION, None).await;
    for (query, why) in [
        (revoke, "the token was revoked"),
        (demote, "the role is another one now"),
        (remove, "the token was revoked"),
    ] {
        let (token, id) = token_and_id_for(&world, "olga", "operator").await;
        let mut socket = Socket::known(&url, &token).await;
        socket.subscribe("1", EVERYTHING, json!({ "after": 0 })).await;
        socket.answer("1").await;
        let request = json!({ "query": EVERYTHING, "variables": { "after": 0 } });
        let mut events = Events::of(&showing(Some(&token)), &url, &request).await;
        events.answer().await;

        world.data(query, json!({ "id": id })).await;
        let (code, reason) = socket.end().await;
        assert_eq!((code, &reason[..]), (4403, &format!("Forbidden: {why}")[..]));
        let last = loop {
            let (kind, answer) = events.next().await.expect("an end");
            assert_eq!(kind, "next");
            if answer["errors"].is_array() {
                break answer;
            }
        };
        assert_eq!(last["errors"][0]["extensions"]["code"], "unauthenticated", "{last}");
        assert_eq!(events.next().await.unwrap().0, "complete");
        assert!(events.next().await.is_none());
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_dead_is_found() {
    let world = World::new().await;
    let pace =
        Pace { pulse: Duration::from_millis(20), silence: Duration::from_millis(200), ..Pace::default() };
    let url = world.gateway_at(pace).await;
    create_user(&world, "vera", "viewer", None).await;
    let mut live = Socket::known(&url, world.token.reveal()).await;
    live.subscribe("1", EVERYTHING, json!({ "after": 0 })).await;
    live.answer("1").await;
    let live = tokio::spawn(async move { live.answer("1").await });
    let address = url.strip_prefix("http://").unwrap().to_owned();
    let bearer = format!("Bearer {}", world.token.reveal());
    let dead = tokio::task::spawn_blocking(move || {
        let mut connection = TcpStream::connect(&address).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "GET /graphql HTTP/1.1\r\nhost: {address}\r\nauthorization: {bearer}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nsec-websocket-protocol: graphql-transport-ws\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        // A text, masked with nothing.
        let init = br#"{"type":"connection_init"}"#;
        let length = 0x80 | u8::try_from(init.len()).unwrap();
        connection.write_all(&[&[0x81, length, 0, 0, 0, 0][..], init].concat()).unwrap();
        // It hears the pings and answers none.
        let mut heard = Vec::new();
        connection.read_to_end(&mut heard).unwrap();
        heard
    });
    let heard = dead.await.unwrap();
    let text = String::from_utf8_lossy(&heard);
    assert!(
        text.contains("connection_ack") && heard.ends_with(&[0x89, 0]),
        "the last word is a ping: {text}"
    );
    // Whoever answers is still there.
    create_user(&world, "olga", "viewer", None).await;
    assert_eq!(live.await.unwrap()["data"]["events"]["type"], "user.created");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_ends_in_order_when_the_gateway_stops() {
    let world = World::new().await;
    let mut socket = Socket::known(&world.url, world.token.reveal()).await;
    socket.subscribe("1", EVERYTHING, json!({})).await;
    let idle = Socket::connect(&world.url).await;
    let request = json!({ "query": EVERYTHING });
    let mut events = Events::of(world.client(), &world.url, &request).await;
    socket.subscribe("2", WHO, json!({})).await;
    socket.answer("2").await;
    world.tell_gateway_to_stop();
    for socket in [socket, idle] {
        assert_eq!(socket.end().await, (1001, "the gateway stops".to_owned()));
    }
    assert_eq!(events.next().await, None, "without `complete`, so that its reader goes on elsewhere");
    assert!(events.comments > 0);
    world.end().await;
}
