//! Files beside an action: sent with it, mounted into its steps, and sent again only when they change.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use crate::world::git::Repository;
use crate::world::{GatewayFile, Role, World, engine, path_text, wait_for};

const FIX: &str =
    "#!/bin/sh\ncat /data/words >>\"$1\"\ntouch /scripts/x 2>/dev/null && echo writable >>\"$1\"\nexit 0\n";

/// An action in a folder of its own, with a script and a word beside it.
struct Story {
    world: World,
    repository: Repository,
    folder: PathBuf,
}

impl Story {
    fn new(world: World) -> Self {
        let repository = world.repository("one").file("a", "1\n").commit();
        let folder = world.folder().join("actions");
        let story = Self { world, repository, folder };
        story.write("scripts/fix.sh", FIX, 0o755);
        story.write("data/words", "two\n", 0o600);
        story.write("unrelated", "never sent\n", 0o644);
        story.define("/scripts/fix.sh a", "scripts", "data");
        story
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) {
        let full = self.folder.join(path);
        std::fs::create_dir_all(full.parent().unwrap()).unwrap();
        std::fs::write(&full, content).unwrap();
        std::fs::set_permissions(&full, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn define(&self, run: &str, scripts: &str, data: &str) {
        let text = format!(
            "name: mounts\nsteps:\n  - run: {run}\n    container: {}\n    mount:\n      - path: {scripts}\n        mountpoint: /scripts\n      \
             - path: {data}\n        mountpoint: /data\nchangesetTemplate:\n  title: T\n  branch: b\n  commit:\n    message: m\n",
            engine::IMAGE
        );
        self.write("mounts.batch.yaml", text, 0o644);
    }

    /// Runs the action as a person does.
    fn run(&self) -> Output {
        let definition = path_text(&self.folder.join("mounts.batch.yaml"));
        self.world.patchwave(&["run", &definition, "--repo", &path_text(&self.repository.path)])
    }

    /// Runs it to a good end, and returns what was said and what the newest plan changes.
    #[track_caller]
    fn succeed(&self) -> (String, String) {
        let output = self.run();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
        let newest = self.world.documents(&["execution", "list", "--json"]).remove(0);
        let plan = newest["plan"]["id"].as_str().expect("a plan").to_owned();
        (said, self.world.ok(&["plan", "diff", &plan]))
    }

    /// What is shown of the files of a revision.
    fn shown(&self, options: &[&str]) -> Value {
        let command = [&["action", "show", "mounts", "--json"], options].concat();
        self.world.documents(&command).remove(0)["definition"]["files"].take()
    }

    /// The digests of the archives that the broker holds to the end.
    fn stored(&self) -> BTreeSet<String> {
        let events = self.world.documents(&["events", "show", "--json", "ev.action.>"]);
        let digest =
            |event: &Value| Some(event["data"]["definition"]["files"]["sha256"].as_str()?.to_owned());
        events.iter().filter_map(digest).collect()
    }
}

/// The unpacked files that runners keep, with what tells one unpacking from another.
fn unpacked(world: &World) -> BTreeSet<(String, u64)> {
    let mut found = BTreeSet::new();
    let mut folders = vec![world.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && name.starts_with("files-") => {
                    found.insert((name, entry.metadata().unwrap().ino()));
                }
                Ok(kind) if kind.is_dir() && name != "trees" => folders.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

#[test]
fn a_script_beside_the_action_is_sent_mounted_and_run() {
    let story = Story::new(World::up());
    let (said, diff) = story.succeed();
    assert!(
        said.contains("mounts 2 files") && said.contains("sent ") && said.contains("revision 1 (new)"),
        "{said}"
    );
    assert!(diff.contains("+two") && !diff.contains("writable"), "{diff}");

    // Whoever looks at the action sees what was sent, and only that.
    let shown = story.world.ok(&["action", "show", "mounts", "--files"]);
    assert!(shown.contains("files        2 of ") && !shown.contains("unrelated"), "{shown}");
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        ["data", "folder", "0"],
        ["data/words", "file", "4"],
        ["scripts", "folder", "0"],
        ["scripts/fix.sh", "executable", &FIX.len().to_string()],
    ] {
        assert!(rows.iter().any(|found| *found == row), "{row:?} in {shown}");
    }
    assert!(!story.world.ok(&["action", "show", "mounts"]).contains("executable"), "the list is asked for");
    let first = story.shown(&[]);
    assert_eq!(first["contents"]["bytes"], 4 + FIX.len());
    assert_eq!(first["list"].as_array().unwrap().len(), 4, "{first:#}");
    assert!(story.stored().contains(first["sha256"].as_str().unwrap()));

    let (said, _) = story.succeed();
    assert!(
        said.contains("revision 1 (as before)") && !said.contains("sent "),
        "nothing is sent twice: {said}"
    );

    // What no mount names, and when and by whom a file was written, is no news.
    story.write("unrelated", "changed\n", 0o644);
    story.write("data/words", "two\n", 0o644);
    let (said, _) = story.succeed();
    assert!(said.contains("revision 1 (as before)") && !said.contains("sent "), "{said}");

    story.write("data/words", "three\n", 0o644);
    let (said, diff) = story.succeed();
    assert!(said.contains("revision 2 (new)") && said.contains("sent "), "{said}");
    assert!(diff.contains("+three"), "{diff}");
    assert_eq!(story.stored().len(), 2, "a revision each");
    assert_eq!(story.shown(&["--revision", "1"]), first, "a revision keeps its files");
    let second = story.shown(&[]);
    assert_eq!(second["contents"]["bytes"], 6 + FIX.len());
    assert_ne!(second["sha256"], first["sha256"]);
    assert!(story.world.refused(&["action", "show", "mounts", "--revision", "3"]).contains("not-found"));

    // An earlier state is known still.
    story.write("data/words", "two\n", 0o644);
    let (said, diff) = story.succeed();
    assert!(said.contains("revision 3 (new)") && !said.contains("sent "), "{said}");
    assert!(diff.contains("+two"), "{diff}");
    assert_eq!(story.stored().len(), 2);
    story.world.end();
}

#[test]
fn what_cannot_be_mounted_is_said_at_its_line_and_nothing_is_sent() {
    let story = Story::new(World::up());
    let refused = |parts: &[&str]| {
        let output = story.run();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in:\n{said}");
        }
    };
    story.define("echo", "scripts", "missing");
    refused(&[
        "error[missing-file]",
        "mounts.batch.yaml:8:15",
        "`missing` cannot be mounted",
        "No such file",
        "hint",
    ]);
    story.define("echo", "scripts", "../outside");
    refused(&["error[invalid-value]", "leads out of the folder"]);
    story.define("echo", "scripts", "data");
    story.write(".gitignore", "/data\n", 0o644);
    refused(&["error[missing-file]", "`data` cannot be mounted: it is ignored"]);
    std::fs::remove_file(story.folder.join(".gitignore")).unwrap();
    symlink("/etc/passwd", story.folder.join("scripts/passwd")).unwrap();
    refused(&["error[invalid-files]", "scripts/passwd", "/etc/passwd"]);
    std::fs::remove_file(story.folder.join("scripts/passwd")).unwrap();
    symlink("scripts", story.folder.join("alias")).unwrap();
    story.define("echo", "alias/fix.sh", "data");
    refused(&["error[missing-file]", "`alias` is a link", "name the file or folder itself"]);

    let mut command = story.world.command(&["run", "-", "--repo", &path_text(&story.repository.path)]);
    let text = std::fs::File::open(story.folder.join("mounts.batch.yaml")).unwrap();
    let output = command.stdin(text).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input cannot mount files"));
    assert_eq!(story.world.ok(&["action", "list", "--json"]).trim(), "", "no action was made");
    story.world.end();
}

#[test]
fn a_runner_that_starts_again_has_the_files_still() {
    let mut story = Story::new(World::apart());
    story.succeed();
    let before = unpacked(&story.world);
    assert_eq!(before.len(), 1, "{before:?}");
    story.world.process(Role::Runner).restart();
    let (_, diff) = story.succeed();
    assert!(diff.contains("+two"), "{diff}");
    assert_eq!(unpacked(&story.world), before, "unpacked once");
    story.world.end();
}

#[test]
fn a_gateway_that_is_killed_while_files_arrive_keeps_nothing_of_them() {
    let mut story = Story::new(World::apart());
    let half = 4 << 20;
    let GatewayFile { url, pid, token } = story.world.gateway().expect("the gateway is ready");
    let address = url.strip_prefix("http://").expect("plain HTTP");
    let mut connection = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "PUT /files/{} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n",
        "a".repeat(64),
        2 * half
    );
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&vec![7; half]).unwrap();
    wait_for("the half to arrive", || deleted_files(pid).iter().any(|bytes| *bytes > 1 << 20));
    story.world.restart_gateway();
    let mut rest = Vec::new();
    let _ = connection.read_to_end(&mut rest);
    assert!(rest.is_empty(), "there is no answer");

    let (said, diff) = story.succeed();
    assert!(said.contains("sent "), "{said}");
    assert!(diff.contains("+two"), "{diff}");
    story.world.end();
}

/// The sizes of the files without a name that a process has open.
fn deleted_files(process: u32) -> Vec<u64> {
    let open = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd"));
    let size = |entry: std::fs::DirEntry| {
        let name = std::fs::read_link(entry.path()).ok()?;
        let meta = std::fs::metadata(entry.path()).ok()?;
        (meta.is_file() && name.to_string_lossy().ends_with(" (deleted)")).then_some(meta.len())
    };
    open.into_iter().flatten().flatten().filter_map(size).collect()
}
