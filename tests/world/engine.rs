//! The Docker Engine and the one small image that scenarios use.

use std::path::Path;
use std::process::{Command, Stdio};

use super::wait_for;

/// A busybox, imported from the machine's own static binary: no registry is needed.
pub const IMAGE: &str = "scenario:busybox";

/// Makes sure that the engine answers and has the image.
pub fn prepare() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let answers =
            Command::new("docker").args(["version"]).output().is_ok_and(|output| output.status.success());
        assert!(answers, "no Docker Engine answers: run `make setup`");
        let known = Command::new("docker").args(["image", "inspect", IMAGE]).output();
        if !known.is_ok_and(|output| output.status.success()) {
            make();
        }
    });
}

fn make() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bin = folder.path().join("bin");
    for name in ["bin", "etc", "tmp", "root", "proc", "dev", "sys"] {
        std::fs::create_dir(folder.path().join(name)).expect("a folder of the image");
    }
    std::fs::copy("/bin/busybox", bin.join("busybox"))
        .expect("busybox-static is installed: run `make setup`");
    std::fs::write(folder.path().join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")
        .expect("a file of the image");
    let applets = Command::new("/bin/busybox").arg("--list").output().expect("busybox runs").stdout;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|applet| *applet != "busybox") {
        std::os::unix::fs::symlink("busybox", bin.join(applet)).expect("an applet of the image");
    }
    import(folder.path(), IMAGE);
}

/// Makes an image of what is in a folder.
pub fn import(folder: &Path, name: &str) {
    let mut tar = Command::new("tar")
        .args(["--create", "--numeric-owner", "--owner=0", "--group=0", "--directory"])
        .arg(folder)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()
        .expect("tar runs");
    let stdout = tar.stdout.take().expect("tar's output");
    let imported = Command::new("docker")
        .args(["import", "--change", "ENV PATH=/bin", "--change", "CMD [\"/bin/sh\"]", "-", name])
        .stdin(stdout)
        .output()
        .expect("docker runs");
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    assert!(tar.wait().expect("tar ends").success(), "tar failed");
}

/// The containers of runners whose own folder is this one or below it, and those that see something of it.
pub fn containers_over(folder: &Path) -> Vec<String> {
    let all = docker(&["ps", "--all", "--quiet", "--no-trunc"]);
    let ids: Vec<&str> = all.lines().collect();
    let sees = |id: &&&str| {
        let format = "{{range .Mounts}}{{.Source}}\n{{end}}{{index .Config.Labels \"patchwave.home\"}}";
        let places = docker(&["inspect", "--format", format, id]);
        places.lines().any(|source| Path::new(source).starts_with(folder))
    };
    ids.iter().filter(sees).map(|id| (*id).to_owned()).collect()
}

/// Removes what a killed runner left in the engine, and the rules of its network in the host's firewall.
pub fn remove_containers_over(folder: &Path) {
    for id in containers_over(folder) {
        docker(&["rm", "--force", &id]);
    }
    let networks = docker(&["network", "ls", "--quiet", "--filter", "label=patchwave.home"]);
    for id in networks.lines() {
        let format = "{{.Name}} {{index .Labels \"patchwave.home\"}}";
        let found = docker(&["network", "inspect", "--format", format, id]);
        let Some((name, home)) = found.trim().split_once(' ') else { continue };
        if Path::new(home).starts_with(folder) {
            docker(&["network", "rm", id]);
            remove_rules(name.strip_prefix("patchwave-").expect("a runner's network"));
        }
    }
}

/// Removes the rules that go with a network. Those that are gone already are no failure.
fn remove_rules(network: &str) {
    let (device, chain) = (format!("pw-{network}"), format!("PATCHWAVE-{network}"));
    let rules: [(&str, &[&str]); 4] = [
        ("iptables", &["-D", "PREROUTING", "-i", &device, "-j", &chain]),
        ("iptables", &["-F", &chain]),
        ("iptables", &["-X", &chain]),
        ("ip6tables", &["-D", "PREROUTING", "-i", &device, "-j", "DROP"]),
    ];
    for (program, rule) in rules {
        let output = Command::new(program).args(["-w", "10", "-t", "mangle"]).args(rule).output();
        output.expect("iptables runs");
    }
}

/// Makes an image that says this in the file `/says`, and gives it the name in place of the one that had it.
pub fn derive(name: &str, says: &str) {
    prepare();
    let build = ["build", "--quiet", "--network=none", "--tag", name, "-"];
    let mut child = Command::new("docker")
        .args(build)
        .env("DOCKER_BUILDKIT", "0")
        .stderr(Stdio::null())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("docker runs");
    // The engine would take the same text for the same image, which another test may remove.
    let unique = uuid::Uuid::now_v7();
    let dockerfile = format!("FROM {IMAGE}\nLABEL unique={unique}\nRUN echo {says} >/says\n");
    let mut stdin = child.stdin.take().expect("its input");
    std::io::Write::write_all(&mut stdin, dockerfile.as_bytes()).expect("the Dockerfile");
    drop(stdin);
    assert!(child.wait().expect("docker ends").success(), "{name} cannot be made");
}

/// Removes an image.
pub fn remove_image(name: &str) {
    docker(&["image", "rm", "--force", name]);
}

/// The time, as the engine takes it.
pub fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Nanos, true)
}

/// How many containers of jobs have been made since, by runners whose own folder is below this one.
pub fn created_over(folder: &Path, since: &str) -> usize {
    let filters = ["--filter", "event=create", "--filter", "label=patchwave.job"];
    let home = "{{index .Actor.Attributes \"patchwave.home\"}}";
    let until = now();
    let mut arguments = vec!["events", "--since", since, "--until", &until];
    arguments.extend(filters);
    arguments.extend(["--format", home]);
    docker(&arguments).lines().filter(|home| Path::new(home).starts_with(folder)).count()
}

/// Runs the engine's own client. A container that goes away meanwhile is no failure.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The containers of jobs among them. What holds a slot's network belongs to the runner, and to no job.
pub fn jobs_over(folder: &Path) -> Vec<String> {
    let of_jobs = docker(&["ps", "--quiet", "--no-trunc", "--filter", "label=patchwave.job"]);
    let mut containers = containers_over(folder);
    containers.retain(|id| of_jobs.contains(id.as_str()));
    containers
}

/// Makes an empty file in the container of the one job that sees a folder.
pub fn touch_in_container(folder: &Path, file: &str) {
    // A step is said to have started a moment before its container is.
    wait_for("one job to run", || jobs_over(folder).len() == 1);
    docker(&["exec", &jobs_over(folder)[0], "touch", file]);
}
