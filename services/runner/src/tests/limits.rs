//! Limits: what jobs that run away come to, and that the others go on.

use events::action::Given;
use events::job::{Failure, FailureKind, Limit, LimitName};
use events::log::{LogEnd, Stream};
use events::report::What;
use events::ticket::Ticket;

use super::secrets::until_logged;
use super::world::{IMAGE, World, stream};

impl World {
    /// A ticket for scripts under these settings, each a line of YAML.
    fn limited(&self, settings: &str, scripts: &[&str]) -> Ticket {
        let mut ticket = self.scripts(scripts);
        let settings = settings.lines().map(|line| format!("  {line}\n")).collect::<String>();
        ticket.definition.source.push_str(&format!("patchwave:\n{settings}"));
        ticket
    }

    /// Runs a job that must fail, and returns why and its log.
    async fn failed(&mut self, ticket: &Ticket) -> (Failure, LogEnd) {
        let attempt = self.send(ticket).await;
        match self.end(&attempt).await {
            What::Failed { failure, log, .. } => (failure, log),
            other => panic!("{other:?}"),
        }
    }

    /// The limit that a job under these settings fails at.
    async fn limit(&mut self, settings: &str, scripts: &[&str]) -> Option<Limit> {
        self.failed(&self.limited(settings, scripts)).await.0.limit
    }

    /// What the log of an attempt says, of the steps and of the runner.
    async fn said(&self, ticket: &Ticket, end: &LogEnd) -> (String, String) {
        let chunks = self.log(&crate::journal::attempt_of(ticket), end).await;
        (stream(&chunks, Stream::Stdout), stream(&chunks, Stream::Runner))
    }
}

fn limit(name: LimitName, value: u64) -> Option<Limit> {
    Some(Limit { name, value })
}

