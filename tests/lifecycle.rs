//! Canceling and retrying: what is to stop stops with all that belongs to it, and what is tried again erases nothing.

use std::net::TcpListener;

use serde_json::Value;

use crate::world::git::Repository;
use crate::world::{Followed, Role, Run, World, engine, path_text, script_definition, wait_for};

/// Starts an execution of this script.
fn begin(world: &World, script: &str, repositories: &[&Repository]) -> Followed {
    let definition = world.definition("live.batch.yaml", &script_definition("live", script));
    Followed::begin(world.run_command(&definition, repositories))
}

fn repositories(world: &World, count: usize) -> Vec<Repository> {
    (0..count).map(|n| world.repository(&format!("repo-{n}")).file("a", "1\n").commit()).collect()
}

fn outcome(run: &Run) -> &str {
    run.of_type("execution.completed").last().unwrap()["data"]["outcome"].as_str().unwrap()
}

/// One repository whose job has succeeded, and the execution, whose other job runs on and on.
fn one_done_and_one_running(world: &World) -> (Repository, Followed) {
    let (quick, slow) = (
        world.repository("quick").file("a", "1\n").commit(),
        world.repository("slow").file("slow", "").commit(),
    );
    let mut live = begin(world, "echo 2 >a; test ! -e slow || sleep 600", &[&quick, &slow]);
    live.until(1, "job.succeeded").until(2, "job.step_started");
    (quick, live)
}

/// The processes of this machine whose command line holds a text.
fn processes(marker: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(marker)).count()
}

/// Waits until an execution has ended, and returns what is shown of it.
fn ended(world: &World, execution: &str) -> Value {
    let show = || world.documents(&["execution", "show", "--json", execution]).remove(0);
    wait_for("the execution's end", || !show()["completedAt"].is_null());
    show()
}

#[test]
fn what_waits_ends_at_once_and_what_runs_is_stopped() {
    let world = World::up_with(&["--slots", "2"]);
    let all = repositories(&world, 5);
    let mut live = begin(&world, "echo begun; sleep 600", &all.iter().collect::<Vec<_>>());
    live.until(2, "job.step_started");
    let id = live.execution();
    world.ok(&["execution", "cancel", &id]);
    world.ok(&["execution", "cancel", &id]);
    let run = live.end().expect(1);

    assert_eq!(outcome(&run), "canceled");
    assert_eq!(run.of_type("execution.cancel_requested").len(), 1, "twice is once");
    let ends = run.of_type("job.canceled");
    assert_eq!(ends.len(), 5, "{ends:?}");
    let stopped: Vec<_> = ends.iter().filter(|end| end["data"]["attempt"] == 1).collect();
    assert_eq!(stopped.len(), 2, "{ends:?}");
    for end in stopped {
        let log = world.ok(&["job", "logs", end["aggregate"].as_str().unwrap()]);
        assert!(log.starts_with("begun\n") && log.contains("was canceled"), "{log}");
        assert_eq!(end["data"]["log"]["bytes"], log.len(), "the log is complete");
    }
    assert!(world.refused(&["execution", "cancel", &id]).contains("already-ended"));
    assert!(run.of_type("plan.created").is_empty(), "nobody asked for one");

    let plan = world.ok(&["plan", "create", &id]).trim().to_owned();
    let shown = world.documents(&["plan", "show", "--json", &plan]).remove(0);
    assert_eq!(shown["missing"].as_array().unwrap().len(), 5, "{shown:#}");
    assert_eq!(world.ok(&["plan", "create", &id]).trim(), plan, "there is one that covers it");
    world.ok(&["projection", "verify"]);
    world.end();
}

#[test]
fn a_canceled_execution_is_planned_from_the_patches_that_it_has() {
    let world = World::up_with(&["--slots", "2"]);
    let (quick, live) = one_done_and_one_running(&world);
    let id = live.execution();
    world.ok(&["execution", "cancel", &id]);
    let run = live.end().expect(1);
    assert_eq!(outcome(&run), "canceled");
    let plan = world.ok(&["plan", "create", &id]).trim().to_owned();
    let patch = world.export(&plan).remove("quick").expect("the patch that was there");
    quick.apply(&patch);
    world.end();
}

