//! Jobs from ticket to end.

use events::action::{Definition, Given};
use events::job::FailureKind;
use events::log::Stream;
use events::report::What;

use super::world::{IMAGE, World, runner_id, stream};
use crate::fixture::{git, shown};

fn names(reports: &[events::report::Report]) -> Vec<String> {
    reports
        .iter()
        .map(|report| match &report.what {
            What::StepStarted { step } => format!("step {step}"),
            What::StepFinished { step, exit_code, .. } => format!("step {step}: {exit_code}"),
            What::Started => "started".to_owned(),
            What::Images { images } => format!("images: {}", images.len()),
            What::StepSkipped { step } => format!("step {step}: skipped"),
            What::Reused { step, .. } => format!("step {step}: reused"),
            What::Succeeded { .. } => "succeeded".to_owned(),
            What::Failed { .. } => "failed".to_owned(),
            What::TimedOut { .. } => "timed out".to_owned(),
            What::Canceled { .. } => "canceled".to_owned(),
            What::Abandoned { .. } => "abandoned".to_owned(),
            What::Returned { .. } => "returned".to_owned(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_becomes_reports_a_log_and_a_patch() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let scripts = ["echo one; echo two >&2; printf three", "echo changed >file; cat file; mkfifo pipe"];
    let attempt = world.send(&world.scripts(&scripts)).await;

    let What::Succeeded { patch, diff_stat, log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };

    assert_eq!(
        names(world.heard(&attempt)),
        ["started", "images: 1", "step 1", "step 1: 0", "step 2", "step 2: 0", "succeeded"]
    );
    let numbers: Vec<u32> = world.heard(&attempt).iter().map(|report| report.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    let patch = world.reader.get_blob(&patch.unwrap()).await.unwrap();
    assert!(shown(&patch).contains("-as it was\n+changed\n"), "{}", shown(&patch));
    assert_eq!((diff_stat.files, diff_stat.insertions, diff_stat.deletions), (1, 1, 1));
    let chunks = world.log(&attempt, &log).await;
    assert_eq!(stream(&chunks, Stream::Stdout), "one\nthreechanged\n");
    assert_eq!(stream(&chunks, Stream::Stderr), "two\n");
    assert_eq!(
        stream(&chunks, Stream::Runner),
        "left out of the patch: pipe: git cannot hold a named pipe\n"
    );
    let of_step = |step| {
        stream(&chunks.iter().filter(|chunk| chunk.step == step).cloned().collect::<Vec<_>>(), Stream::Stdout)
    };
    assert_eq!((of_step(1), of_step(2)), ("one\nthree".to_owned(), "changed\n".to_owned()));
    world.beat(|beat| beat.running.is_empty() && beat.slots == 1 && beat.trouble.is_none()).await;
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_know_what_earlier_ones_did() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let ticket = world.ticket(&format!(
        r#"- container: {IMAGE}
  run: printf 'found it'; echo new >added; rm file
- container: {IMAGE}
  run: |
    echo "${{{{ previous_step.stdout }}}} ${{{{ join previous_step.added_files "," }}}} ${{{{ join steps.deleted_files "," }}}}"
- container: {IMAGE}
  run: cat /config/who; echo "$BRANCH"
  env:
    BRANCH: ${{{{ repository.branch }}}}
  files:
    /config/who: ${{{{ repository.name }}}},
"#
    ));
    let attempt = world.send(&ticket).await;
    let What::Succeeded { log, patch, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    let chunks = world.log(&attempt, &log).await;
    let said = "found itfound it added file\nexample.org/fixture,main\n";
    assert_eq!(stream(&chunks, Stream::Stdout), said);
    assert_eq!(stream(&chunks, Stream::Runner), "");
    let patch = world.reader.get_blob(&patch.unwrap()).await.unwrap();
    let file = world.fixture.dir.path().join("patch");
    std::fs::write(&file, patch).unwrap();
    git(&world.fixture.dir.path().join("origin"), &["apply", "--index", file.to_str().unwrap()]);
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_hand_on_outputs_and_run_if_they_are_to() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let ticket = world.ticket(&format!(
        r#"- container: {IMAGE}
  run: touch never
  if: ${{{{ eq repository.name "another" }}}}
- container: {IMAGE}
  run: |
    echo '{{"name": "site", "parts": ["a", "b"]}}'
    echo 1.2 >&2
    touch added
  outputs:
    project: {{ value: "${{{{ step.stdout }}}}", format: json }}
    version: {{ value: "${{{{ step.stderr }}}}" }}
    files: {{ value: "${{{{ join step.added_files \" \" }}}}" }}
- container: {IMAGE}
  run: touch not-this-time
  if: ${{{{ eq outputs.project.name "another" }}}}
- container: {IMAGE}
  run: echo "$SAID ${{{{ index outputs.project.parts 1 }}}} ${{{{ outputs.files }}}} ${{{{ previous_step.stderr }}}}"
  if: ${{{{ eq outputs.project.name "site" }}}}
  env:
    SAID: ${{{{ outputs.project.name }}}}
- container: {IMAGE}
  run: touch last
  if: false
"#
    ));
    let attempt = world.send(&ticket).await;
    let What::Succeeded { log, patch, outputs, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    assert_eq!(
        names(world.heard(&attempt)),
        [
            "started",
            "images: 1",
            "step 1: skipped",
            "step 2",
            "step 2: 0",
            "step 3: skipped",
            "step 4",
            "step 4: 0",
            "step 5: skipped",
            "succeeded"
        ]
    );
    let project = serde_json::json!({ "name": "site", "parts": ["a", "b"] });
    assert_eq!(outputs["project"], project);
    assert_eq!((&outputs["version"], &outputs["files"]), (&"1.2\n".into(), &"added".into()));
    let chunks = world.log(&attempt, &log).await;
    let said: Vec<String> = stream(&chunks, Stream::Stdout).lines().skip(1).map(str::to_owned).collect();
    assert_eq!(said, ["site b added 1.2", ""]);
    assert!(stream(&chunks, Stream::Runner).contains("step 3 is skipped"));
    let patch = world.reader.get_blob(&patch.unwrap()).await.unwrap();
    assert!(shown(&patch).contains("b/added") && !shown(&patch).contains("never"), "{}", shown(&patch));
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_which_no_step_runs_starts_no_container() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let ticket = world.ticket(
        "- container: there-is-no-such-image\n  run: x\n  if: ${{ eq previous_step.stdout \"x\" }}\n",
    );
    let attempt = world.send(&ticket).await;
    assert!(
        matches!(world.end(&attempt).await, What::Succeeded { patch: None, .. }),
        "{:?}",
        world.heard(&attempt)
    );
    assert_eq!(names(world.heard(&attempt)), ["started", "step 1: skipped", "succeeded"]);
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_cannot_be_read_fails_the_step() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let steps = format!(
        "- container: {IMAGE}\n  run: echo '{{'\n  outputs:\n    x: {{ value: \"${{{{ step.stdout }}}}\", format: json }}\n"
    );
    let attempt = world.send(&world.ticket(&steps)).await;
    let What::Failed { failure, .. } = world.end(&attempt).await else { panic!("it cannot be read") };
    assert_eq!((failure.kind, failure.step), (FailureKind::Template, Some(1)));
    assert!(failure.message.contains("the output `x` is not JSON"), "{}", failure.message);
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_work_in_the_workspaces_folder() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let mut ticket = world.scripts(&["pwd; cat inner; echo x >new"]);
    ticket.workspace.path = "sub".to_owned();
    let attempt = world.send(&ticket).await;
    let What::Succeeded { log, patch, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    assert_eq!(stream(&world.log(&attempt, &log).await, Stream::Stdout), "/work/sub\ninside\n");
    let patch = world.reader.get_blob(&patch.unwrap()).await.unwrap();
    assert!(shown(&patch).contains("+++ b/sub/new"), "the patch is of the whole tree: {}", shown(&patch));
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_action_keeps_its_cache_from_job_to_job() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let mut said = Vec::new();
    for _ in 0..2 {
        let mut ticket = world.scripts(&["true"]);
        let script = "echo x >>/kept/n; cat /kept/n; echo $WHO";
        ticket.definition = Definition {
            file_name: "action.json".to_owned(),
            source: format!(
                r#"{{"scopeQuery": "repo:x", "steps": [{{"type": "docker", "image": "{IMAGE}",
                "cacheDirs": ["/kept"], "args": ["sh", "-c", "{script}"]}}]}}"#
            ),
            given: Given {
                name: Some("old".to_owned()),
                branch: Some("old".to_owned()),
                title: Some("Old".to_owned()),
                body: Some("Old".to_owned()),
                message: Some("Old".to_owned()),
            },
            files: None,
        };
        let attempt = world.send(&ticket).await;
        let What::Succeeded { log, patch, .. } = world.end(&attempt).await else {
            panic!("{:?}", world.heard(&attempt));
        };
        assert_eq!(patch, None, "what is kept is no part of the patch");
        said.push(stream(&world.log(&attempt, &log).await, Stream::Stdout));
    }
    assert_eq!(said, ["x\n\n", "x\nx\n\n"]);
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_ends_the_job_with_what_to_do() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let attempt = world.send(&world.scripts(&["printf before; exit 3", "echo never"])).await;
    let What::Failed { failure, log, .. } = world.end(&attempt).await else { panic!("it fails") };
    assert_eq!((failure.kind, failure.step, failure.exit_code), (FailureKind::StepExit, Some(1), Some(3)));
    assert!(!failure.hint.is_empty());
    let chunks = world.log(&attempt, &log).await;
    assert_eq!(stream(&chunks, Stream::Stdout), "before");
    assert_eq!(stream(&chunks, Stream::Runner), "\nstep 1 ended with exit code 3\n");
    assert_eq!(names(world.heard(&attempt)), ["started", "images: 1", "step 1", "step 1: 3", "failed"]);
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_fails_with_its_kind() {
    let mut world = World::new().await;
    let runner = world.start(world.config(2)).await;
    let mut unreadable = world.scripts(&["true"]);
    unreadable.definition.source = "name: [".to_owned();
    let template = world.ticket(&format!(
        "- container: {IMAGE}\n  run: head -c 1100000 /dev/zero | tr '\\0' x\n- container: {IMAGE}\n  run: echo ${{{{ previous_step.stdout }}}}\n"
    ));
    for (ticket, kind, step) in
        [(unreadable, FailureKind::Template, None), (template, FailureKind::Template, Some(2))]
    {
        let attempt = world.send(&ticket).await;
        let What::Failed { failure, .. } = world.end(&attempt).await else { panic!("it fails") };
        assert_eq!((failure.kind, failure.step), (kind, step), "{failure:?}");
        assert!(!failure.hint.is_empty());
    }
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_ends_everything_and_keeps_the_log() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let mut ticket = world.scripts(&["trap '' TERM; echo before; sleep 600 & wait; sleep 600"]);
    ticket.timeout_ms = 3_000;
    let attempt = world.send(&ticket).await;
    let What::TimedOut { limit_ms, step: None, log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    assert_eq!(limit_ms, 3_000);
    let chunks = world.log(&attempt, &log).await;
    assert_eq!(stream(&chunks, Stream::Stdout), "before\n");
    assert!(stream(&chunks, Stream::Runner).contains("the job reached its time limit of 3 s"));
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_taken_away_stops_in_silence() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let attempt = world.send(&world.scripts(&["sleep 600"])).await;
    world.report(&attempt, |what| matches!(what, What::StepStarted { .. })).await;
    world.beat(|beat| beat.running == [attempt.clone()]).await;
    let control = events::ticket::Control::Abandon { job: attempt.job, attempt: attempt.attempt };
    world.scheduler.put_control(&runner_id(), &control).await.unwrap();
    // The only slot is free again, and what comes after it was sent after all that the first had to say.
    let next = world.send(&world.scripts(&["true"])).await;
    world.end(&next).await;
    assert_eq!(names(world.heard(&attempt)), ["started", "images: 1", "step 1"]);
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_tickets_are_taken_than_there_are_slots() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let first = world.send(&world.scripts(&["sleep 2"])).await;
    let second = world.send(&world.scripts(&["true"])).await;
    world.report(&first, |what| matches!(what, What::StepStarted { .. })).await;
    world.beat(|beat| beat.running == [first.clone()]).await;
    world.end(&first).await;
    world.end(&second).await;
    let (first, second) = (world.heard(&first).last().unwrap().time, world.heard(&second)[0].time);
    assert!(second >= first);
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_without_an_engine_says_so_and_takes_nothing() {
    let world = World::new().await;
    let mut config = world.config(3);
    config.docker_host = Some("unix:///nowhere/docker.sock".to_owned());
    let runner = world.start(config).await;
    world
        .beat(|beat| {
            beat.slots == 0 && beat.trouble.as_ref().is_some_and(|trouble| trouble.contains("/nowhere"))
        })
        .await;
    world.close(runner).await;
}
