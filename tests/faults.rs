//! Faults: any process may die in the middle, and the result is as if none had.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::world::git::Repository;
use crate::world::{Followed, Role, Run, World, kill, script_definition};

/// How many jobs there are.
const JOBS: usize = 50;

/// How many jobs have ended when the fault strikes.
const MIDDLE: usize = 12;

/// Prints for a while and then changes a file; what it prints depends on the repository alone.
const SCRIPT: &str = "name=$(cat name)
n=0
while [ $n -lt 8 ]; do
  n=$((n + 1))
  echo \"$name says $n\"
  echo \"$name complains of $n\" >&2
  sleep 0.05
done
echo changed >>name";

fn expected_log(name: &str) -> (String, String) {
    let said = (1..=8).map(|n| format!("{name} says {n}\n")).collect();
    let complained = (1..=8).map(|n| format!("{name} complains of {n}\n")).collect();
    (said, complained)
}

/// An execution that runs while something breaks.
struct Story {
    world: World,
    repositories: Vec<Repository>,
    run: Followed,
}

impl Story {
    /// Starts the execution and waits until it is in its middle.
    fn begin() -> Self {
        let world = World::apart();
        let make = |n: usize| {
            let name = format!("repo-{n}");
            world.repository(&name).file("name", format!("{name}\n")).commit()
        };
        let repositories: Vec<Repository> = (0..JOBS).map(make).collect();
        let definition = world.definition("slow.batch.yaml", &script_definition("slow", SCRIPT));
        let all: Vec<&Repository> = repositories.iter().collect();
        let mut run = Followed::begin(world.run_command(&definition, &all));
        run.until_that(MIDDLE, ends_a_job);
        Self { world, repositories, run }
    }

    /// Kills a role and starts it again.
    fn strike(&mut self, role: Role) {
        self.world.process(role).restart();
    }

    /// Reads the run to its end and checks every promise.
    fn end(self) {
        let run = self.run.end().expect(0);
        each_event_comes_once(&run);
        each_job_ends_once(&run);
        let jobs: BTreeMap<String, String> =
            run.of_type("job.queued").into_iter().map(repository_and_job).collect();
        assert_eq!(jobs.len(), JOBS);
        for (name, job) in &jobs {
            each_byte_of_the_log_is_there_once(&self.world, name, job);
        }
        let patches = self.world.export(&run.plan());
        assert_eq!(patches.len(), JOBS);
        for repository in &self.repositories {
            repository.apply(&patches[&repository.name()]);
            let text = std::fs::read_to_string(repository.path.join("name")).unwrap();
            assert_eq!(text, format!("{}\nchanged\n", repository.name()));
        }
        self.world.ok(&["projection", "verify"]);
        self.world.end();
    }
}

fn ends_a_job(event: &Value) -> bool {
    let kind = event["type"].as_str().unwrap_or_default();
    ["job.succeeded", "job.failed", "job.timed_out", "job.canceled"].contains(&kind)
}

fn repository_and_job(event: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&event["data"]["workspace"]["repository"]), text(&event["aggregate"]))
}

fn each_event_comes_once(run: &Run) {
    let sequences: Vec<u64> = run.events.iter().map(|event| event["sequence"].as_u64().unwrap()).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "the stream of events has repetitions: {sequences:?}");
}

fn each_job_ends_once(run: &Run) {
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for event in run.events.iter().filter(|event| ends_a_job(event)) {
        *ends.entry(event["aggregate"].as_str().unwrap()).or_default() += 1;
    }
    assert_eq!(ends.len(), JOBS);
    assert!(ends.values().all(|times| *times == 1), "{ends:?}");
}

