//! Admission: who gets a slot, who waits in vain, and how a runner leaves.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::world::git::Repository;
use crate::world::{Followed, Role, Run, World, path_text, script_definition, wait_for};

/// Starts an execution.
fn begin(world: &World, definition: &Path, repositories: &[Repository]) -> Followed {
    let all: Vec<&Repository> = repositories.iter().collect();
    Followed::begin(world.run_command(definition, &all))
}

fn repositories(world: &World, name: &str, count: usize) -> Vec<Repository> {
    let make = |n: usize| world.repository(&format!("{name}-{n}")).file("a", "1\n").commit();
    (0..count).map(make).collect()
}

fn definition(world: &World, name: &str, script: &str, settings: &str) -> std::path::PathBuf {
    let text = format!("{}{settings}", script_definition(name, script));
    world.definition(&format!("{name}.batch.yaml"), &text)
}

fn runner(world: &World, name: &str) -> Value {
    world.documents(&["runner", "show", "--json", name]).remove(0)
}

/// The runners of the attempts that were given out.
fn assigned_to(run: &Run) -> Vec<String> {
    let runner = |event: &&Value| event["data"]["runner"].as_str().unwrap().to_owned();
    run.of_type("job.assigned").iter().map(runner).collect()
}

#[test]
fn a_large_execution_keeps_a_small_one_waiting_for_no_longer_than_one_job() {
    let world = World::up_with(&["--slots", "2"]);
    let slow = definition(&world, "large", "sleep 0.4; echo 2 >a", "");
    let mut large = begin(&world, &slow, &repositories(&world, "large", 24));
    large.until(3, "job.succeeded");
    let quick = definition(&world, "small", "echo 2 >a", "");
    let small = begin(&world, &quick, &repositories(&world, "small", 2)).end().expect(0);
    let large = large.end().expect(0);
    let sequences = |run: &Run, name: &str| -> Vec<u64> {
        run.of_type(name).iter().map(|event| event["sequence"].as_u64().unwrap()).collect()
    };
    let queued = *sequences(&small, "job.queued").last().unwrap();
    let assigned = *sequences(&small, "job.assigned").last().unwrap();
    let between = sequences(&large, "job.assigned");
    let between = between.iter().filter(|sequence| (queued..assigned).contains(sequence)).count();
    assert!(between <= 2, "{between} jobs of the large execution came between");
    world.end();
}

#[test]
fn an_execution_takes_no_more_slots_than_its_definition_says() {
    let world = World::up_with(&["--slots", "4"]);
    let definition = definition(&world, "narrow", "sleep 0.2; echo 2 >a", "patchwave:\n  maxJobs: 1\n");
    let run = begin(&world, &definition, &repositories(&world, "narrow", 5)).end().expect(0);
    let mut open = 0;
    for event in &run.events {
        match event["type"].as_str().unwrap() {
            "job.assigned" => open += 1,
            "job.succeeded" => open -= 1,
            _ => {}
        }
        assert!(open <= 1, "two jobs run at once");
    }
    world.end();
}

#[test]
fn a_job_whose_pool_has_no_runner_is_shown_as_starved_until_one_comes() {
    let mut world = World::apart_with(&["--runner", "local", "--runner", "north"]);
    let definition = definition(&world, "heavy", "echo 2 >a", "patchwave:\n  pool: gpu\n");
    let mut story = begin(&world, &definition, &repositories(&world, "heavy", 1));
    let starved = story.until(1, "execution.starved").last("execution.starved").clone();
    assert_eq!((&starved["data"]["pool"], &starved["data"]["lack"]), (&"gpu".into(), &"no_runner".into()));
    let execution = starved["aggregate"].as_str().unwrap().to_owned();
    wait_for("the projection", || {
        let shown = world.documents(&["execution", "show", "--json", &execution]).remove(0);
        shown["starved"]["lack"] == "no_runner"
    });
    let shown = world.ok(&["execution", "show", &execution]);
    assert!(shown.contains("there is no runner in pool gpu"), "{shown}");
    assert!(shown.contains("patchwave runner --pool gpu"), "{shown}");
    assert!(shown.contains("waits in vain"), "{shown}");

    world.start_role(Role::Runner, &["--id", "north", "--pool", "gpu"]);
    let run = story.end().expect(0);
    assert_eq!(run.of_type("execution.starvation_ended").len(), 1);
    assert_eq!(assigned_to(&run), ["north"], "the runner of another pool gets nothing");
    assert_eq!(runner(&world, "north")["pool"], "gpu");
    world.end();
}