#[test]
fn a_step_that_ignores_the_signal_is_killed_with_all_its_children() {
    let world = World::up_with(&["--grace", "1s"]);
    let repository = world.repository("stubborn").file("a", "1\n").commit();
    let marker = format!("600.{}", std::process::id());
    let script = format!(
        "trap '' TERM\nsetsid sh -c 'trap \"\" TERM; sleep {marker}' &\n(setsid sh -c 'sleep {marker}; sleep {marker}' &) &\n\
         echo begun\nsleep {marker}; sleep {marker}"
    );
    let mut live = begin(&world, &script, &[&repository]);
    live.until(1, "job.step_started");
    wait_for("the step's children", || processes(&marker) >= 3);
    world.ok(&["execution", "cancel", &live.execution()]);
    let run = live.end().expect(1);
    assert_eq!(outcome(&run), "canceled");
    assert_eq!(processes(&marker), 0, "all are gone");
    world.end();
}

#[test]
fn one_job_is_canceled_and_the_others_go_on() {
    let world = World::up_with(&["--slots", "2"]);
    let (_, live) = one_done_and_one_running(&world);
    let ended =
        live.events.iter().find(|event| event["type"] == "job.succeeded").unwrap()["aggregate"].clone();
    let running = live.events.iter().filter(|event| event["type"] == "job.queued");
    let running = running.map(|event| event["aggregate"].clone()).find(|job| *job != ended).unwrap();
    world.ok(&["job", "cancel", running.as_str().unwrap()]);
    assert!(world.refused(&["job", "cancel", ended.as_str().unwrap()]).contains("already-ended"));
    let run = live.end().expect(2);
    assert_eq!(outcome(&run), "partially_failed", "the execution was not canceled");
    assert_eq!(run.of_type("job.canceled")[0]["aggregate"], running);
    world.end();
}

#[test]
fn an_execution_is_canceled_while_it_is_being_resolved() {
    let world = World::up();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://127.0.0.1:{}/nothing.git", silent.local_addr().unwrap().port());
    let definition = world.definition("live.batch.yaml", &script_definition("live", "true"));
    let mut live =
        Followed::begin(world.command(&["run", "--json", &path_text(&definition), "--repo", &url]));
    live.until(1, "execution.requested");
    // Held open: a connection that is closed is an answer.
    let _asked = silent.accept().expect("the catalog asks");
    let id = live.execution();
    world.ok(&["execution", "cancel", &id]);
    let run = live.end().expect(1);
    assert_eq!(outcome(&run), "canceled");
    assert!(world.refused(&["execution", "retry", &id]).contains("nothing-to-retry"));
    world.end();
}

#[test]
fn a_cancel_while_the_scheduler_is_dead_comes_right() {
    let mut world = World::apart();
    let all = repositories(&world, 4);
    let mut live = begin(&world, "echo begun; sleep 600", &all.iter().collect::<Vec<_>>());
    live.until(1, "job.step_started");
    world.process(Role::Scheduler).kill();
    world.ok(&["execution", "cancel", &live.execution()]);
    world.process(Role::Scheduler).restart();
    let run = live.end().expect(1);
    assert_eq!((outcome(&run), run.of_type("job.canceled").len()), ("canceled", 4));
    world.end();
}

#[test]
fn a_canceled_job_whose_runner_is_lost_is_not_given_out_again() {
    let mut world = World::apart();
    let repository = world.repository("lost").file("a", "1\n").commit();
    let mut live = begin(&world, "echo begun; sleep 600", &[&repository]);
    live.until(1, "job.step_started");
    world.process(Role::Runner).kill();
    world.ok(&["execution", "cancel", &live.execution()]);
    let run = live.end().expect(1);
    assert_eq!(outcome(&run), "canceled");
    assert_eq!(run.of_type("job.assigned").len(), 1);
    assert_eq!(run.of_type("job.lost").len(), 0, "it ends with the loss");
    assert_eq!(run.of_type("job.canceled")[0]["data"]["attempt"], 1);
    world.process(Role::Runner).restart();
    wait_for("the container's end", || engine::containers_over(&world.data()).is_empty());
    world.end();
}

