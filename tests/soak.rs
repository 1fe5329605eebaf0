//! The soak: thousands of jobs while runners are killed. It takes minutes, so `make test` leaves it out; `make soak` runs it.
//!
//! Nothing else may use the container engine meanwhile, because what is left behind there is counted.
//! `PATCHWAVE_SOAK_JOBS`, `PATCHWAVE_SOAK_KILL_SECONDS` (the mean time between two kills) and `PATCHWAVE_SOAK_SEED` change it.

mod memory;
mod remains;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;

use crate::world::git::Repository;
use crate::world::{World, script_definition};
use memory::Memory;
use remains::Remains;

/// The first one is never killed: only a process that lives long can be seen to grow.
const RUNNERS: [&str; 4] = ["steady", "brittle-1", "brittle-2", "brittle-3"];

/// How many repositories an execution has.
const REPOSITORIES: usize = 50;

/// How many executions run at once.
const AT_ONCE: usize = 4;

/// How often there is a word on how it goes.
const WORD: Duration = Duration::from_secs(10);

/// Says something on both streams and changes a file.
const SCRIPT: &str = "echo to work; echo so far >&2; echo changed >>name";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// An execution that a client follows, with its output in a file: nobody reads it before the end.
struct Following {
    child: Child,
    output: PathBuf,
}

struct Soak {
    world: World,
    repositories: Vec<Repository>,
    definition: PathBuf,
    rng: Rng,
    following: Vec<Following>,
    begun: usize,
    /// How jobs ended.
    ends: BTreeMap<String, usize>,
    memory: Memory,
}

impl Soak {
    fn new(seed: u64) -> Self {
        let world = World::with_runners(&RUNNERS, &["--slots", "2"]);
        let make = |n: usize| world.repository(&format!("repo-{n}")).file("name", format!("{n}\n")).commit();
        let repositories = (0..REPOSITORIES).map(make).collect();
        let definition = world.definition("soak.batch.yaml", &script_definition("soak", SCRIPT));
        Self {
            world,
            repositories,
            definition,
            rng: Rng::with_seed(seed),
            following: Vec::new(),
            begun: 0,
            ends: BTreeMap::new(),
            memory: Memory::default(),
        }
    }

    /// Starts the next execution.
    fn begin(&mut self) {
        let all: Vec<&Repository> = self.repositories.iter().collect();
        let output = self.world.folder().join(format!("run-{}.jsonl", self.begun));
        let mut command = self.world.run_command(&self.definition, &all);
        // What ran before would not run again, and nothing would be there to be killed.
        let child = command
            .arg("--no-cache")
            .stdout(File::create(&output).expect("a file"))
            .spawn()
            .expect("patchwave runs");
        self.following.push(Following { child, output });
        self.begun += 1;
    }

    /// Takes in the executions that have ended.
    fn collect(&mut self) {
        for following in std::mem::take(&mut self.following) {
            let Following { mut child, output } = following;
            if child.try_wait().expect("a child").is_none() {
                self.following.push(Following { child, output });
                continue;
            }
            let text = std::fs::read_to_string(&output).expect("the events");
            std::fs::remove_file(&output).expect("the events");
            let mut ended: BTreeMap<String, usize> = BTreeMap::new();
            for line in text.lines() {
                let event: Value = serde_json::from_str(line).expect("one JSON document a line");
                let kind = event["type"].as_str().expect("a type");
                if ["job.succeeded", "job.failed", "job.timed_out", "job.canceled"].contains(&kind) {
                    *ended
                        .entry(event["aggregate"].as_str().expect("an aggregate").to_owned())
                        .or_default() += 1;
                    *self.ends.entry(kind.to_owned()).or_default() += 1;
                }
            }
            assert_eq!(ended.len(), REPOSITORIES, "an execution ended without all of its jobs:\n{text}");
            assert!(ended.values().all(|times| *times == 1), "a job ended twice: {ended:?}");
        }
    }

    /// Kills one of the runners and starts it again: at once, soon, or after its lease.
    fn strike(&mut self, back: &mut Vec<(Instant, &'static str)>) {
        let name = RUNNERS[self.rng.usize(1..RUNNERS.len())];
        if back.iter().all(|(_, away)| *away != name) {
            self.world.runner(name).kill();
            let away = Duration::from_millis([0, 2_000, 11_000][self.rng.usize(0..3)]);
            back.push((Instant::now() + away, name));
        }
    }

    fn bring_back(&mut self, back: &mut Vec<(Instant, &'static str)>, now: Instant) {
        back.retain(|(at, name)| {
            let due = now >= *at;
            if due {
                self.world.runner(name).restart();
            }
            !due
        });
    }

    fn say(&self, start: Instant, kills: usize) {
        let ended: usize = self.ends.values().sum();
        let seconds = start.elapsed().as_secs();
        eprintln!("{seconds} s: {ended} jobs ended {:?}, {kills} kills, {}", self.ends, self.memory.last());
    }
}

#[test]
#[ignore = "it takes minutes and wants the container engine for itself: `make soak`"]
fn thousands_of_jobs_end_while_runners_are_killed() {
    let jobs = number("PATCHWAVE_SOAK_JOBS", 2_000) as usize;
    let mean_seconds = number("PATCHWAVE_SOAK_KILL_SECONDS", 4) as f64;
    let seed = number("PATCHWAVE_SOAK_SEED", u64::from(std::process::id()));
    eprintln!("PATCHWAVE_SOAK_SEED={seed}");
    let before = Remains::of_engine();
    let mut soak = Soak::new(seed);
    let quiet = Remains::of_world(&soak.world);
    let (start, mut kills, mut said) = (Instant::now(), 0, Instant::now());
    let (mut back, mut strike_at) = (Vec::new(), start);
    while soak.begun * REPOSITORIES < jobs || !soak.following.is_empty() {
        if soak.following.len() < AT_ONCE && soak.begun * REPOSITORIES < jobs {
            soak.begin();
        }
        let now = Instant::now();
        if now >= strike_at {
            soak.strike(&mut back);
            kills += 1;
            strike_at = now + Duration::from_secs_f64(mean_seconds * 2.0 * soak.rng.f64());
        }
        soak.bring_back(&mut back, now);
        soak.collect();
        soak.memory.sample(&soak.world);
        if said.elapsed() >= WORD {
            soak.say(start, kills);
            said = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    soak.bring_back(&mut back, Instant::now() + Duration::from_secs(60));
    soak.say(start, kills);
    assert!(
        soak.ends["job.succeeded"] * 10 >= soak.begun * REPOSITORIES * 9,
        "too many jobs failed: {:?}",
        soak.ends
    );
    Remains::wait_for_quiet(&soak.world, &quiet);
    soak.memory.assert_flat();
    Remains::assert_no_files(&soak.world, &RUNNERS);
    soak.world.end();
    assert_eq!(Remains::of_engine(), before, "something is left behind in the container engine");
}