/// The two streams of a step may interleave in any way, but each is exact.
fn each_byte_of_the_log_is_there_once(world: &World, name: &str, job: &str) {
    let log = world.ok(&["job", "logs", job]);
    let of =
        |word: &str| log.lines().filter(|line| line.contains(word)).map(|line| format!("{line}\n")).collect();
    let streams: (String, String) = (of(" says "), of(" complains "));
    assert_eq!(streams, expected_log(name), "the log of {name}");
    assert_eq!(log.len(), streams.0.len() + streams.1.len(), "and nothing else: {log}");
}

#[test]
fn the_runner_dies_in_the_middle() {
    let mut story = Story::begin();
    story.strike(Role::Runner);
    story.end();
}

#[test]
fn the_runner_dies_and_stays_away_for_a_lease() {
    let mut story = Story::begin();
    story.world.process(Role::Runner).kill();
    // Nobody but the scheduler says that the lease ran out, and no other runner is there to take over.
    story.run.until_that(1, |event| event["type"] == "job.lost");
    story.strike(Role::Runner);
    story.end();
}

#[test]
fn the_scheduler_dies_in_the_middle() {
    let mut story = Story::begin();
    story.strike(Role::Scheduler);
    story.end();
}

#[test]
fn the_log_collector_dies_in_the_middle() {
    let mut story = Story::begin();
    story.strike(Role::LogCollector);
    story.end();
}

#[test]
fn the_projector_dies_in_the_middle() {
    let mut story = Story::begin();
    story.strike(Role::Projector);
    story.end();
}

#[test]
fn campaign_plan_dies_in_the_middle() {
    let mut story = Story::begin();
    story.strike(Role::CampaignPlan);
    story.end();
}

#[test]
fn the_gateway_dies_in_the_middle() {
    let mut story = Story::begin();
    story.strike(Role::Gateway);
    story.end();
}

#[test]
fn nats_server_dies_in_the_middle() {
    let mut story = Story::begin();
    let server = story.world.process(Role::Broker).nats_server().expect("nats-server runs");
    kill(server);
    story.end();
}

#[test]
fn everything_dies_in_the_middle() {
    let mut story = Story::begin();
    let roles = [Role::Broker].into_iter().chain(Role::SERVICES);
    for role in roles.clone() {
        story.world.process(role).kill();
    }
    for role in roles {
        story.strike(role);
    }
    story.end();
}

#[test]
fn a_job_that_takes_three_runners_down_fails_and_says_so() {
    let mut world = World::apart();
    let repository = world.repository("deadly").file("a", "1\n").commit();
    let definition = world.definition("deadly.batch.yaml", &script_definition("deadly", "sleep 600"));
    let mut child = world.run_command(&definition, &[&repository]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut events = Vec::new();
    for line in lines {
        let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if event["type"] == "job.step_started" {
            world.process(Role::Runner).restart();
        }
        events.push(event);
    }
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let run = Run { code: 1, events, errors: String::new() };
    assert_eq!(run.of_type("job.lost").len(), 2, "the third loss is the failure");
    let failure = &run.of_type("job.failed")[0]["data"]["failure"];
    assert_eq!(failure["kind"], "lost");
    assert!(failure["message"].as_str().unwrap().contains("3 attempts were lost"), "{failure}");
    world.end();
}

#[test]
fn a_job_ends_at_its_wall_clock_limit_with_its_whole_process_tree() {
    let world = World::up();
    let repository = world.repository("endless").file("a", "1\n").commit();
    let script = "setsid sh -c 'trap \"\" TERM; sleep 600' & echo begun; trap '' TERM; sleep 600";
    let text = format!("{}patchwave:\n  timeout: 3s\n", script_definition("endless", script));
    let run = world.run(&world.definition("endless.batch.yaml", &text), &[&repository]).expect(1);
    assert_eq!(run.of_type("job.timed_out")[0]["data"]["limit_ms"], 3_000);
    let job = run.of_type("job.queued")[0]["aggregate"].as_str().unwrap();
    assert!(world.ok(&["job", "logs", job]).starts_with("begun\n"));
    // No container is left either: the end of every scenario looks.
    world.end();
}