/// Fails in a repository with a file `broken` the first time, and only then.
const FAILS_ONCE: &str = "if [ -e broken ] && ! [ -e /kept/tried ]; then touch /kept/tried; echo first; exit 3; fi; echo then; echo 2 >a";

/// Runs a script that finds `/kept` as its last attempt left it.
fn run_with(world: &World, script: &str, repositories: &[&Repository], code: i32) -> Run {
    let step = serde_json::json!({
        "type": "docker", "image": engine::IMAGE, "cacheDirs": ["/kept"], "args": ["sh", "-c", script],
    });
    let action = serde_json::json!({ "scopeQuery": "repo:x", "steps": [step] });
    let definition = world.definition("action.json", &action.to_string());
    let mut arguments = vec!["run".to_owned(), "--json".to_owned(), path_text(&definition)];
    for repository in repositories {
        arguments.extend(["--repo".to_owned(), path_text(&repository.path)]);
    }
    let given = ["--name", "once", "--branch", "once", "--title", "Once", "--message", "Once"];
    arguments.extend(given.map(str::to_owned));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Run::of(world.patchwave(&arguments)).expect(code)
}

fn run_once(world: &World, repositories: &[&Repository], code: i32) -> Run {
    run_with(world, FAILS_ONCE, repositories, code)
}

#[test]
fn a_retry_erases_nothing() {
    let world = World::up();
    let good = world.repository("good").file("a", "1\n").commit();
    let bad = world.repository("bad").file("broken", "").commit();
    let run = run_once(&world, &[&good, &bad], 2);
    let (id, first) = (run.execution(), run.plan());
    let failed = run.of_type("job.failed")[0];
    assert_eq!(failed["data"]["origin"], "job", "a step's own exit");
    assert_eq!(run.of_type("job.assigned").len(), 2, "and it was not tried again by itself");
    let job = failed["aggregate"].as_str().unwrap();
    let before = world.documents(&["job", "show", "--json", job]).remove(0);
    assert_eq!(before["failure"]["origin"], "JOB");

    world.ok(&["execution", "retry", &id]);
    let shown = ended(&world, &id);
    assert_eq!(
        (shown["state"].as_str(), shown["retries"].as_u64()),
        (Some("SUCCEEDED"), Some(1)),
        "{shown:#}"
    );
    let plan = world.ok(&["plan", "create", &id]).trim().to_owned();
    let after = world.documents(&["job", "show", "--json", job]).remove(0);
    assert_eq!((after["state"].as_str(), after["attempt"].as_u64()), (Some("SUCCEEDED"), Some(2)));
    assert_eq!(after["attempts"].as_array().unwrap().len(), 2);
    for field in [
        "number",
        "runner",
        "state",
        "reason",
        "failureOrigin",
        "assignedAt",
        "startedAt",
        "endedAt",
        "steps",
    ] {
        assert_eq!(after["attempts"][0][field], before["attempts"][0][field], "{field} of the first attempt");
    }
    assert_eq!(world.ok(&["job", "logs", job, "--attempt", "1"]), "first\nstep 1 ended with exit code 3\n");
    assert_eq!(world.ok(&["job", "logs", job]), "then\n");

    let old = world.documents(&["plan", "show", "--json", &first]).remove(0);
    assert_eq!(
        (old["state"].as_str(), old["supersededBy"].as_str()),
        (Some("SUPERSEDED"), Some(plan.as_str()))
    );
    assert_eq!(world.export(&first).len(), 1, "the old plan stays readable");
    assert_eq!(world.export(&plan).len(), 2);
    assert!(world.refused(&["execution", "retry", &id]).contains("nothing-to-retry"));

    let of_first = world.refused(&["job", "patch", job, "--attempt", "1"]);
    assert!(of_first.contains("attempt 1") && of_first.contains("has no patch: it is failed"), "{of_first}");
    let of_third = world.refused(&["job", "patch", job, "--attempt", "3"]);
    assert!(of_third.contains("not-found") && of_third.contains("has no attempt 3"), "{of_third}");
    world.ok(&["projection", "verify"]);
    world.end();
}

