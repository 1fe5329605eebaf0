//! Dispatch: how many jobs a second go through the whole, and how soon a job begins, where the jobs themselves do nothing.
//!
//! Scheduler, WORK, runner and projector are the real ones; the sandbox is a null sandbox: an engine that does nothing, and
//! workspaces in memory. One figure has them on the disk, as a runner does.

use std::time::Instant;

use broker::server::Sync;
use broker::{Broker, Start};
use chrono::{DateTime, Utc};
use events::id::{ExecutionId, RunnerId};
use events::{Aggregate, Event, execution, job, subject};

use crate::block_on;
use crate::figure::{Figure, Goal, percentile};
use crate::null_engine::NullEngine;
use crate::stage::{People, Stage};

/// Jobs of the execution that is measured; `PATCHWAVE_BENCH_JOBS` says otherwise.
const JOBS: usize = 5_000;

/// How many jobs the runner has at once: enough for it never to wait.
const SLOTS: u32 = 64;

/// How often a job begins on an idle runner.
const SINGLE: usize = 200;

/// The jobs a second.
pub(crate) fn throughput() -> Vec<Figure> {
    let memory = || tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let relaxed = block_on(jobs_per_second(Sync::EverySecond, memory()));
    let always = block_on(jobs_per_second(Sync::Always, memory()));
    let disk = block_on(jobs_per_second(Sync::EverySecond, tempfile::tempdir().expect("a folder")));
    let beside =
        |name, value| Figure::against(name, "jobs/s", value, ("`--sync 1s`", relaxed), Goal::AtLeast(0.0));
    vec![
        Figure::against("noop_jobs_per_second", "jobs/s", relaxed, ("the goal", 500.0), Goal::AtLeast(1.0)),
        beside("noop_jobs_per_second_always", always),
        beside("noop_jobs_per_second_workspaces_on_disk", disk),
    ]
}

async fn jobs_per_second(sync: Sync, workspaces: tempfile::TempDir) -> f64 {
    let jobs = std::env::var("PATCHWAVE_BENCH_JOBS").map_or(JOBS, |text| text.parse().expect("a number"));
    let (runner, mut stage) = stage(sync, workspaces).await;
    let engine = NullEngine::start(stage.folder.path());
    stage.run_jobs(&runner, SLOTS, &engine).await;
    let people = People::of(&stage).await;
    let reader = stage.connect("gateway").await;
    // The first job fetches the tree, and says that everybody is there.
    let first = people.ask_for("first", 1).await;
    completed(&reader, first).await;
    let mut projected = reader.follow_projector();
    let start = Instant::now();
    let execution = people.ask_for("all", jobs).await;
    let sequence = completed(&reader, execution).await;
    projected.wait_for(|place| *place >= sequence).await.expect("the projector beats");
    let seconds = start.elapsed().as_secs_f64();
    stage.close().await;
    jobs as f64 / seconds
}

async fn stage(sync: Sync, workspaces: tempfile::TempDir) -> (RunnerId, Stage) {
    let runner: RunnerId = "local".parse().expect("a runner's name");
    let mut stage = Stage::open_in(sync, std::slice::from_ref(&runner), workspaces).await;
    stage.schedule().await;
    stage.project().await;
    (runner, stage)
}

/// Waits until an execution has ended, all jobs of it well; returns where that stands.
async fn completed(reader: &Broker, id: ExecutionId) -> u64 {
    let mut follower =
        reader.follow_events(&[subject::aggregate_filter(&Aggregate::Execution(id))], Start::After(0));
    loop {
        for message in follower.next().await.expect("the log").messages {
            let event = message.event().expect("an event");
            if let Event::Execution(execution::Event::Completed(completed)) = event.event {
                assert_eq!(completed.outcome, execution::Outcome::Succeeded, "{:?}", completed.counts);
                return event.sequence;
            }
        }
    }
}

/// From the admission of a job to the runner's first request to the engine for it, while nothing else is to be done.
pub(crate) fn latency() -> Vec<Figure> {
    let mut milliseconds = block_on(async {
        let (runner, mut stage) = stage(Sync::Always, tempfile::tempdir().expect("a folder")).await;
        let engine = NullEngine::start(stage.folder.path());
        stage.run_jobs(&runner, 1, &engine).await;
        let people = People::of(&stage).await;
        let reader = stage.connect("gateway").await;
        let first = people.ask_for("first", 1).await;
        completed(&reader, first).await;
        let mut all = Vec::new();
        for number in 0..SINGLE {
            let execution = people.ask_for(&number.to_string(), 1).await;
            completed(&reader, execution).await;
            let (job, assigned) = assignment(&reader, execution).await;
            let begun = engine.asked_for(&job).expect("the runner asked for a container");
            all.push((begun - assigned).num_microseconds().expect("a short time") as f64 / 1_000.0);
        }
        stage.close().await;
        all
    });
    milliseconds.sort_by(f64::total_cmp);
    vec![Figure::within("dispatch_p50_ms", "ms", percentile(&milliseconds, 0.5), 10.0)]
}

/// The one job of an execution, and when it was given to its runner.
async fn assignment(reader: &Broker, id: ExecutionId) -> (String, DateTime<Utc>) {
    let filter = format!("ev.execution.{}.job.>", id.token());
    let mut follower = reader.follow_events(&[filter], Start::After(0));
    loop {
        for message in follower.next().await.expect("the log").messages {
            let event = message.event().expect("an event");
            if let (Aggregate::Job(_, job), Event::Job(job::Event::Assigned(_))) =
                (&event.aggregate, &event.event)
            {
                return (job.to_string(), event.time);
            }
        }
    }
}
