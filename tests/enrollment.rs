//! Enrolling: other machines become runners with a token each, whatever dies meanwhile, and one loses the right again.

use std::path::PathBuf;

use serde_json::Value;

use crate::world::{Followed, Process, Role, World, engine, kill, script_definition, wait_for};

/// Waits until the scenario says that it may go on.
const SCRIPT: &str = "while [ ! -e /tmp/go ]; do sleep 0.05; done; echo changed >>name";

/// The data directory of another machine.
fn machine(world: &World, name: &str) -> PathBuf {
    world.folder().join(name)
}

fn broker_url(world: &World) -> String {
    let broker: Value =
        serde_json::from_slice(&std::fs::read(world.data().join("broker.json")).unwrap()).unwrap();
    broker["url"].as_str().unwrap().to_owned()
}

fn token(world: &World, runner: &str) -> String {
    let token = world.documents(&["runner", "token", "create", runner, "--json"]).remove(0);
    token["token"].as_str().unwrap().to_owned()
}

/// Starts the runner of another machine, which knows nothing but a token and the broker's address.
fn join(world: &World, name: &str, token: &str) -> Process {
    let url = broker_url(world);
    let options = ["--join", token, "--broker-url", &url, "--slots", "1", "--drain-timeout", "1"];
    Process::role(Role::Runner, &machine(world, name), &options)
}

/// What `runner list` says of a runner.
fn entry(world: &World, runner: &str) -> Option<Value> {
    let runners = world.documents(&["runner", "list", "--json"]);
    runners.into_iter().find(|found| found["id"] == runner)
}

/// Its state, and since when.
fn listed(world: &World, runner: &str) -> Option<(String, String)> {
    let found = entry(world, runner)?;
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    Some((text("state"), text("since")))
}

/// How its enrollment stands.
fn enrollment(world: &World, runner: &str) -> String {
    let found = entry(world, runner).expect("it is listed");
    found["enrollment"]["state"].as_str().unwrap().to_owned()
}

fn state(world: &World, runner: &str) -> String {
    listed(world, runner).map(|(state, _)| state).unwrap_or_default()
}

#[test]
fn two_machines_join_with_a_token_each_and_one_is_revoked() {
    let world = World::services();
    let repository = world.repository("one").file("name", "one\n").commit();

    // North joins. Its token is worth nothing to anybody else.
    let create = ["runner", "token", "create", "north", "--json", "--pool", "default", "--label", "zone=a"];
    let first = world.documents(&create).remove(0)["token"].as_str().unwrap().to_owned();
    assert_eq!(state(&world, "north"), "INVITED");
    let list = world.ok(&["runner", "list"]);
    assert!(list.contains("its token can be redeemed until") && !list.contains(&first), "{list}");
    let mut north = join(&world, "north", &first);
    wait_for("north to be registered", || state(&world, "north") == "REGISTERED");
    let mut thief = join(&world, "thief", &first);
    assert_eq!(thief.wait(), Some(1));
    assert!(thief.log_text().contains("the token was redeemed by another machine"), "{}", thief.log_text());

    assert_eq!(enrollment(&world, "north"), "ENROLLED");
    let shown = world.ok(&["runner", "show", "north"]);
    assert!(shown.contains("zone=a"), "its token says so: {shown}");

    // It dies and comes back without a token: its key is enough.
    let before = listed(&world, "north");
    north.kill();
    let options = ["--slots", "1", "--drain-timeout", "1"];
    let mut north = Process::role(Role::Runner, &machine(&world, "north"), &options);
    wait_for("north to be registered anew", || {
        let now = listed(&world, "north");
        now != before && now.is_some_and(|(state, _)| state == "REGISTERED")
    });

    // It takes a job, and is revoked in the middle of it.
    let definition = world.definition("slow.batch.yaml", &script_definition("slow", SCRIPT));
    let mut run = Followed::begin(world.run_command(&definition, &[&repository]));
    run.until(1, "job.step_started");
    world.ok(&["runner", "revoke", "north"]);
    wait_for("north to be cut off", || north.log_text().contains("lost the broker"));

    // South joins and runs the job to its end.
    let mut south = join(&world, "south", &token(&world, "south"));
    run.until(2, "job.step_started");
    engine::touch_in_container(&machine(&world, "south"), "/tmp/go");
    let run = run.end().expect(0);
    let runners: Vec<&Value> =
        run.of_type("job.assigned").iter().map(|assigned| &assigned["data"]["runner"]).collect();
    assert_eq!(runners, ["north", "south"]);
    assert_eq!(run.of_type("job.lost").len(), 1);
    assert_eq!((state(&world, "north").as_str(), enrollment(&world, "north").as_str()), ("GONE", "REVOKED"));
    assert!(world.ok(&["runner", "list"]).contains("gone, revoked"));
    assert_eq!(enrollment(&world, "south"), "ENROLLED");

    // North ends what it has, and never comes back.
    north.signal("TERM");
    wait_for("north to end its job", || engine::jobs_over(&machine(&world, "north")).is_empty());
    north.kill();
    engine::remove_containers_over(&machine(&world, "north"));
    let options = ["--connect-timeout", "2s"];
    let mut again = Process::role(Role::Runner, &machine(&world, "north"), &options);
    assert_eq!(again.wait(), Some(1));
    assert!(again.log_text().contains("does not let the runner in"), "{}", again.log_text());
    let refused = world.refused(&["runner", "token", "create", "north"]);
    assert!(refused.contains("runner-revoked"), "{refused}");

    // East was invited and never came: its token is worth nothing any more, and the list says so.
    token(&world, "east");
    world.ok(&["runner", "revoke", "east"]);
    assert_eq!((state(&world, "east").as_str(), enrollment(&world, "east").as_str()), ("REVOKED", "REVOKED"));
    world.ok(&["projection", "verify"]);
    south.stop();
    world.end();
}

