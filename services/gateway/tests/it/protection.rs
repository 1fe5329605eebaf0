//! Protection: too many requests, too many connections, and those that say nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use gateway::{Auth, Limits};
use serde_json::{Value, json};

use crate::access::{create_user, token_for};
use crate::world::{PATIENCE, World, showing};

fn connect(url: &str) -> TcpStream {
    let connection = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

/// Sends a request for what is open to all, and reads the whole answer.
fn is_answered(connection: &mut TcpStream) {
    connection.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nok") {
        let mut byte = [0];
        assert_eq!(connection.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&answer));
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_too_often_is_told_when_to_come_again() {
    let world = World::new().await;
    let limits = Limits { requests_per_second: NonZeroU32::new(1), ..Limits::default() };
    create_user(&world, "anna", "viewer", None).await;
    let [one, other] = [token_for(&world, "anna", "viewer").await, token_for(&world, "anna", "viewer").await];
    let url = world.gateway_beside(Auth::Users { local: world.token.clone() }, limits).await;
    let ask = async |token: &str| showing(Some(token)).get(format!("{url}/files")).send().await.unwrap();
    // Ten at once, and one more each second: this many do not take so long.
    let mut refused = None;
    for _ in 0..10_000 {
        let answer = ask(&one).await;
        if answer.status() != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("not everything is answered");
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    let error: Value = refused.json().await.unwrap();
    assert_eq!(
        (&error["error"]["code"], &error["error"]["hint"]),
        (&json!("rate-limited"), &json!("Try again in 1 s."))
    );
    assert_eq!(ask(&other).await.status(), 200, "another token has a count of its own");
    let health = reqwest::get(format!("{url}/healthz")).await.unwrap();
    assert_eq!(health.status(), 200, "nobody is counted who is not known");
    for _ in 0..50 {
        assert_eq!(reqwest::get(format!("{url}/files")).await.unwrap().status(), 401);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_closed_and_one_that_listens_is_not() {
    let world = World::new().await;
    let job = world.running_job().await;
    let limits = Limits { head_timeout: Duration::from_millis(100), ..Limits::default() };
    let url = world.gateway_beside(Auth::None, limits).await;
    let mut followed = reqwest::get(format!("{url}/jobs/{job}/log?follow=true")).await.unwrap();
    tokio::task::block_in_place(|| {
        for head in ["", "GET /healthz HTTP/1.1\r\nhost: local"] {
            let mut connection = connect(&url);
            connection.write_all(head.as_bytes()).unwrap();
            let mut rest = Vec::new();
            connection.read_to_end(&mut rest).unwrap();
            assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
        }
        let mut idle = connect(&url);
        is_answered(&mut idle);
        assert_eq!(idle.read(&mut [0]).unwrap(), 0, "between two requests, too");
    });
    // It is older than all of those, and has had no request since its first.
    world.chunk(job, 1, 1, "one\n").await;
    assert_eq!(followed.chunk().await.unwrap().unwrap(), "one\n");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_all_connections_are_open_is_served_once_one_is_closed() {
    let world = World::new().await;
    let limits = Limits { connections: NonZeroUsize::new(2).unwrap(), ..Limits::default() };
    let url = world.gateway_beside(Auth::None, limits).await;
    tokio::task::block_in_place(|| {
        let (mut one, mut two) = (connect(&url), connect(&url));
        is_answered(&mut one);
        is_answered(&mut two);
        // The system takes it; the gateway does not yet.
        let mut three = connect(&url);
        three.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
        for _ in 0..20 {
            is_answered(&mut two);
        }
        three.set_nonblocking(true).unwrap();
        assert_eq!(three.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        three.set_nonblocking(false).unwrap();
        drop(one);
        let mut first = [0; 12];
        three.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
    });
    world.end().await;
}
