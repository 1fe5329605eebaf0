//! Logs: every byte that a step printed, once and in order.

use std::process::Stdio;

use crate::world::{Run, World, engine, script_definition, wait_for};

/// Runs a script and compares its log with what it must have printed; returns the job.
fn printed(world: &World, script: &str, expected: &[u8]) -> String {
    let all: Vec<u8> = (0..=255).collect();
    let repository = world.repository("talker").file("bytes", all).commit();
    let run = world.run_script(script, &[&repository]).expect(0);
    let job = only_job(&run);
    let log = world.bytes(&["job", "logs", &job]);
    assert_eq!(log.len(), expected.len(), "the length of the log");
    assert!(log == expected, "the bytes of the log");
    job
}

fn only_job(run: &Run) -> String {
    run.of_type("job.queued")[0]["aggregate"].as_str().unwrap().to_owned()
}

#[test]
fn a_million_lines() {
    let world = World::up();
    let expected: String = (1..=1_000_000).map(|n| format!("{n}\n")).collect();
    let job = printed(&world, "seq 1 1000000", expected.as_bytes());

    let tail = world.ok(&["job", "logs", "--from-line", "999999", &job]);
    assert_eq!(tail, "999999\n1000000\n", "from any line on");
    let middle = world.ok(&["job", "logs", "--from-line", "500000", &job]);
    assert!(middle.starts_with("500000\n500001\n"));
    world.end();
}

#[test]
fn one_line_of_five_megabytes_and_no_final_newline() {
    let world = World::up();
    let mut expected = vec![b'x'; 5 * 1024 * 1024];
    expected.extend_from_slice(b"\nthe end");
    let script = "head -c 5242880 /dev/zero | tr '\\0' x\nprintf '\\nthe end'";
    let job = printed(&world, script, &expected);
    assert_eq!(world.ok(&["job", "logs", "--from-line", "2", &job]), "the end");
    world.end();
}

#[test]
fn bytes_that_are_no_text() {
    let world = World::up();
    let expected: Vec<u8> = (0..=255u8).collect::<Vec<u8>>().repeat(100);
    let script = "n=0; while [ $n -lt 100 ]; do cat bytes; n=$((n + 1)); done";
    printed(&world, script, &expected);
    world.end();
}

#[test]
fn a_running_job_can_be_read_from_any_line_and_followed_to_its_end() {
    let world = World::up();
    let repository = world.repository("slow").file("a", "1\n").commit();
    // The step goes on when the test has read its first lines: it waits for a file in its own workspace.
    let script =
        "echo one; echo two; echo three >&2; while [ ! -e go ]; do sleep 0.1; done; rm go; echo four";
    let definition = world.definition("slow.batch.yaml", &script_definition("slow", script));
    let mut running = world.run_command(&definition, &[&repository]).stdout(Stdio::piped()).spawn().unwrap();
    let job = job_when(&mut running, "job.step_started");

    wait_for("the first lines", || world.ok(&["job", "logs", &job]).lines().count() == 3);
    let so_far = world.ok(&["job", "logs", &job]);
    let behind_the_first = so_far.split_once('\n').unwrap().1;
    assert_eq!(world.ok(&["job", "logs", "--from-line", "2", &job]), behind_the_first);
    let followed = world.command(&["job", "logs", "-f", &job]).stdout(Stdio::piped()).spawn().unwrap();
    engine::touch_in_container(&world.data(), "/work/go");

    let followed = followed.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&followed.stdout).into_owned();
    let mut lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.pop(), Some("four"), "{text}");
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"], "both streams, each line once");
    assert!(running.wait().unwrap().success());
    assert_eq!(world.ok(&["job", "logs", &job]), text, "the same after the end");
    world.end();
}

/// Reads the events of a run until one of a type comes; returns its job.
fn job_when(running: &mut std::process::Child, kind: &str) -> String {
    use std::io::BufRead as _;
    let stdout = running.stdout.as_mut().unwrap();
    let mut lines = std::io::BufReader::new(stdout).lines();
    loop {
        let line = lines.next().expect("the run ended").unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        if event["type"] == kind {
            return event["aggregate"].as_str().unwrap().to_owned();
        }
    }
}
