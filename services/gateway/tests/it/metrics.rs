//! Metrics: what is served is what the page says, and it counts what happens.

use std::collections::BTreeMap;

use serde_json::json;

use crate::world::{World, showing};

const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// The metrics of the page: their type and their labels.
fn documented() -> BTreeMap<String, (String, Vec<String>)> {
    let names =
        |cell: &str| cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect::<Vec<_>>();
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let labels = names(cells[2]).into_iter().filter(|name| !name.is_empty()).collect();
        (names(cells[0]).remove(0), (cells[1].to_owned(), labels))
    })
    .collect()
}

/// The same of what is served.
fn served(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    kinds
        .map(|(name, kind)| {
            let suffix = if kind == "histogram" { "_count" } else { "" };
            let sample = text.lines().find_map(|line| {
                let rest = line.strip_prefix(name)?.strip_prefix(suffix)?;
                rest.starts_with(['{', ' ']).then_some(rest)
            });
            let sample = sample.unwrap_or_else(|| panic!("{name} has no value: {text}"));
            let labels = sample
                .strip_prefix('{')
                .and_then(|rest| rest.rsplit_once('}'))
                .map_or("", |(labels, _)| labels);
            let labels =
                labels.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect();
            (name.to_owned(), (kind.to_owned(), labels))
        })
        .collect()
}

/// The value of a sample.
pub(crate) fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in {text}")).parse().unwrap()
}

pub(crate) async fn scrape(world: &World) -> String {
    let answer = world.get("/metrics").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_under_the_names_of_the_page() {
    let mut world = World::new().await;
    let job = world.running_job().await;
    world.data("{ runners { nodes { id } } }", json!({})).await;
    world.error("mutation { cancelJob(input: { jobId: \"nonsense\" }) { sequence } }", json!({})).await;
    world.error("{", json!({})).await;
    assert_eq!(world.get("/nowhere").await.status(), 404);
    assert_eq!(world.get(&format!("/jobs/{job}/patch")).await.status(), 404);
    let login = json!({ "name": "nobody", "password": "wrong wrong wrong" });
    let attempt = showing(None).post(format!("{}/signin", world.url)).json(&login);
    assert_eq!(attempt.send().await.unwrap().status(), 401);
    let odd = world.client().request("BREW".parse().unwrap(), format!("{}/files", world.url));
    assert_eq!(odd.send().await.unwrap().status(), 405);
    let followed = world.get(&format!("/jobs/{job}/log?follow=true")).await;

    let text = scrape(&world).await;
    assert_eq!(served(&text), documented());
    for (sample, expected) in [
        ("graphql_operations_total{operation=\"query\",outcome=\"ok\"}", 1.0),
        ("graphql_operations_total{operation=\"mutation\",outcome=\"invalid-request\"}", 1.0),
        ("graphql_operations_total{operation=\"unreadable\",outcome=\"invalid-request\"}", 1.0),
        ("http_requests_total{route=\"/graphql\",method=\"POST\",status=\"200\"}", 3.0),
        ("http_requests_total{route=\"none\",method=\"GET\",status=\"404\"}", 1.0),
        ("http_requests_total{route=\"/jobs/{id}/patch\",method=\"GET\",status=\"404\"}", 1.0),
        ("http_requests_total{route=\"/files\",method=\"other\",status=\"405\"}", 1.0),
        ("http_request_duration_seconds_count{route=\"/graphql\",method=\"POST\"}", 3.0),
        ("http_requests_in_progress", 1.0),
        ("sign_ins_refused_total{reason=\"credentials\"}", 1.0),
        ("sign_ins_refused_total{reason=\"throttled\"}", 0.0),
        ("streams", 1.0),
        ("broker_up", 1.0),
        ("database_up", 1.0),
        ("projection_lag_events", 0.0),
        ("projection_sequence", 3.0),
        ("rate_limited_requests_total", 0.0),
    ] {
        assert_eq!(value(&text, &format!("patchwave_gateway_{sample}")), expected, "{sample}");
    }
    assert!(value(&text, "patchwave_gateway_connections") >= 2.0, "the stream has one of its own");
    assert!(!text.contains(&job.to_string()), "no ids");
    drop(followed);

    let port = world.stop_broker().await;
    let text = scrape(&world).await;
    assert_eq!(value(&text, "patchwave_gateway_broker_up"), 0.0);
    assert!(value(&text, "patchwave_gateway_projection_lag_events").is_nan());
    world.start_broker(port).await;
}
