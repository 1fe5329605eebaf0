//! What dies, and what is true afterwards.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use events::blob::Sha256;
use events::job::DiffStat;
use events::log::{LogEnd, Stream};
use events::report::{Report, What};
use rustix::process::Signal;

use tokio::net::{UnixListener, UnixStream};

use super::world::{World, soon, stream};
use crate::journal::{ATTEMPT, Journal, attempt_of};

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
    let What::Abandoned { reason, log, .. } = world.end(&attempt).await else { panic!("it is given up") };
    assert_eq!(reason, "the runner was restarted");
    let chunks = world.log(&attempt, &log).await;
    assert_eq!(stream(&chunks, Stream::Stdout), "first\nat work");
    assert!(stream(&chunks, Stream::Runner).contains("restarted"));
    let next = world.send(&world.scripts(&["true"])).await;
    assert!(matches!(world.end(&next).await, What::Succeeded { patch: None, .. }));
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_dies_in_the_middle_of_a_log() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let script = "n=0\nwhile [ $n -lt 400 ]; do n=$((n + 1)); echo line $n; usleep 10000; done; echo x >file";
    let attempt = world.send(&world.scripts(&[script])).await;
    let mut live = world.reader.follow_log(&attempt, 0);
    soon("the live log", async { while live.next().await.unwrap().chunks.is_empty() {} }).await;
    world.signal_broker(Signal::KILL);
    let What::Succeeded { patch, log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    let expected: String = (1..=400).map(|n| format!("line {n}\n")).collect();
    assert_eq!(stream(&world.log(&attempt, &log).await, Stream::Stdout), expected);
    assert!(world.reader.has_blob(&patch.unwrap()).await.unwrap());
    world.close(runner).await;
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
    world.close_broker().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_runner() {
    let world = World::new().await;
    let runner = world.start(world.config(1)).await;
    world.beat(|beat| beat.slots == 1).await;
    let second = world.start(world.config(1)).await;
    let error = soon("the refusal", second.task).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("another runner works in"), "{error:#}");
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_does_not_wait_for_a_broker_that_is_away() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let attempt = world.send(&world.scripts(&["while [ ! -e go ]; do usleep 10000; done; seq 300000"])).await;
    world.report(&attempt, |what| matches!(what, What::StepStarted { .. })).await;
    world.signal_broker(Signal::STOP);
    let name = format!("{}.1", attempt.job.token());
    let files = world.fixture.dir.path().join("runner/attempts").join(name).join("workspace/merged");
    std::fs::write(files.join("go"), "").unwrap();
    soon("the step's end", async {
        while world.containers(Some("running")).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    world.signal_broker(Signal::CONT);
    let What::Succeeded { log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    let expected: String = (1..=300_000).map(|n| format!("{n}\n")).collect();
    assert!(stream(&world.log(&attempt, &log).await, Stream::Stdout) == expected);
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_written_down_is_told_and_not_replaced() {
    let mut world = World::new().await;
    let ticket = world.scripts(&["true"]);
    let end = LogEnd { chunks: 0, bytes: 0, lines: 0, sha256: Sha256::from_bytes(&[7; 32]) };
    let said = [
        What::Started,
        What::StepStarted { step: 1 },
        What::StepFinished { step: 1, exit_code: 0, duration_ms: 70_000 },
        What::Succeeded {
            patch: None,
            diff_stat: DiffStat::default(),
            outputs: Default::default(),
            results: Vec::new(),
            log: end,
        },
    ];
    let journal = Journal::open(&world.config(1).dir).unwrap();
    let folder = journal.begin(&ticket).unwrap();
    let lines = said.iter().zip(1..).map(|(what, number)| {
        let (execution, job, attempt, time) =
            (ticket.execution, ticket.job, ticket.attempt, chrono::Utc::now());
        let report = Report { execution, job, attempt, number, time, what: what.clone() };
        format!("{}\n", serde_json::to_string(&report).unwrap())
    });
    let mut file = std::fs::File::options().append(true).open(folder.join(ATTEMPT)).unwrap();
    file.write_all(lines.collect::<String>().as_bytes()).unwrap();
    drop(journal);

    let runner = world.start(world.config(1)).await;
    let attempt = attempt_of(&ticket);
    world.end(&attempt).await;
    let heard: Vec<What> = world.heard(&attempt).iter().map(|report| report.what.clone()).collect();
    assert_eq!(heard, said);
    world.clean().await;
    // The same ticket once more, as a scheduler sends it that has heard nothing yet: the slot stays free for the next.
    world.send(&ticket).await;
    let next = world.send(&world.scripts(&["true"])).await;
    world.end(&next).await;
    assert_eq!(world.heard(&attempt).len(), said.len());
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_goes_away_takes_its_attempts_with_it_and_nothing_else() {
    let mut world = World::new().await;
    let socket = world.fixture.dir.path().join("engine.sock");
    let proxy = Proxy::start(&socket);
    let mut config = world.config(1);
    config.docker_host = Some(format!("unix://{}", socket.display()));
    let runner = world.start(config).await;
    let attempt = world.send(&world.scripts(&["echo begun; sleep 600"])).await;
    world.report(&attempt, |what| matches!(what, What::StepStarted { .. })).await;
    soon("the container", async {
        while world.containers(Some("running")).await == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    proxy.cut().await;
    let What::Abandoned { reason, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    assert!(reason.contains("engine"), "{reason}");
    world.beat(|beat| beat.slots == 0 && beat.trouble.is_some() && beat.running.is_empty()).await;
    let waiting = world.send(&world.scripts(&["true"])).await;

    let proxy = Proxy::start(&socket);
    assert!(matches!(world.end(&waiting).await, What::Succeeded { .. }));
    world.beat(|beat| beat.slots == 1 && beat.trouble.is_none()).await;
    world.clean().await;
    world.close(runner).await;
    proxy.cut().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_the_attempt_and_not_the_runner() {
    let mut world = World::new().await;
    let dir = world.config(1).dir;
    std::fs::create_dir(&dir).unwrap();
    if !rustix::process::geteuid().is_root() {
        // Nobody else can make a small disk.
        return;
    }
    let disk = Disk::mount(&dir).unwrap();
    let runner = world.start(world.config(1)).await;
    let attempt = world.send(&world.scripts(&["dd if=/dev/zero of=big bs=1M 2>/dev/null; yes"])).await;
    let What::Abandoned { reason, log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    assert!(reason.contains("log cannot be written") && reason.contains("No space"), "{reason}");
    world.log(&attempt, &log).await;
    let next = world.send(&world.scripts(&["true"])).await;
    assert!(matches!(world.end(&next).await, What::Succeeded { .. }), "what it took is given back");
    world.clean().await;
    runner.end().await;
    drop(disk);
    world.close_broker().await;
}

/// A way to the real engine that can be cut.
struct Proxy(tokio::task::JoinHandle<()>);

impl Proxy {
    fn start(socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket).unwrap();
        Self(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut engine = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
                });
            }
        }))
    }

    async fn cut(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

/// A disk of its own for the runner's folder, and a small one; only root can mount it.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path) -> rustix::io::Result<Self> {
        let size = c"size=100m";
        rustix::mount::mount("tmpfs", at, "tmpfs", rustix::mount::MountFlags::empty(), Some(size))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
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
    let attempt = world.send(&world.scripts(&["seq 1000000"])).await;
    let What::Succeeded { log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    let took: Duration = begin.elapsed();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let rss: Vec<&str> =
        status.lines().filter(|line| line.starts_with("Vm") && line.contains("HWM")).collect();
    eprintln!("{} lines, {} bytes, {} chunks in {took:?}, {rss:?}", log.lines, log.bytes, log.chunks);
    let begin = std::time::Instant::now();
    let script = "n=0; while [ $n -lt 10000 ]; do n=$((n + 1)); echo $n; echo $n >&2; done";
    let attempt = world.send(&world.scripts(&[script])).await;
    let What::Succeeded { log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt))
    };
    let step = &world.heard(&attempt)[2].what;
    eprintln!("alternating: {} lines, {} chunks in {:?}; {step:?}", log.lines, log.chunks, begin.elapsed());
    world.close(runner).await;
}