#[test]
fn each_attempt_keeps_its_patch() {
    let world = World::up();
    let repository = world.repository("bytes").file("a", "1\n").commit();
    // Each attempt changes the same file to other bytes, text in none of them.
    let script = "test -e /kept/tried && printf '\\000then\\377' >a || printf '\\000first\\377\\r' >a; touch /kept/tried";
    let run = run_with(&world, script, &[&repository], 0);
    let id = run.execution();
    let job = run.of_type("job.queued")[0]["aggregate"].as_str().unwrap();
    let patch = |attempt: &[&str]| world.bytes(&[&["job", "patch", job], attempt].concat());
    let first = patch(&[]);
    let exported = std::fs::read(&world.export(&run.plan())["bytes"]).unwrap();
    assert_eq!(first, exported, "it is what the plan has");

    world.ok(&["job", "retry", job]);
    assert_eq!(ended(&world, &id)["state"], "SUCCEEDED");
    assert_eq!(patch(&["--attempt", "1"]), first, "byte for byte what it was");
    let second = patch(&["--attempt", "2"]);
    assert!(second != first && second == patch(&[]), "the newest has another");
    let file = world.folder().join("first.patch");
    std::fs::write(&file, &first).unwrap();
    repository.apply(&file);
    assert_eq!(std::fs::read(repository.path.join("a")).unwrap(), b"\0first\xff\r");
    world.end();
}

#[test]
fn one_job_and_everything_can_be_tried_again() {
    let world = World::up();
    let (one, two) = (
        world.repository("one").file("a", "1\n").commit(),
        world.repository("two").file("a", "1\n").commit(),
    );
    let run = run_once(&world, &[&one, &two], 0);
    let (id, job) = (run.execution(), run.of_type("job.queued")[0]["aggregate"].as_str().unwrap());
    world.ok(&["job", "retry", job]);
    let shown = ended(&world, &id);
    let attempts = |shown: &Value| {
        let jobs = shown["jobs"].as_array().unwrap();
        let mut attempts: Vec<u64> = jobs.iter().map(|job| job["attempt"].as_u64().unwrap()).collect();
        attempts.sort_unstable();
        attempts
    };
    assert_eq!(attempts(&shown), [1, 2], "{shown:#}");
    world.ok(&["execution", "retry", "--all", &id]);
    let shown = ended(&world, &id);
    assert_eq!(attempts(&shown), [2, 3], "{shown:#}");
    assert_eq!(shown["state"], "SUCCEEDED");
    world.ok(&["plan", "create", &id]);
    world.end();
}

#[test]
fn what_is_not_the_jobs_doing_is_tried_again_with_pauses_and_then_says_so() {
    let world = World::up();
    let repository = world.repository("away").file("a", "1\n").commit();
    let text = script_definition("away", "true").replace(engine::IMAGE, "127.0.0.1:9/nothing:1");
    let run = world.run(&world.definition("away.batch.yaml", &text), &[&repository]).expect(1);
    let losses = run.of_type("job.lost");
    assert_eq!(losses.len(), 2, "{losses:?}");
    let time = |event: &Value| event["time"].as_str().unwrap().parse::<events::Timestamp>().unwrap();
    for (loss, assigned) in losses.iter().zip(&run.of_type("job.assigned")[1..]) {
        assert_eq!(loss["data"]["cause"], "infrastructure");
        let retry_at = loss["data"]["retry_at"].as_str().unwrap().parse::<events::Timestamp>().unwrap();
        assert!(retry_at > time(loss) && time(assigned) >= retry_at, "{loss} {assigned}");
    }
    let failed = &run.of_type("job.failed")[0]["data"];
    assert_eq!((failed["origin"].as_str(), failed["attempt"].as_u64()), (Some("infrastructure"), Some(3)));
    assert_eq!(failed["failure"]["kind"], "infrastructure");
    let job = run.of_type("job.failed")[0]["aggregate"].as_str().unwrap();
    let shown = world.documents(&["job", "show", "--json", job]).remove(0);
    assert_eq!(shown["failure"]["origin"], "INFRASTRUCTURE");
    assert_eq!(shown["attempts"][0]["lossCause"], "INFRASTRUCTURE");
    world.end();
}
