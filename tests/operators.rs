//! Operators: history can be read, replayed and compared, and what was set aside can be taken up again.

use crate::world::postgres::Postgres;
use crate::world::{Role, World, wait_for};

#[test]
fn history_is_shown_by_subject_from_a_place_and_by_thing() {
    let world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    let run = world.run_script("echo 2 >a", &[&repository]).expect(0);

    let all = world.documents(&["events", "show", "--json"]);
    let sequences: Vec<u64> = all.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.is_sorted_by(|a, b| a + 1 == *b) && sequences[0] == 1, "{sequences:?}");

    let successes = world.documents(&["events", "show", "--json", "ev.execution.*.job.*.succeeded"]);
    assert_eq!(successes.len(), 1);
    assert_eq!(successes[0]["type"], "job.succeeded");

    let story = world.documents(&["events", "show", "--json", &run.execution()]);
    let types: Vec<&str> = story.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types.first(), Some(&"execution.requested"));
    assert!(types.contains(&"job.succeeded") && types.contains(&"execution.completed"), "{types:?}");

    let last = sequences.last().unwrap();
    let from = world.documents(&["events", "show", "--json", "--from", &last.to_string()]);
    assert_eq!(from.first().map(|event| event["sequence"].as_u64().unwrap()), Some(*last));
    assert!(
        world.ok(&["events", "show", &run.execution()]).contains("execution.requested"),
        "and for people"
    );
    world.end();
}

#[test]
fn whoever_follows_the_log_misses_nothing_while_the_gateway_is_killed() {
    let mut world = World::apart();
    let repository = world.repository("one").file("a", "1\n").commit();
    world.run_script("echo 2 >a", &[&repository]).expect(0);
    let file = world.folder().join("followed");
    let output = std::fs::File::create(&file).unwrap();
    let mut follower = world.command(&["events", "tail", "--follow", "--json", "--from", "1"]);
    let mut follower = follower.stdout(output).stderr(std::process::Stdio::null()).spawn().unwrap();
    let followed = || {
        let text = std::fs::read_to_string(&file).unwrap();
        let whole = text.rsplit_once('\n').map(|(whole, _)| whole.to_owned()).unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    wait_for("the first events", || followed().len() > 5);
    world.restart_gateway();
    world.run_script("echo 3 >a", &[&repository]).expect(0);
    let all = world.documents(&["events", "show", "--json"]);
    wait_for("the last event", || followed().len() >= all.len());
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(followed()[..all.len()], all, "each once, in order");
    world.end();
}

#[test]
fn the_projection_is_rebuilt_beside_the_live_one_and_equals_it() {
    let world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    let run = world.run_script("echo 2 >a", &[&repository]).expect(0);
    let before = world.ok(&["execution", "show", "--json", &run.execution()]);

    world.ok(&["projection", "verify"]);
    world.ok(&["projection", "rebuild"]);
    assert_eq!(world.ok(&["execution", "show", "--json", &run.execution()]), before);
    world.run_script("echo 3 >a", &[&repository]).expect(0);
    world.ok(&["projection", "verify"]);
    let status = world.documents(&["projection", "status", "--json"]).remove(0);
    assert_eq!(status["generation"], 2, "{status}");
    world.end();
}

#[test]
fn the_projection_is_the_same_on_postgresql() {
    let database = Postgres::shared().database("operators");
    let world = World::up_with(&["--database-url", &database]);
    let repository = world.repository("one").file("a", "1\n").commit();
    let run = world.run_script("echo 2 >a", &[&repository]).expect(0);
    let before = world.ok(&["execution", "show", "--json", &run.execution()]);

    world.ok(&["projection", "verify", "--database-url", &database]);
    world.ok(&["projection", "rebuild", "--database-url", &database]);
    assert_eq!(world.ok(&["execution", "show", "--json", &run.execution()]), before);
    world.run_script("echo 3 >a", &[&repository]).expect(0);
    world.ok(&["projection", "verify", "--database-url", &database]);
    assert!(!world.data().join("projection.sqlite").exists(), "and nothing is in SQLite");
    world.end();
}

#[test]
fn a_row_that_was_changed_by_hand_is_found_and_a_rebuild_mends_it() {
    let world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    world.run_script("echo 2 >a", &[&repository]).expect(0);
    world.change_projection("UPDATE executions_g1 SET succeeded = 7");

    let output = world.patchwave(&["projection", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for part in ["executions", "succeeded", "7", "1"] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    world.ok(&["projection", "rebuild"]);
    world.ok(&["projection", "verify"]);
    world.end();
}

#[test]
fn a_message_that_nobody_can_read_is_set_aside_listed_and_taken_up_again() {
    let mut world = World::up();
    world.publish("report.local.00000000000000000000000000.1", "no JSON");
    wait_for("the dead letter", || !world.ok(&["dead", "list", "--json"]).is_empty());
    let letter = world.documents(&["dead", "list", "--json"]).remove(0);
    assert_eq!(letter["consumer"], "scheduler");
    assert!(letter["reason"].as_str().unwrap().contains("expected"), "{letter}");

    world.ok(&["dead", "retry", &letter["id"].to_string()]);
    wait_for("it is set aside anew", || {
        let letters = world.documents(&["dead", "list", "--json"]);
        letters.len() == 1 && letters[0]["id"] != letter["id"]
    });
    world.expect_error("set aside");
    world.stop();
}

#[test]
fn an_interrupt_drains_and_everything_goes_on_after_a_start() {
    let mut world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    let run = world.run_script("echo 2 >a", &[&repository]).expect(0);
    world.process(Role::Up).signal("INT");
    assert_eq!(world.process(Role::Up).wait(), Some(0), "an interrupt is an orderly end");
    assert!(!world.data().join("gateway.json").exists());

    world.process(Role::Up).restart();
    wait_for("up again", || world.data().join("gateway.json").exists());
    assert!(world.ok(&["plan", "diff", &run.plan()]).contains("+2"));
    world.run_script("echo 3 >a", &[&repository]).expect(0);
    world.end();
}
