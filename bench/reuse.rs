//! Reuse: what a job costs whose steps ran before, and one whose tree is there already.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::figure::{Figure, Goal, median};
use crate::jobs::{PARALLEL, docker_run, seconds_between, seconds_of_jobs};
use crate::world::git::{self, Repository};
use crate::world::{World, fleet, path_text, script_definition};

/// How many jobs are run again.
const JOBS: usize = 200;

/// How often.
const ROUNDS: usize = 5;

/// The files of a large repository, and the folders that they are in.
const FILES: usize = 20_000;
const FOLDERS: usize = 400;

/// The time per job of an execution whose every job has run before.
pub(crate) fn unchanged_rerun() -> Vec<Figure> {
    let world = World::up_with(&["--slots", &PARALLEL.to_string()]);
    let repositories = fleet::repositories(&world.folder().join("repositories"), &fleet::sources(JOBS));
    let all: Vec<&Repository> = repositories.iter().collect();
    let definition =
        world.definition("again.batch.yaml", &script_definition("again", "echo more >>Cargo.toml"));
    world.run(&definition, &all).expect(0);
    let again = || {
        let run = world.run(&definition, &all).expect(0);
        assert_eq!(run.of_type("job.steps_reused").len(), JOBS, "every job is reused");
        seconds_of_jobs(&run) / JOBS as f64 * 1_000.0
    };
    let milliseconds = median((0..ROUNDS).map(|_| again()).collect());
    world.end();
    vec![Figure::within("unchanged_rerun_ms_per_job", "ms", milliseconds, 20.0)]
}

/// A change of one line in a repository of twenty thousand files, for the first time and once its tree is there, beside a
/// script that clones, runs a container, stages and compares.
pub(crate) fn large_repository() -> Vec<Figure> {
    let world = World::up_with(&["--slots", "1"]);
    let repository = large(&world);
    let clones = world.folder().join("clones");
    let script =
        median((0..ROUNDS).map(|round| by_script(&repository, &clones.join(round.to_string()))).collect());
    let ours = |round: usize| {
        let script = format!("echo line {round} >>folder-7/file-7");
        let definition = world.definition("large.batch.yaml", &script_definition("large", &script));
        seconds_between(
            &world.run(&definition, &[&repository]).expect(0),
            "execution.requested",
            "execution.completed",
        )
    };
    let first = ours(0);
    let cached = median((1..=ROUNDS).map(ours).collect());
    world.end();
    let beside = |name, value, goal| {
        Figure::against(name, "s", value, ("clone, run, add, diff", script), Goal::AtMost(goal))
    };
    vec![
        beside("large_repo_job_first_vs_script", first, 1.0),
        beside("large_repo_job_cached_tree_vs_script", cached, 0.2),
    ]
}

fn large(world: &World) -> Repository {
    let mut repository = world.repository("large");
    for number in 0..FILES {
        let text = format!("the first line of file {number}\n").repeat(20);
        repository = repository.file(format!("folder-{}/file-{number}", number % FOLDERS), text);
    }
    repository.file("folder-7/file-7", "one\n").commit()
}

/// The seconds that a plain script takes.
fn by_script(repository: &Repository, clone: &Path) -> f64 {
    std::fs::create_dir_all(clone).expect("a folder");
    let source = format!("file://{}", path_text(&repository.path));
    let checkout: PathBuf = clone.join("checkout");
    let start = Instant::now();
    git::git(clone, &["clone", "--quiet", &source, "checkout"]);
    docker_run(&path_text(&checkout), "echo line >>folder-7/file-7");
    git::git(&checkout, &["add", "--all"]);
    let diff = git::git(&checkout, &["diff", "--cached", "--binary"]).stdout;
    let seconds = start.elapsed().as_secs_f64();
    assert!(!diff.is_empty(), "the script changed something");
    let removed = Command::new("rm").arg("-rf").arg(clone).stdin(Stdio::null()).status();
    assert!(removed.is_ok_and(|status| status.success()), "the clone is removed");
    seconds
}
