//! Lost runners: how soon the loss of one is noticed, and whether a pause is ever taken for one.
//!
//! Each runner is a process, killed by `kill -9` or stopped for five seconds; the log says what the scheduler made of it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::figure::{Figure, Goal, percentile};
use crate::world::{World, wait_for};

/// How many runners there are, and how often each is killed.
const RUNNERS: usize = 20;
const ROUNDS: usize = 5;

/// How long a pause is that must not be taken for a loss, and how often each runner has one.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSES: usize = 3;

/// Runners that are killed within so long: the moment within a lease matters.
const SPREAD: Duration = Duration::from_millis(130);

/// The figures of losses and pauses.
pub(crate) fn lost() -> Vec<Figure> {
    let names: Vec<String> = (0..RUNNERS).map(|number| format!("runner-{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::with_runners(&names, &["--slots", "1"]);
    let mut noticed = Vec::new();
    for round in 0..ROUNDS {
        wait_until_all_are_there(&world, round + 1);
        let mut killed = Vec::new();
        for name in &names {
            world.runner(name).kill();
            killed.push((*name, Utc::now()));
            std::thread::sleep(SPREAD);
        }
        let gone = wait_for_events(&world, "gone", (round + 1) * RUNNERS);
        for (name, at) in killed {
            let last = gone.iter().rfind(|event| event["aggregate"] == name).expect("it is gone");
            noticed.push((time(last) - at).num_milliseconds() as f64);
        }
        names.iter().for_each(|name| world.runner(name).restart());
    }
    wait_until_all_are_there(&world, ROUNDS + 1);
    let before = of_type(&world, "gone").len();
    for _ in 0..PAUSES {
        pause_all(&mut world, &names);
    }
    // A loss would be noticed by now: each has beaten again since.
    std::thread::sleep(2 * PAUSE);
    let wrong = of_type(&world, "gone").len() - before;
    world.end();
    noticed.sort_by(f64::total_cmp);
    vec![
        Figure::within("lost_runner_noticed_p99_ms", "ms", percentile(&noticed, 0.99), 10_000.0),
        Figure::absolute("lost_runner_false_positives", "runners", wrong as f64, Goal::AtMost(0.0)),
    ]
}

/// Stops each runner for the length of a pause, one a little after the other.
fn pause_all(world: &mut World, names: &[&str]) {
    for name in names {
        world.runner(name).signal("STOP");
        std::thread::sleep(SPREAD);
    }
    std::thread::sleep(PAUSE.saturating_sub(SPREAD * RUNNERS as u32));
    for name in names {
        world.runner(name).signal("CONT");
        std::thread::sleep(SPREAD);
    }
    std::thread::sleep(Duration::from_secs(2));
}

fn wait_until_all_are_there(world: &World, times: usize) {
    wait_for_events(world, "registered", times * RUNNERS);
}

fn wait_for_events(world: &World, kind: &str, count: usize) -> Vec<Value> {
    let mut events = Vec::new();
    wait_for(&format!("{count} runners to be {kind}"), || {
        // To look costs a process, and must not slow down what is looked at.
        std::thread::sleep(Duration::from_millis(500));
        events = of_type(world, kind);
        events.len() == count
    });
    events
}

fn of_type(world: &World, kind: &str) -> Vec<Value> {
    world.documents(&["events", "show", "--json", &format!("ev.runner.*.{kind}")])
}

fn time(event: &Value) -> DateTime<Utc> {
    event["time"].as_str().expect("a time").parse().expect("a time")
}