const MEMORY: &str = "limits: { memory: 32MiB }";

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_runs_out_is_called_that_and_no_other_kill_is() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let bomb = "tail /dev/zero";
    let survived = "(tail /dev/zero) || echo survived; exit 3";
    let looks = "echo ${{ join previous_step.added_files \" \" }}; tail /dev/zero";
    for (scripts, step, exit_code) in [
        (&[bomb] as &[_], 1, 137),
        // A child alone was killed, and the step says something else.
        (&[survived], 1, 3),
        // Scripts that share a container, and scripts by exec.
        (&["true", bomb], 2, 137),
        (&["true", looks], 2, 137),
    ] {
        let (failure, _) = world.failed(&world.limited(MEMORY, scripts)).await;
        let found = (failure.kind, failure.step, failure.exit_code, failure.limit);
        let expected =
            (FailureKind::OutOfMemory, Some(step), Some(exit_code), limit(LimitName::Memory, 32 << 20));
        assert_eq!(found, expected, "{scripts:?}: {failure:?}");
    }
    // Of several steps that share a container it is the one during which it happened, whatever happened before.
    let shared = "(tail /dev/zero) || echo survived";
    let looks = |script: &str| format!("echo ${{{{ join previous_step.added_files \" \" }}}}; {script}");
    for (second, kind) in
        [("sleep 0.1; exit 1", FailureKind::StepExit), ("tail /dev/zero; exit 1", FailureKind::OutOfMemory)]
    {
        for second in [second.to_owned(), looks(second)] {
            let (failure, _) = world.failed(&world.limited(MEMORY, &[shared, &second])).await;
            let found = (failure.kind, failure.step, failure.exit_code);
            assert_eq!(found, (kind, Some(2), Some(1)), "{second}: {failure:?}");
        }
    }
    let (failure, _) = world.failed(&world.limited(MEMORY, &["kill -9 $$; sleep 60"])).await;
    assert_eq!((failure.kind, failure.exit_code, failure.limit), (FailureKind::StepExit, Some(137), None));
    // What was killed and did not matter is no failure.
    let ticket = world.limited(MEMORY, &["(tail /dev/zero) || echo survived"]);
    let attempt = world.send(&ticket).await;
    assert!(matches!(world.end(&attempt).await, What::Succeeded { .. }));
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_bounded_wherever_it_goes() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let dd = |to: &str| format!("dd if=/dev/zero of={to} bs=1M count=100");
    let many = |to: &str, what: &str| {
        format!("mkdir -p {to}; i=0; while true; do {what} >{to}/$i || exit 4; i=$((i+1)); done")
    };
    let settings = "limits: { workspaceBytes: 8MiB, workspaceFiles: 500, imageBytes: 8MiB }";
    let bytes = limit(LimitName::WorkspaceBytes, 8 << 20);
    let image = limit(LimitName::ImageBytes, 8 << 20);
    assert_eq!(world.limit(settings, &[&dd("big")]).await, bytes);
    assert_eq!(world.limit(settings, &[&dd("/tmp/big")]).await, image);
    assert_eq!(world.limit(settings, &[&many("d", "printf x")]).await, limit(LimitName::WorkspaceFiles, 500));
    assert_eq!(world.limit(settings, &[&many("/tmp/d", ":")]).await, image, "empty files take their inodes");
    // Nobody sees it happen, and it shows all the same.
    assert_eq!(world.limit(settings, &["head -c 9000000 /dev/zero >big; exit 0"]).await, bytes);
    // A file that went away again is not held against anybody.
    let ticket = world.limited(settings, &["head -c 7000000 /dev/zero >big; rm big; echo x >small"]);
    let attempt = world.send(&ticket).await;
    assert!(matches!(world.end(&attempt).await, What::Succeeded { .. }));
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_full_says_so_and_the_job_ends_or_goes_on() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let settings = |when_full: &str| format!("limits: {{ logBytes: 64KiB, onLogLimit: {when_full} }}");
    let endless = world.limited(&settings("fail"), &["yes 0123456789"]);
    let (failure, log) = world.failed(&endless).await;
    assert_eq!((failure.kind, failure.limit), (FailureKind::Limit, limit(LimitName::LogBytes, 64 << 10)));
    let (printed, said) = world.said(&endless, &log).await;
    assert_eq!(printed.len(), 64 << 10);
    assert!(said.contains("the log is full at 64 KiB (limits.logBytes): the job ends here\n"), "{said}");

    // What compresses a thousandfold counts as what it is.
    let ticket =
        world.limited(&settings("continue"), &["head -c 50000000 /dev/zero; echo x >done", "cat done"]);
    let attempt = world.send(&ticket).await;
    let What::Succeeded { patch, log, .. } = world.end(&attempt).await else { panic!("it goes on") };
    assert!(patch.is_some());
    let (printed, said) = world.said(&ticket, &log).await;
    assert_eq!(printed.len(), 64 << 10, "nothing of the later step either");
    assert_eq!(said.matches("the log is full").count(), 1, "{said}");
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_line_is_cut_and_the_next_one_is_whole() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo; echo next";
    let ticket = world.limited("limits: { logLineBytes: 1MiB }", &[script]);
    let attempt = world.send(&ticket).await;
    let What::Succeeded { log, .. } = world.end(&attempt).await else { panic!("it succeeds") };
    let (printed, said) = world.said(&ticket, &log).await;
    assert_eq!(printed, format!("{}next\n", "x".repeat(1 << 20)));
    assert!(said.contains("that line is longer than 1 MiB: the rest of it is left out"), "{said}");
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_takes_too_long_ends_with_all_that_it_started() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let daemon = "setsid sleep 600 & trap '' TERM; echo before; sleep 600";
    let by_default = world.limited("stepTimeout: 2s", &["true", daemon]);
    let own = world.ticket(&format!(
        "- container: {IMAGE}\n  run: echo ${{{{ repository.name }}}}; sleep 600\n  patchwave: {{ timeout: 1s }}\n"
    ));
    for (ticket, step, expected_ms) in [(by_default, 2, 2_000), (own, 1, 1_000)] {
        let attempt = world.send(&ticket).await;
        let What::TimedOut { limit_ms, step: of, log, .. } = world.end(&attempt).await else {
            panic!("{:?}", world.heard(&attempt));
        };
        assert_eq!((of, limit_ms), (Some(step), expected_ms));
        let (_, said) = world.said(&ticket, &log).await;
        let expected =
            format!("step {step} reached its time limit of {} s: everything was stopped", expected_ms / 1000);
        assert!(said.contains(&expected), "{said}");
    }
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_ends_with_its_job() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let mut ticket = world.scripts(&["true"]);
    // It is never built, so the text may be the same each time.
    ticket.definition.file_name = "action.json".to_owned();
    ticket.definition.source = format!(
        r#"{{"scopeQuery": "repo:x", "steps": [{{"type": "docker", "dockerfile": "FROM {IMAGE}\nRUN sleep 600", "args": ["true"]}}]}}"#
    );
    let text = |text: &str| Some(text.to_owned());
    let (name, branch, title) = (text("a"), text("b"), text("T"));
    ticket.definition.given = Given { name, branch, title, body: text("B"), message: text("M") };
    ticket.timeout_ms = 3_000;
    let attempt = world.send(&ticket).await;
    let end = world.end(&attempt).await;
    assert!(matches!(end, What::TimedOut { step: None, limit_ms: 3_000, .. }), "{end:?}");
    // The one slot is free for the next job.
    let next = world.send(&world.scripts(&["true"])).await;
    assert!(matches!(world.end(&next).await, What::Succeeded { .. }));
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_away_does_not_keep_the_others_from_their_ends() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let fork_bomb = "bomb() { bomb | bomb & }; bomb; sleep 600";
    let hog = "for i in 1 2 3 4 5 6 7 8; do while :; do :; done & done; wait";
    let memory_bomb = "while :; do (tail /dev/zero) & (tail /dev/zero) & wait; done";
    // Nearly full at once, and then slowly more, so that it is at it while the other runs.
    let filler = |folder: &str, fast: &str| {
        format!(
            "cd {folder}; {fast}; i=0; while :; do i=$((i+1)); head -c 200000 /dev/zero >more-$i; sleep 0.1; done"
        )
    };
    let large = "head -c 60000000 /dev/zero >large";
    let many = "for i in $(seq 4900); do : >file-$i; done";
    let settings = "stepTimeout: 15s\nlimits: { pids: 64, cpu: 1, memory: 64MiB, workspaceBytes: 64MiB, workspaceFiles: 5000, \
                    imageBytes: 64MiB }";
    let many_in_image = filler("/tmp", "for i in $(seq 14000); do : >file-$i; done");
    for (script, limit) in [
        (fork_bomb, None),
        (hog, None),
        (memory_bomb, None),
        (&filler(".", large), Some(LimitName::WorkspaceBytes)),
        (&filler(".", many), Some(LimitName::WorkspaceFiles)),
        (&filler("/tmp", large), Some(LimitName::ImageBytes)),
        (&many_in_image, Some(LimitName::ImageBytes)),
    ] {
        let bad = world.send(&world.limited(settings, &[script])).await;
        world.report(&bad, |what| matches!(what, What::StepStarted { .. })).await;
        let good = "i=0; while [ $i -lt 20 ]; do cat file >copy-$i; i=$((i+1)); done; head -c 20000000 /dev/zero | wc -c";
        let good = world.send(&world.scripts(&[good])).await;
        assert!(matches!(world.end(&good).await, What::Succeeded { .. }), "{script}");
        let end = world.end(&bad).await;
        match (&end, limit) {
            (What::Failed { failure, .. }, Some(name)) => {
                assert_eq!(failure.limit.as_ref().map(|limit| limit.name), Some(name), "{script}: {end:?}");
            }
            // The shell of a fork bomb may give up by itself when it cannot fork.
            (What::TimedOut { step: Some(1), .. } | What::Failed { .. }, None) => {}
            _ => panic!("{script}: {end:?}"),
        }
    }
    world.clean().await;
    world.close(runner).await;
}

