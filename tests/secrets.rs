//! Secrets: what a user can trust them to be.

use std::io::Write as _;
use std::process::{Output, Stdio};

use crate::world::{Role, Run, World, engine, git, path_text};

/// A definition with one step that lists the secret TOKEN.
fn definition(name: &str, script: &str) -> String {
    let image = engine::IMAGE;
    let script: String = script.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "name: {name}\nsteps:\n  - container: {image}\n    env: [TOKEN, {{ LEVEL: high }}]\n    run: |\n{script}\
         changesetTemplate: {{ title: T, branch: change/{name}, commit: {{ message: M }} }}\n"
    )
}

/// Sets a secret as a script would: from the standard input.
fn set(world: &World, arguments: &[&str], value: &str) -> Output {
    let arguments = [&["secret", "set"], arguments].concat();
    let mut command = world.command(&arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The log of the one job of an execution, and the job.
fn job(world: &World, run: &Run) -> (String, serde_json::Value) {
    let id = run.of_type("job.queued")[0]["aggregate"].as_str().unwrap().to_owned();
    let job = world.documents(&["job", "show", "--json", &id]).remove(0);
    (world.ok(&["job", "logs", &id]), job)
}

fn repository(world: &World) -> git::Repository {
    world.repository("one").file("a", "1\n").commit()
}

#[test]
fn a_step_uses_a_secret_that_nobody_sees() {
    let world = World::up();
    let one = repository(&world);
    let script = "test ${#TOKEN} = 10 || exit 7\necho \"it is $TOKEN\"\necho $TOKEN | base64\necho 2 >a";
    let file = world.definition("use.batch.yaml", &definition("use", script));
    let refused = world.run(&file, &[&one]).expect(1);
    for part in ["secret-not-set", "`TOKEN`", "patchwave secret set TOKEN"] {
        assert!(refused.errors.contains(part), "{}", refused.errors);
    }

    assert_eq!(said(&set(&world, &["TOKEN"], "hunter2222\n")), "set TOKEN for every action, version 1\n");
    let run = world.run(&file, &[&one]).expect(0);
    let (log, shown) = job(&world, &run);
    assert!(
        log.contains("it is ***") && !log.contains("hunter2222") && !log.contains("aHVudGVyMjIyMg"),
        "{log}"
    );
    let used = &shown["attempts"][0]["secrets"];
    assert_eq!((&used[0]["name"], &used[0]["version"]), (&"TOKEN".into(), &1.into()), "{shown:#}");
    assert!(!world.ok(&["events", "show", "--json"]).contains("hunter2222"));

    let listed = world.documents(&["secret", "list", "--json"]);
    assert_eq!((listed.len(), &listed[0]["name"], &listed[0]["version"]), (1, &"TOKEN".into(), &1.into()));
    assert!(world.ok(&["secret", "list"]).contains("every action"));
    said(&world.patchwave(&["secret", "delete", "TOKEN"]));
    assert_eq!(world.ok(&["secret", "list", "--json"]), "");
    assert!(world.run(&file, &[&one]).expect(1).errors.contains("secret-not-set"));
    world.end();
}

#[test]
fn the_narrower_scope_wins_and_a_new_value_is_a_new_version() {
    let world = World::up();
    let one = repository(&world);
    let script =
        "case $TOKEN in of-all-1) echo all >a;; of-own-1) echo own >a;; of-own-2) echo new >a;; esac";
    let file = world.definition("own.batch.yaml", &definition("own", script));
    said(&set(&world, &["TOKEN"], "of-all-1"));
    let changed = |world: &World| {
        let run = world.run(&file, &[&one]).expect(0);
        let used = job(world, &run).1["attempts"][0]["secrets"][0].clone();
        (world.ok(&["plan", "diff", &run.plan()]), used["version"].clone(), used["actionId"].is_string())
    };
    let (diff, version, own) = changed(&world);
    assert!(diff.contains("+all") && version == 1 && !own, "{diff}");

    assert_eq!(
        said(&set(&world, &["TOKEN", "--action", "own"], "of-own-1")),
        "set TOKEN for action own, version 1\n"
    );
    let (diff, version, own) = changed(&world);
    assert!(diff.contains("+own") && version == 1 && own, "{diff}");

    let value = world.definition("value", "of-own-2");
    let value = path_text(&value);
    said(&world.patchwave(&["secret", "set", "TOKEN", "--action", "own", "--from-file", &value]));
    let (diff, version, own) = changed(&world);
    assert!(diff.contains("+new") && version == 2 && own, "{diff}");

    said(&world.patchwave(&["secret", "delete", "TOKEN", "--action", "own"]));
    assert!(changed(&world).0.contains("+all"));
    world.end();
}

#[test]
fn a_patch_with_a_secret_fails_the_job() {
    let world = World::up();
    let one = repository(&world);
    said(&set(&world, &["TOKEN"], "hunter2222"));
    let file = world.definition("leak.batch.yaml", &definition("leak", "echo \"token=$TOKEN\" >settings"));
    let run = world.run(&file, &[&one]).expect(1);
    let (log, shown) = job(&world, &run);
    let failure = &shown["failure"];
    assert_eq!(failure["kind"], "secret", "{shown:#}");
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains("`TOKEN`") && message.contains("settings") && !message.contains("hunter2222"),
        "{message}"
    );
    assert!(log.contains(message) && shown["hasPatch"] == false, "{log}");
    world.end();
}

#[test]
fn a_secret_whose_key_is_gone_fails_the_job_and_can_be_set_again() {
    let mut world = World::apart();
    let one = repository(&world);
    let file = world.definition("gone.batch.yaml", &definition("gone", "echo 2 >a"));
    said(&set(&world, &["TOKEN"], "hunter2222"));
    world.run(&file, &[&one]).expect(0);
    world.expect_error("a secret cannot be opened");
    let key = world.data().join("secrets.key");
    std::fs::remove_file(&key).unwrap();
    world.process(Role::Scheduler).restart();
    let run = world.run(&file, &[&one]).expect(1);
    let (log, shown) = job(&world, &run);
    assert_eq!(shown["failure"]["kind"], "secret", "{shown:#}");
    assert!(log.contains("the key that it was sealed to is gone"), "{log}");
    said(&set(&world, &["TOKEN"], "hunter3333"));
    world.run(&file, &[&one]).expect(0);
    world.end();
}
