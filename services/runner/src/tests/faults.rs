//! What dies, and what is true afterwards.

use std::time::Duration;

use events::log::Stream;
use events::report::What;

use super::world::{World, soon, stream};

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_died_says_at_its_return_what_it_had() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let attempt = world.send(&world.scripts(&["echo first", "printf 'at work'; sleep 600"])).await;
    world.report(&attempt, |what| matches!(what, What::StepStarted { step: 2 })).await;
    let mut live = world.reader.follow_log(&attempt, 0);
    soon("the live log", async {
        let mut seen = String::new();
        while !seen.contains("at work") {
            seen.push_str(&stream(&live.next().await.unwrap().chunks, Stream::Stdout));
        }
    })
    .await;
    runner.kill().await;
    assert!(!world.is_clean().await, "the container goes on without its runner");

    let runner = world.start(world.config(1)).await;
    let What::Abandoned { reason, log } = world.end(&attempt).await else { panic!("it is given up") };
    assert_eq!(reason, "the runner was restarted");
    let chunks = world.log(&attempt, &log).await;
    assert_eq!(stream(&chunks, Stream::Stdout), "first\nat work");
    assert!(stream(&chunks, Stream::Runner).contains("restarted"));
    let next = world.send(&world.scripts(&["true"])).await;
    assert!(matches!(world.end(&next).await, What::Succeeded { patch: None, .. }));
    world.clean().await;
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_dies_in_the_middle_of_a_log() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let script = "n=0\nwhile [ $n -lt 400 ]; do n=$((n + 1)); echo line $n; usleep 10000; done; echo x >file";
    let attempt = world.send(&world.scripts(&[script])).await;
    let mut live = world.reader.follow_log(&attempt, 0);
    soon("the live log", async { while live.next().await.unwrap().chunks.is_empty() {} }).await;
    world.kill_broker();
    let What::Succeeded { patch, log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    let expected: String = (1..=400).map(|n| format!("line {n}\n")).collect();
    assert_eq!(stream(&world.log(&attempt, &log).await, Stream::Stdout), expected);
    assert!(world.reader.has_blob(&patch.unwrap()).await.unwrap());
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_stopped_gives_up_what_does_not_end() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let attempt = world.send(&world.scripts(&["echo begun; sleep 600"])).await;
    world.report(&attempt, |what| matches!(what, What::StepStarted { .. })).await;
    runner.stop.cancel();
    world.beat(|beat| beat.slots == 0 && beat.trouble.is_some()).await;
    let What::Abandoned { reason, .. } = world.end(&attempt).await else { panic!("it is given up") };
    assert!(reason.contains("stopped"), "{reason}");
    runner.end().await;
    assert!(world.is_clean().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_runner() {
    let world = World::new().await;
    let runner = world.start(world.config(1)).await;
    world.beat(|beat| beat.slots == 1).await;
    let second = world.start(world.config(1)).await;
    let error = soon("the refusal", second.task).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("another runner works in"), "{error:#}");
    runner.end().await;
}

/// Prints what a job costs and how fast a log streams.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn measure() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let warm = world.send(&world.scripts(&["true"])).await;
    world.end(&warm).await;
    let begin = std::time::Instant::now();
    let mut attempts = Vec::new();
    for _ in 0..20 {
        attempts.push(world.send(&world.scripts(&["echo x >file"])).await);
    }
    for attempt in &attempts {
        world.end(attempt).await;
        let reports = world.heard(attempt);
        let since = |n: usize| (reports[n].time - reports[0].time).num_milliseconds();
        eprintln!("step at {} ms, ended {} ms, told {} ms", since(1), since(2), since(3));
    }
    eprintln!("20 jobs on 2 slots: {:?}", begin.elapsed());
    let begin = std::time::Instant::now();
    let attempt = world
        .send(&world.scripts(&["seq -f 'line %.0f of a log that is rather long' 1000000 || seq 1000000"]))
        .await;
    let What::Succeeded { log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    let took: Duration = begin.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss: Vec<&str> =
        status.lines().filter(|line| line.starts_with("Vm") && line.contains("HWM")).collect();
    eprintln!("{} lines, {} bytes, {} chunks in {took:?}, {rss:?}", log.lines, log.bytes, log.chunks);
    runner.end().await;
}