/// Opens files without end in two processes, says how many each has open when it gets no more, and holds them.
const DESCRIPTORS: &str = "files=$(yes /dev/null | head -n 20000)
for n in 1 2; do
tail -q -f $files 2>said-$n & pid=$!
until grep -q 'Too many open files' said-$n; do kill -0 $pid || exit 9; sleep 0.1; done
ls /proc/$pid/fd | wc -l
done
echo full; wait";

#[tokio::test(flavor = "multi_thread")]
async fn descriptors_without_end_stay_the_matter_of_their_process() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let ticket = world.limited("stepTimeout: 20s", &[DESCRIPTORS]);
    let bad = world.send(&ticket).await;
    until_logged(&world, &bad, "full").await;
    let good = world.send(&world.scripts(&["tail -n 1 file sub/inner; cp file copy"])).await;
    assert!(matches!(world.end(&good).await, What::Succeeded { .. }));
    let What::TimedOut { step: Some(1), log, .. } = world.end(&bad).await else {
        panic!("{:?}", world.heard(&bad));
    };
    assert_eq!(world.said(&ticket, &log).await.0, "16384\n16384\nfull\n");
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_stops_itself_ends_at_its_limit() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    for script in ["kill -STOP $$; echo went on", "sleep 600 & kill -STOP -1; kill -STOP $$; echo went on"] {
        let ticket = world.limited("stepTimeout: 1s", &[script]);
        let attempt = world.send(&ticket).await;
        let What::TimedOut { step: Some(1), log, .. } = world.end(&attempt).await else {
            panic!("{script}: {:?}", world.heard(&attempt));
        };
        assert_eq!(world.said(&ticket, &log).await.0, "", "{script}");
    }
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_has_bounds_of_its_own() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let settings = "limits: { workspaceBytes: 2GiB, imageBytes: 1GiB }";
    let ticket = world.limited(settings, &["ulimit -n; ulimit -c; ulimit -f; df -k /dev/shm | tail -n 1"]);
    let attempt = world.send(&ticket).await;
    let What::Succeeded { log, .. } = world.end(&attempt).await else { panic!("it succeeds") };
    let (printed, _) = world.said(&ticket, &log).await;
    let lines: Vec<_> = printed.lines().collect();
    // The shell counts file sizes in blocks of 512 bytes.
    assert_eq!(&lines[..3], ["16384", "0", "4194304"], "{printed}");
    assert_eq!(lines[3].split_whitespace().nth(1), Some("65536"), "{printed}");
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_site_has_the_last_word_and_the_log_says_so() {
    let mut world = World::new().await;
    let mut config = world.config(1);
    config.max_limits.memory_bytes = Some(32 << 20);
    let runner = world.start(config).await;
    let ticket = world.limited("limits: { memory: 1GiB }", &["tail /dev/zero"]);
    let (failure, log) = world.failed(&ticket).await;
    assert_eq!(failure.limit, limit(LimitName::Memory, 32 << 20));
    let (_, said) = world.said(&ticket, &log).await;
    assert!(
        said.contains("limits.memory is 33554432 and not 1073741824: more is not allowed here"),
        "{said}"
    );
    world.close(runner).await;
}
