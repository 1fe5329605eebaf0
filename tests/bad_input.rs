//! Bad input and bad weather: a clear error that says what to do, and nothing is lost.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::{Process, Role, World, engine, free_port, path_text, script_definition, wait_for};

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

#[test]
fn a_repository_that_cannot_be_had_is_named_and_the_others_go_on() {
    let world = World::up();
    let good = world.repository("good").file("a", "1\n").commit();
    let empty = world.repository("empty");
    let away = format!("http://127.0.0.1:{}/away.git", free_port());
    let definition = world.definition("a.batch.yaml", &script_definition("a", "echo 2 >a"));

    let mut command = world.run_command(&definition, &[&good, &empty]);
    let run = crate::world::Run::of(command.args(["--repo", &away]).output().unwrap()).expect(2);

    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);
    assert_eq!(plan["changesets"], 1);
    let missing = plan["missing"].to_string();
    says(&missing, &["away", "127.0.0.1"]);
    says(&plan["unchanged"].to_string(), &["empty", "no commits"]);
    let execution = world.documents(&["execution", "show", "--json", &run.execution()]).remove(0);
    assert_eq!(execution["counts"]["unreachable"], 1);
    world.end();
}

/// The repositories of a list that a command shows, and that each stands in what it prints for people.
fn listed(list: &Value, printed: &str) -> BTreeSet<String> {
    let names = list.as_array().unwrap().iter().map(|one| one["repository"].as_str().unwrap().to_owned());
    let names: Vec<String> = names.collect();
    for name in &names {
        assert!(printed.contains(name.as_str()), "{name} is not in:\n{printed}");
    }
    let found: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(found.len(), names.len(), "none comes twice");
    found
}

#[test]
fn lists_of_what_is_left_out_are_shown_whole_however_long() {
    let world = World::up();
    let good = world.repository("good").file("a", "1\n").commit();
    let empty: Vec<_> = (0..105).map(|number| world.repository(&format!("empty-{number:03}"))).collect();
    let definition = world.definition("a.batch.yaml", &script_definition("a", "echo 2 >a"));
    let mut command =
        world.run_command(&definition, &[&[&good][..], &empty.iter().collect::<Vec<_>>()].concat());
    let port = free_port();
    for number in 0..110 {
        command.arg("--repo").arg(format!("http://127.0.0.1:{port}/away-{number:03}.git"));
    }
    let run = crate::world::Run::of(command.output().unwrap()).expect(2);

    let (execution, plan) = (run.execution(), run.plan());
    let shown = world.documents(&["execution", "show", "--json", &execution]).remove(0);
    assert_eq!((&shown["counts"]["skipped"], &shown["counts"]["unreachable"]), (&json!(105), &json!(110)));
    let printed = world.ok(&["execution", "show", &execution]);
    assert_eq!(listed(&shown["skipped"], &printed).len(), 215);
    let shown = world.documents(&["plan", "show", "--json", &plan]).remove(0);
    let printed = world.ok(&["plan", "show", &plan]);
    let [missing, unchanged] = ["missing", "unchanged"].map(|list| listed(&shown[list], &printed));
    assert_eq!((missing.len(), unchanged.len()), (110, 105));
    assert!(missing.is_disjoint(&unchanged));
    world.end();
}

#[test]
fn a_path_that_is_no_repository_is_refused_before_anything_runs() {
    let world = World::up();
    let definition = path_text(&world.definition("a.batch.yaml", &script_definition("a", "true")));
    let nowhere = path_text(&world.folder().join("nowhere"));
    let folder = path_text(world.folder());
    says(&world.refused(&["run", &definition, "--repo", &nowhere]), &[&nowhere, "hint"]);
    says(&world.refused(&["run", &definition, "--repo", &folder]), &["git repository", "hint"]);
    says(&world.refused(&["run", &definition]), &["--repo"]);
    assert!(world.documents(&["execution", "list", "--json"]).is_empty());
    world.end();
}