#[test]
fn an_execution_goes_to_another_pool_than_its_definition_says() {
    let mut world = World::apart_with(&["--runner", "local", "--runner", "north"]);
    world.start_role(Role::Runner, &["--id", "north", "--pool", "gpu"]);
    let definition = definition(&world, "light", "echo 2 >a", "");
    let repositories = repositories(&world, "light", 1);
    let mut command = world.run_command(&definition, &[&repositories[0]]);
    command.args(["--pool", "gpu"]);
    let run = Followed::begin(command).end().expect(0);
    assert_eq!(assigned_to(&run), ["north"]);
    let other = Followed::begin(world.run_command(&definition, &[&repositories[0]])).end().expect(0);
    assert!(other.of_type("job.assigned").iter().all(|event| event["data"]["runner"] == "local"));
    world.end();
}

#[test]
fn a_job_that_waits_for_longer_than_it_may_fails_and_says_so() {
    let world = World::up();
    let settings = "patchwave:\n  pool: nowhere\n  queueTimeout: 3s\n";
    let definition = definition(&world, "patient", "echo 2 >a", settings);
    let run = begin(&world, &definition, &repositories(&world, "patient", 2)).end().expect(1);
    let ends = run.of_type("job.queue_timed_out");
    assert_eq!(ends.len(), 2);
    assert_eq!(ends[0]["data"]["limit_ms"], 3_000);
    let job = ends[0]["aggregate"].as_str().unwrap();
    let shown = world.documents(&["job", "show", "--json", job]).remove(0);
    assert_eq!((&shown["state"], &shown["failure"]["kind"]), (&"FAILED".into(), &"queue_timed_out".into()));
    let message = shown["failure"]["message"].as_str().unwrap();
    assert!(message.contains("waited 3 s") && message.contains("no runner in pool nowhere"), "{message}");
    world.end();
}

/// Two runners under load, one of which leaves in this way.
fn one_of_two_leaves(leave: impl Fn(&mut World)) {
    let mut world = World::apart_with(&["--runner", "local", "--runner", "north"]);
    world.start_role(Role::Runner, &["--id", "north"]);
    let definition = definition(&world, "busy", "sleep 0.3; echo 2 >a", "");
    let mut story = begin(&world, &definition, &repositories(&world, "busy", 40));
    story.until(8, "job.succeeded");
    leave(&mut world);
    assert_eq!(world.process(Role::Runner).wait(), Some(0), "it left in order");
    let run = story.end().expect(0);
    assert_eq!(run.of_type("job.succeeded").len(), 40);
    assert!(run.of_type("job.lost").is_empty(), "nothing is lost");
    let mut runners = assigned_to(&run);
    runners.dedup();
    assert!(runners.contains(&"local".to_owned()) && runners.contains(&"north".to_owned()), "{runners:?}");
    wait_for("the end to be noted", || runner(&world, "local")["state"] == "GONE");
    assert_eq!(runner(&world, "local")["reason"], "drained");
    let listed = world.ok(&["runner", "list"]);
    assert!(listed.contains("drained"), "{listed}");
    world.end();
}

#[test]
fn a_runner_that_is_told_to_drain_ends_what_it_runs_and_leaves() {
    one_of_two_leaves(|world| {
        let said = world.ok(&["runner", "drain", "local"]);
        assert!(said.contains("local drains"), "{said}");
        let unknown = world.refused(&["runner", "drain", "nobody"]);
        assert!(unknown.contains("no runner of this name is there"), "{unknown}");
    });
}

#[test]
fn a_runner_that_is_asked_to_stop_ends_what_it_runs_and_leaves() {
    one_of_two_leaves(|world| world.process(Role::Runner).signal("TERM"));
}

#[test]
fn a_runner_takes_no_jobs_while_its_disk_is_short() {
    let mut world = World::new();
    let disk = Disk::mount();
    std::fs::create_dir_all(world.data()).unwrap();
    std::os::unix::fs::symlink(disk.path(), world.data().join("runner")).unwrap();
    std::fs::write(disk.path().join("filler"), vec![1; 200 << 20]).unwrap();
    world.start_up(&["--min-free-disk", &(150_u64 << 20).to_string()]);
    let definition = definition(&world, "small-disk", "echo 2 >a", "");
    let mut story = begin(&world, &definition, &repositories(&world, "small-disk", 1));
    let starved = story.until(1, "execution.starved").last("execution.starved").clone();
    assert_eq!(starved["data"]["lack"], "trouble");
    let message = starved["data"]["message"].as_str().unwrap();
    assert!(message.contains("is short") && message.contains("150 MiB are wanted"), "{message}");
    assert!(story.events.iter().all(|event| event["type"] != "job.assigned"));
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    story.end().expect(0);
    assert_eq!(runner(&world, "local")["now"]["trouble"], Value::Null);
    world.end();
}

/// A small disk for a runner's folder.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Self {
        let folder = tempfile::Builder::new().prefix("disk-").tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=300m", "tmpfs", &path_text(folder.path())];
        assert!(Command::new("mount").args(mount).status().unwrap().success(), "only root can mount");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", &path_text(self.path())]).status();
    }
}
