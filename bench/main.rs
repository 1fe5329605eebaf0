//! Benchmarks: what the product costs beside the floor that was measured in the same run.
//!
//! `make bench` runs all, `make bench ONLY=name` one. Each figure is printed and appended to `target/bench.jsonl`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation ends the benchmark"
)]

mod definitions;
mod dispatch;
mod figure;
mod histories;
mod jobs;
mod lost_runner;
mod memory;
mod null_engine;
mod projection;
mod reads;
mod reuse;
mod stage;
#[path = "../tests/world/mod.rs"]
mod world;

use figure::Figure;

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A benchmark.
type Benchmark = fn() -> Vec<Figure>;

/// The benchmarks by the names that `ONLY` knows; each may give more than one figure.
const ALL: [(&str, Benchmark); 12] = [
    ("spec_5000_groups_ms", definitions::many_groups),
    ("one_step_job_vs_docker_run", jobs::one_step_job),
    ("publish_to_projected_p99_ms", projection::latency),
    ("dispatch_p50_ms", dispatch::latency),
    ("lost_runner_noticed_p99_ms", lost_runner::lost),
    ("noop_jobs_per_second", dispatch::throughput),
    ("rebuild_vs_raw_consume", projection::rebuild),
    ("reads_at_scale", reads::at_scale),
    ("idle_memory_mib", memory::idle),
    ("fleet_200_seconds", jobs::fleet),
    ("unchanged_rerun_ms_per_job", reuse::unchanged_rerun),
    ("large_repo_job", reuse::large_repository),
];

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn main() {
    // cargo adds `--bench` to what the user gave.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    for name in &wanted {
        assert!(
            ALL.iter().any(|(known, _)| known == name),
            "no benchmark `{name}`; there are: {}",
            ALL.map(|(name, _)| name).join(" ")
        );
    }
    let chosen =
        ALL.iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name));
    for (name, run) in chosen {
        eprintln!("running    {name}");
        for figure in run() {
            figure.record();
        }
    }
}