/// A registry of images that has none, and the port where it answers for as long as the tests run.
fn empty_registry() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = std::io::BufReader::new(&stream).lines().map_while(Result::ok);
            let request: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            let is_hello = request.first().is_some_and(|line| line.starts_with("GET /v2/ "));
            let (status, body) = if is_hello {
                ("200 OK", "{}")
            } else {
                ("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#)
            };
            let head = "Content-Type: application/json\r\nConnection: close";
            // Whoever hung up does not want to know.
            let _ =
                write!(stream, "HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    port
}

#[test]
fn an_image_that_does_not_exist_fails_the_job_with_a_hint() {
    let world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    let image = format!("localhost:{}/no/such:image", empty_registry());
    let text = script_definition("a", "true").replace(engine::IMAGE, &image);
    let run = world.run(&world.definition("a.batch.yaml", &text), &[&repository]).expect(1);
    let failure = &run.of_type("job.failed")[0]["data"]["failure"];
    assert_eq!(failure["kind"], "image", "{failure}");
    says(&failure.to_string(), &[&image]);
    assert_ne!(failure["hint"], "");
    world.end();
}

#[test]
fn an_image_without_a_shell_fails_the_job_with_a_hint() {
    let world = World::up();
    let folder = world.folder().join("image");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("only-a-file"), "x").unwrap();
    engine::import(&folder, "scenario:no-shell");
    let repository = world.repository("one").file("a", "1\n").commit();
    let text = script_definition("a", "true").replace(engine::IMAGE, "scenario:no-shell");
    let run = world.run(&world.definition("a.batch.yaml", &text), &[&repository]).expect(1);
    let failure = &run.of_type("job.failed")[0]["data"]["failure"];
    assert_eq!(failure["kind"], "image", "{failure}");
    says(&failure.to_string(), &["shell"]);
    world.end();
}

#[test]
fn a_definition_with_errors_is_refused_with_their_places() {
    let world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    let text = "name: bad name\nstps:\n  - run: echo ${{ repository.nme }}\n    container: x\n";
    let definition = path_text(&world.definition("bad.batch.yaml", text));
    let errors = world.refused(&["run", &definition, "--repo", &path_text(&repository.path)]);
    says(&errors, &["bad.batch.yaml:2:1", "stps", "did you mean `steps`", "bad.batch.yaml:1:7", "bad name"]);
    assert!(world.documents(&["action", "list", "--json"]).is_empty(), "nothing was created");
    world.end();
}

#[test]
fn things_that_do_not_exist_are_said_not_to() {
    let world = World::up();
    let other = "execution_00000000000000000000000000";
    says(&world.refused(&["execution", "show", other]), &["not-found", "patchwave execution list"]);
    says(&world.refused(&["execution", "show", "nonsense"]), &["nonsense", "execution_"]);
    says(
        &world.refused(&["plan", "export", "plan_00000000000000000000000000", "/nonexistent/x"]),
        &["not-found"],
    );
    world.end();
}

