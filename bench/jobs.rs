//! Jobs: what a step costs through Patchwave, beside the engine's own command line.
//!
//! Both sides use the same image, the same trees and the same script, two at a time.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use crate::figure::{Figure, Goal, median};
use crate::world::fleet;
use crate::world::git::Repository;
use crate::world::{Run, World, engine, path_text, script_definition};

/// How many jobs run at once, on both sides.
pub(crate) const PARALLEL: usize = 2;

/// How many jobs one round has, and how many rounds there are.
const ROUND: usize = 40;
const ROUNDS: usize = 5;

const ONE_STEP: &str = "echo one more line >>Cargo.toml";

/// The time per one-step job.
pub(crate) fn one_step_job() -> Vec<Figure> {
    let world = World::up_with(&["--slots", &PARALLEL.to_string()]);
    let repositories = fleet::repositories(&world.folder().join("repositories"), &fleet::sources(ROUND));
    let all: Vec<&Repository> = repositories.iter().collect();
    let checkouts = checkouts(&world, &repositories);
    // Each round says the same in other words: what ran before would not run again.
    let definition = |round: usize| {
        world.definition("one.batch.yaml", &script_definition("one", &format!("{ONE_STEP} # {round}")))
    };
    // The first run fetches and unpacks the trees; every later one finds them, as `docker run` finds its checkouts.
    world.run(&definition(0), &all).expect(0);
    let (mut ours, mut floor) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        floor.push(docker_runs(&checkouts, ONE_STEP) / ROUND as f64 * 1_000.0);
        ours.push(seconds_of_jobs(&world.run(&definition(round), &all).expect(0)) / ROUND as f64 * 1_000.0);
    }
    world.end();
    let (ours, floor) = (median(ours), median(floor));
    let against = ("docker run --rm", floor);
    vec![Figure::against("one_step_job_vs_docker_run", "ms", ours, against, Goal::AtMost(1.0))]
}

/// The wall time of an action over two hundred real repositories, from the command to the plan.
pub(crate) fn fleet() -> Vec<Figure> {
    let world = World::up_with(&["--slots", &PARALLEL.to_string()]);
    let repositories = fleet::repositories(&world.folder().join("repositories"), &fleet::sources(200));
    let all: Vec<&Repository> = repositories.iter().collect();
    let checkouts = checkouts(&world, &repositories);
    let script = fleet::STEPS.map(|step| format!("(\n{step}\n) || exit $?\n")).concat();
    let floor = docker_runs(&checkouts, &script);
    let definition = world.definition("fleet.batch.yaml", &fleet::definition());
    let start = Instant::now();
    world.run(&definition, &all).expect(2);
    let ours = start.elapsed().as_secs_f64();
    world.end();
    let against = ("docker run --rm for each job", floor);
    vec![Figure::against("fleet_200_seconds", "s", ours, against, Goal::AtMost(1.0))]
}

/// A plain checkout of each repository.
fn checkouts(world: &World, repositories: &[Repository]) -> Vec<PathBuf> {
    let folder = world.folder().join("checkouts");
    let checkout = |(number, repository): (usize, &Repository)| {
        repository.checkout(&folder.join(number.to_string())).path
    };
    repositories.iter().enumerate().map(checkout).collect()
}

/// From the first job that was queued to the last that ended, in seconds, as the events say.
pub(crate) fn seconds_of_jobs(run: &Run) -> f64 {
    seconds_between(run, "job.queued", "job.succeeded")
}

/// From the first event of a type to the last of another, in seconds.
pub(crate) fn seconds_between(run: &Run, first: &str, last: &str) -> f64 {
    let time = |event: &serde_json::Value| {
        let text = event["time"].as_str().expect("a time");
        chrono::DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros() as f64 / 1e6
    };
    let first = run.of_type(first).into_iter().map(time).fold(f64::INFINITY, f64::min);
    run.of_type(last).into_iter().map(time).fold(0.0, f64::max) - first
}

/// The wall time of one `docker run --rm` for each folder, in seconds.
fn docker_runs(folders: &[PathBuf], script: &str) -> f64 {
    let waiting = Mutex::new(folders.iter());
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let Some(folder) = waiting.lock().expect("no thread failed").next() else { return };
                    docker_run(&path_text(folder), script);
                }
            });
        }
    });
    start.elapsed().as_secs_f64()
}

pub(crate) fn docker_run(folder: &str, script: &str) {
    let volume = format!("{folder}:/work");
    let status = Command::new("docker")
        .args(["run", "--rm", "--volume", &volume, "--workdir", "/work", engine::IMAGE, "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    // The script may fail: that costs the engine the same. 125 is the engine's own failure.
    assert!(status.is_ok_and(|status| status.code() != Some(125)), "docker run fails");
}