#[test]
fn the_registrar_dies_in_the_middle_of_an_enrollment() {
    let mut world = World::services();
    let registrar = world.process(Role::Registrar);
    // It takes the request, and is dead before it has answered.
    registrar.signal("STOP");
    let token = token(&world, "north");
    let mut north = join(&world, "north", &token);
    wait_for("north to have no answer", || north.log_text().contains("waiting for the registrar"));
    world.process(Role::Registrar).restart();
    wait_for("north to be registered", || state(&world, "north") == "REGISTERED");

    // The token counted once, and for north: whoever else has it is refused.
    let mut thief = join(&world, "thief", &token);
    assert_eq!(thief.wait(), Some(1));
    assert!(thief.log_text().contains("the token was redeemed by another machine"), "{}", thief.log_text());

    // The registrar is gone while north lives on, and nobody minds but those who want in.
    world.process(Role::Registrar).kill();
    let repository = world.repository("one").file("name", "one\n").commit();
    world.run_script("echo changed >>name", &[&repository]).expect(0);
    world.process(Role::Registrar).restart();
    north.restart();
    let next = world.repository("two").file("name", "two\n").commit();
    world.run_script("echo changed >>name", &[&next]).expect(0);
    north.stop();
    world.end();
}

#[test]
fn nats_server_restarts_under_enrolled_runners() {
    let mut world = World::services();
    let mut north = join(&world, "north", &token(&world, "north"));
    let mut south = join(&world, "south", &token(&world, "south"));
    for runner in ["north", "south"] {
        wait_for("both to be registered", || state(&world, runner) == "REGISTERED");
    }
    let repositories = ["one", "two"].map(|name| world.repository(name).file("name", "text\n").commit());
    let definition = world.definition("slow.batch.yaml", &script_definition("slow", SCRIPT));
    let mut run = Followed::begin(world.run_command(&definition, &repositories.each_ref()));
    run.until(2, "job.step_started");

    let server = world.process(Role::Broker).nats_server().expect("nats-server runs");
    kill(server);
    for (runner, process) in [("north", &north), ("south", &south)] {
        wait_for("the runner to notice", || process.log_text().contains("lost the broker"));
        engine::touch_in_container(&machine(&world, runner), "/tmp/go");
    }
    // Their keys let them in again, and what they did meanwhile is told.
    let run = run.end().expect(0);
    assert_eq!(run.of_type("job.succeeded").len(), 2);
    for runner in ["north", "south"] {
        assert_eq!(state(&world, runner), "REGISTERED");
    }

    // Whom the new server let in is cut off by it, too.
    world.ok(&["runner", "revoke", "south"]);
    wait_for("south to be cut off", || south.log_text().matches("lost the broker").count() > 1);
    south.kill();
    engine::remove_containers_over(&machine(&world, "south"));
    north.stop();
    world.end();
}