#[test]
fn a_second_up_on_the_same_data_is_refused() {
    let world = World::up();
    let output = world.command(&["up", "--gateway", "127.0.0.1:0", "--broker-port", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    says(&String::from_utf8_lossy(&output.stderr), &[&path_text(&world.data()), "already", "--data-dir"]);
    world.ok(&["execution", "list"]);
    world.end();
}

#[test]
fn a_gateway_address_that_is_taken_is_named() {
    let mut world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = world.command(&["up", "--gateway", &address, "--broker-port", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    says(&String::from_utf8_lossy(&output.stderr), &[&address, "--gateway"]);
    world.stop();
}

#[test]
fn a_nats_server_that_is_too_old_is_refused() {
    let mut world = World::new();
    let old = world.folder().join("nats-server");
    std::fs::write(&old, "#!/bin/sh\necho 'nats-server: v2.9.10'\n").unwrap();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = world
        .command(&["up", "--nats-server", &path_text(&old), "--gateway", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    says(&String::from_utf8_lossy(&output.stderr), &["2.9.10", "2.14", "make setup"]);

    // The same for one that somebody else runs: it says its version first.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let greet = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let info = r#"{"server_id":"X","version":"2.9.10","go":"go1.19","host":"127.0.0.1","port":4222,"headers":true,"max_payload":1048576,"proto":1}"#;
        client.write_all(format!("INFO {info}\r\n").as_bytes()).unwrap();
        let mut reader = std::io::BufReader::new(client.try_clone().unwrap());
        let mut line = String::new();
        while std::io::BufRead::read_line(&mut reader, &mut line).is_ok_and(|read| read > 0) {
            if line.starts_with("PING") {
                client.write_all(b"PONG\r\n").unwrap();
            }
            line.clear();
        }
    });
    let output = role_against(&world, &url).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    says(&String::from_utf8_lossy(&output.stderr), &["2.9.10", "too old", "2.14"]);
    greet.join().unwrap();
    world.stop();
}

#[test]
fn a_broker_that_is_down_at_the_start_is_waited_for_and_then_named() {
    let mut world = World::new();
    let url = format!("nats://127.0.0.1:{}", free_port());
    let output = role_against(&world, &url).args(["--connect-timeout", "1s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    says(&String::from_utf8_lossy(&output.stderr), &[&url, "--broker-url"]);
    world.stop();
}

fn role_against(world: &World, url: &str) -> Command {
    let mut command = world.command(&["scheduler", "--broker-url", url]);
    command.env("PATCHWAVE_BROKER_PASSWORD", "secret").stdout(Stdio::null());
    command
}

#[test]
fn without_a_server_a_client_says_how_to_start_one() {
    let mut world = World::new();
    says(&world.refused(&["execution", "list"]), &["patchwave up"]);
    says(&world.refused(&["execution", "list", "--server", "http://127.0.0.1:1"]), &["127.0.0.1:1"]);
    world.stop();
}

/// A file system of its own for the data directory.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, mebibytes: u32) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={mebibytes}m");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "scenario"]).arg(at).status().unwrap();
        assert!(status.success(), "a scenario of a full disk needs root");
        Self(at)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy"]).arg(self.0).status();
    }
}

#[test]
fn a_full_disk_stops_nothing_for_good() {
    let mut world = World::new();
    let data = world.data();
    let disk = SmallDisk::mount(&data, 96);
    world.start_up(&["--min-free-disk", &(16_u64 << 20).to_string()]);
    let repository = world.repository("one").file("a", "1\n").commit();
    world.run_script("echo 2 >a", &[&repository]).expect(0);

    // Somebody else fills the disk to its last byte.
    let ballast = data.join("ballast");
    let filled =
        Command::new("dd").args(["if=/dev/zero", "bs=64k"]).arg(format!("of={}", ballast.display())).output();
    assert!(!filled.unwrap().status.success(), "dd stops when the disk is full");

    let definition = world.definition("again.batch.yaml", &script_definition("again", "echo 3 >a"));
    let child = world.run_command(&definition, &[&repository]).stdout(Stdio::piped()).spawn().unwrap();
    let log = || world.log_text(Role::Up);
    wait_for("a word about the disk", || log().contains("the disk under the streams is full"));
    std::fs::remove_file(&ballast).unwrap();

    let run = crate::world::Run::of(child.wait_with_output().unwrap()).expect(0);
    // The broker is started anew within a second, which may be after all of this was done.
    wait_for("the broker is started anew", || log().contains("the disk has room again"));
    wait_for("it answers again", || world.patchwave(&["plan", "diff", &run.plan()]).status.success());
    assert!(world.ok(&["plan", "diff", &run.plan()]).contains("+3"));
    world.ok(&["projection", "verify"]);
    world.end();
    drop(disk);
}

#[test]
fn a_role_cannot_be_started_without_a_broker_to_find() {
    let mut world = World::new();
    let process = Process::role(Role::Projector, &world.data(), &["--connect-timeout", "1s"]);
    wait_for("the role to give up", || process.has_ended());
    says(&process.log_text(), &["broker.json", "--broker-url"]);
    drop(process);
    world.stop();
}
