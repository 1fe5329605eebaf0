//! Images: brought to the host of a runner from a file, and the same for all jobs of an execution.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::world::{World, engine, free_port, path_text};

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The root filesystem of the scenarios' image, as a plain archive.
fn root(world: &World) -> String {
    let (file, container) = (world.folder().join("root.tar"), docker(&["create", engine::IMAGE]));
    docker(&["export", "--output", &path_text(&file), &container]);
    docker(&["rm", &container]);
    path_text(&file)
}

/// Imports what a program writes.
fn import_from(world: &World, program: &str, arguments: &[&str], options: &[&str]) -> Output {
    let mut writer = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut import = world.command(&[&["image", "import", "-"], options].concat());
    let output = import.stdin(writer.stdout.take().unwrap()).output().unwrap();
    assert!(writer.wait().unwrap().success());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn id_of(name: &str) -> String {
    docker(&["image", "inspect", "--format", "{{.Id}}", name])
}

#[test]
fn the_same_file_is_the_same_image_on_every_host_and_steps_run_on_it() {
    let world = World::up();
    let root = root(&world);
    let name = format!("scenario-import:{}", std::process::id());
    let (other, gone) = (format!("{name}-other"), ["image", "rm", &name]);

    let refused = world.refused(&["image", "import", &root]);
    assert!(refused.contains("--name"), "{refused}");
    let imported = world.ok(&["image", "import", "--name", &name, &root]);
    let id = id_of(&name);
    assert!(imported.contains(&name) && imported.contains(&id) && imported.contains("MiB"), "{imported}");
    // Another host: the image is not there, and the file comes over a pipe, compressed.
    docker(&gone);
    let output = import_from(&world, "gzip", &["--stdout", &root], &["--name", &name]);
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("container: {name}")), "{output:?}");
    assert_eq!(id_of(&name), id);

    let saved = path_text(&world.folder().join("saved.tar"));
    docker(&["save", "--output", &saved, &name]);
    docker(&gone);
    let output = import_from(&world, "cat", &[&saved], &[]);
    assert!(String::from_utf8_lossy(&output.stdout).contains(&name), "it keeps its name: {output:?}");
    world.ok(&["image", "import", "--name", &other, &saved]);
    assert_eq!((id_of(&name), id_of(&other)), (id.clone(), id.clone()));

    let repository = world.repository("one").file("a", "1\n").commit();
    let text = format!(
        "name: imported\nsteps:\n  - run: echo 2 >a\n    container: {other}\nchangesetTemplate:\n  title: T\n  branch: b\n  \
         commit:\n    message: m\n"
    );
    let run = world.run(&world.definition("imported.batch.yaml", &text), &[&repository]).expect(0);
    let pinned = &run.of_type("execution.images_pinned")[0]["data"]["images"][0];
    assert_eq!((pinned["reference"].as_str(), pinned["digest"].as_str()), (Some(&*other), Some(&*id)));
    world.end();
    docker(&["image", "rm", &name, &other]);
}

#[test]
fn what_is_no_image_is_told_with_what_to_do() {
    let mut world = World::new();
    let file = |name: &str, bytes: &[u8]| {
        let path = world.folder().join(name);
        std::fs::write(&path, bytes).unwrap();
        path_text(&path)
    };
    let refused = |arguments: &[&str]| world.refused(&[&["image", "import"], arguments].concat());
    let text = refused(&[&file("text", b"not an archive of anything, and longer than nothing\n")]);
    assert!(text.contains("no archive of an image") && text.contains("docker save"), "{text}");
    let missing = refused(&["/no/such/file"]);
    assert!(missing.contains("/no/such/file cannot be read"), "{missing}");
    let upper = refused(&["--name", "Not a name", &file("other", b"x")]);
    assert!(upper.contains("lower case"), "{upper}");
    let away = refused(&["--docker-host", "unix:///no/such/engine", &file("more", b"x")]);
    assert!(away.contains("/no/such/engine"), "{away}");
    world.stop();
}

/// A registry on this machine that lets `bot` in, with the password `hunter22`.
struct Registry {
    server: Child,
    host: String,
}

impl Registry {
    fn start(world: &World) -> Self {
        let host = format!("127.0.0.1:{}", free_port());
        let path = |name: &str| path_text(&world.folder().join(name));
        let (config, users, images) = (path("registry.yml"), path("users"), path("images"));
        std::fs::write(&users, "bot:$2y$04$0xSQ0KCK.vCsoz/AqMYuHeX3DDRTWpBJzlP7sNm9d1L5R3PDXgeXq\n").unwrap();
        let text = format!(
            "version: 0.1\nstorage: {{ filesystem: {{ rootdirectory: {images} }} }}\nhttp: {{ addr: \"{host}\" }}\n\
             auth: {{ htpasswd: {{ realm: test, path: {users} }} }}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let server = command.args(["serve", &config]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut server = server.expect("docker-registry is installed: run `make setup`");
        let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("listening on")), "the registry starts");
        std::thread::spawn(move || lines.for_each(drop));
        Self { server, host }
    }

    /// Stores the scenarios' image under a name, which this host then forgets.
    fn store(&self, world: &World, name: &str) {
        let client = path_text(&world.folder().join("client"));
        let login = ["--config", &client, "login", "--username", "bot", "--password", "hunter22", &self.host];
        docker(&login);
        docker(&["tag", engine::IMAGE, name]);
        docker(&["--config", &client, "push", "--quiet", name]);
        docker(&["image", "rm", name]);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.server.kill().and_then(|()| self.server.wait());
    }
}

#[test]
fn an_image_comes_from_a_private_registry_with_a_secret_that_no_step_sees() {
    let world = World::up();
    let registry = Registry::start(&world);
    let name = format!("{}/scenario/tool:1", registry.host);
    registry.store(&world, &name);
    let repository = world.repository("one").file("a", "1\n").commit();
    let text = format!(
        "name: private\nsteps:\n  - run: env >a\n    container: {name}\nchangesetTemplate:\n  title: T\n  branch: b\n  commit:\n    \
         message: m\npatchwave:\n  registries: [{{ host: \"{}\", username: bot, password: REGISTRY_TOKEN }}]\n",
        registry.host
    );
    let definition = world.definition("private.batch.yaml", &text);
    let refused = world.run(&definition, &[&repository]).expect(1).errors;
    assert!(refused.contains("secret-not-set") && refused.contains("REGISTRY_TOKEN"), "{refused}");
    let value = path_text(&world.definition("value", "hunter22"));
    world.patchwave(&["secret", "set", "REGISTRY_TOKEN", "--from-file", &value]);

    let run = world.run(&definition, &[&repository]).expect(0);
    let pinned = &run.of_type("execution.images_pinned")[0]["data"]["images"][0];
    let digest = pinned["digest"].as_str().unwrap();
    assert!(digest.starts_with(&format!("{}/scenario/tool@sha256:", registry.host)), "{digest}");
    let job = run.of_type("job.succeeded")[0]["aggregate"].as_str().unwrap().to_owned();
    let log = world.ok(&["job", "logs", &job]);
    assert!(log.contains(&format!("pulling the image {name} as bot")) && log.contains("Digest: "), "{log}");
    let diff = world.ok(&["plan", "diff", &run.plan()]);
    assert!(diff.contains("+PATH=") && !diff.contains("REGISTRY_TOKEN"), "{diff}");
    world.end();
    docker(&["image", "rm", &name]);
}
