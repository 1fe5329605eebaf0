//! What a container has and what it may not.

use super::*;

#[tokio::test]
async fn names_and_values_may_have_any_character() {
    let world = World::new().await;
    let image = busybox(&world.engine).await;
    let files = world.folder("a:b,c=d \"e\" ü\n,readonly/files");
    let scratch = world.folder("s:ro,x/scratch");
    let cache = world.folder("cache:rw,z");
    std::fs::create_dir(files.join("sub folder")).unwrap();
    let given = world.dir.path().join("given:ro,\nfile");
    std::fs::write(&given, "given\n").unwrap();
    let (cache_dirs, read_only_files) =
        ([(cache.clone(), "/cache,dir:x".to_owned())], [(given, "/etc/odd:file,\n name".to_owned())]);
    let odd = "a b\n\"'$HOME`id`\\ ,:=\u{1b}[31m ü --privileged";
    let env = vec![("ODD".to_owned(), odd.to_owned()), ("EMPTY".to_owned(), String::new())];
    let script = "printf '%s|%s|' \"$ODD\" \"${EMPTY-unset}\"; pwd; cat '/etc/odd:file,\n name'
        echo x > '/etc/odd:file,\n name' && exit 1
        echo x > /.patchwave/script-1 && exit 1
        echo kept > '/cache,dir:x/kept'; touch here";
    let wanted = format!("{odd}||/work/sub folder\ngiven\n");
    for main in [Main::Idle, Main::Script { script: script.to_owned(), env: env.clone() }] {
        let idle = main == Main::Idle;
        let mut spec = world.spec(&image, &files, &scratch, main);
        spec.workdir = format!("{WORK}/sub folder");
        spec.cache_dirs = &cache_dirs;
        spec.read_only_files = &read_only_files;
        let container = world.engine.create(&spec).await.unwrap();
        let mut heard = Heard::default();
        let code = if idle {
            container.start().await.unwrap();
            container.run_script(script, &env, &mut heard).await.unwrap()
        } else {
            container.run_main(&mut heard).await.unwrap()
        };
        assert_eq!((code, heard.text()), (0, wanted.clone()));
        container.remove().await.unwrap();
        assert!(files.join("sub folder/here").exists());
        std::fs::remove_file(files.join("sub folder/here")).unwrap();
        assert_eq!(std::fs::read(cache.join("kept")).unwrap(), b"kept\n");
    }
}

#[tokio::test]
async fn files_that_come_after_the_creation_are_there_at_the_start() {
    let world = World::new().await;
    let container = world.container(one("cat /work/late")).await;
    std::fs::write(world.folder("files").join("late"), "late\n").unwrap();
    let mut heard = Heard::default();
    assert_eq!(container.run_main(&mut heard).await.unwrap(), 0);
    assert_eq!(heard.text(), "late\n");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_the_users_to_mend() {
    let world = World::new().await;
    let image = busybox(&world.engine).await;
    let (files, scratch) = (world.folder("files"), world.folder("scratch"));
    std::fs::write(files.join("file"), "").unwrap();
    let mut spec = world.spec(&image, &files, &scratch, one("true"));
    spec.workdir = format!("{WORK}/file");
    let container = world.engine.create(&spec).await.unwrap();
    let failure = failure(container.run_main(&mut Heard::default()).await);
    assert_eq!(failure.kind, events::job::FailureKind::Workspace, "{failure:?}");
}

#[tokio::test]
async fn a_step_has_no_more_rights_than_it_needs() {
    let world = World::new().await;
    let script = "
        grep NoNewPrivs /proc/self/status
        id -u
        ls /var/run/docker.sock 2>/dev/null
        mount -t tmpfs x /mnt 2>/dev/null && echo mounted
        cat /proc/1/environ | tr '\\0' '\\n' | grep -i patchwave
        tr '\\0' '\\n' < /proc/self/cmdline
    ";
    let env = vec![("SECRET".to_owned(), "hidden".to_owned())];
    let main = world.container(Main::Script { script: script.to_owned(), env }).await;
    let mut heard = Heard::default();
    main.run_main(&mut heard).await.unwrap();
    assert_eq!(heard.text(), "NoNewPrivs:\t1\n0\n/bin/sh\n/.patchwave/script-1\n");
    let found = world.engine.docker().inspect_container(main.id(), None).await.unwrap();
    let config = found.host_config.unwrap();
    assert_eq!((config.privileged, config.pids_limit), (Some(false), Some(4096)));
    let config = found.config.unwrap();
    assert!(!format!("{:?} {:?} {:?}", config.cmd, config.entrypoint, config.labels).contains("hidden"));
    let labels = config.labels.unwrap();
    assert_eq!(labels["patchwave.runner"], world.runner.to_string());
    assert_eq!(labels["patchwave.job"], world.attempt.job.to_string());
    assert_eq!(labels["patchwave.attempt"], "3");
    assert!(labels["patchwave.execution"].starts_with("execution_"));
}

/// Each line is an attack on the host that says its name where it works.
const ATTACKS: &str = r#"
    for socket in /run/docker.sock /var/run/docker.sock /run/containerd; do [ -e $socket ] && echo engine; done
    [ -e /proc/1/root/$CANARY ] && echo host files
    [ -e /proc/$FOREIGN/mem ] && echo foreign process
    kill -0 $FOREIGN 2>/dev/null && echo foreign signal
    mount -t tmpfs x /tmp 2>/dev/null && echo mounted
    mount -o bind / /tmp 2>/dev/null && echo bound
    mount -o remount,rw /proc/sys 2>/dev/null && echo remounted
    umount /work 2>/dev/null && echo unmounted
    mknod /work/disk b 254 0 2>/dev/null && echo device
    mknod /work/memory c 1 1 2>/dev/null && echo memory
    cat /dev/mem /dev/kmsg /dev/sda /dev/vda /dev/nvme0n1 2>/dev/null | head -c 1 | grep -q . && echo disk
    unshare -U true 2>/dev/null && echo users
    unshare -m true 2>/dev/null && echo mounts
    unshare -p -f true 2>/dev/null && echo processes
    nsenter -t 1 -m true 2>/dev/null && echo entered
    echo x >/work/module.ko; insmod /work/module.ko 2>&1 | grep -qi "not permitted" || echo module
    chroot / true 2>/dev/null && echo chroot
    hostname changed 2>/dev/null && echo hostname
    date -s "$(date '+%Y-%m-%d %H:%M:%S')" 2>&1 | grep -q "not permitted" || echo clock
    { cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern; } 2>/dev/null && echo core pattern
    { echo h >/proc/sysrq-trigger; } 2>/dev/null && echo sysrq
    { echo >/sys/kernel/uevent_helper; } 2>/dev/null && echo uevent helper
    head -c 1 /proc/kcore 2>/dev/null | grep -q . && echo kcore
    head -c 1 /proc/keys 2>/dev/null | grep -q . && echo keys
    touch /sys/x 2>/dev/null && echo sys
    mkdir /sys/fs/cgroup/x /sys/fs/cgroup/memory/x 2>/dev/null && echo cgroup
    true
"#;

/// What tells namespaces apart.
const NAMESPACES: &str = "for name in ipc mnt net pid uts cgroup; do readlink /proc/self/ns/$name; done";

#[tokio::test]
async fn a_step_does_nothing_to_the_host() {
    let world = World::new().await;
    let canary = world.dir.path().join("canary");
    std::fs::write(&canary, "x").unwrap();
    let env = vec![
        ("CANARY".to_owned(), canary.display().to_string()),
        ("FOREIGN".to_owned(), std::process::id().to_string()),
    ];
    let main = world.container(Main::Script { script: ATTACKS.to_owned(), env }).await;
    let heard = Heard::default();
    assert_eq!(main.run_main(&mut heard.clone()).await.unwrap(), 0);
    assert_eq!(heard.text(), "", "these attacks worked");
}

#[tokio::test]
async fn attacks_that_are_let_through_are_seen() {
    let world = World::new().await;
    busybox(&world.engine).await;
    // The same in a container that may do nearly anything: a test that cannot fail proves nothing.
    let output = std::process::Command::new("docker")
        .args([
            "run",
            "--rm",
            "--cap-add=SYS_ADMIN",
            "--cap-add=SYS_PTRACE",
            "--security-opt=seccomp=unconfined",
            "--pid=host",
            "--network=none",
            "--volume",
        ])
        .args([
            "/var/run/docker.sock:/var/run/docker.sock",
            "--env",
            "CANARY=proc",
            "--env",
            &format!("FOREIGN={}", std::process::id()),
            "sandbox-test:busybox",
            "sh",
            "-c",
        ])
        // Without what would harm this machine.
        .arg(format!("mkdir -p /work /tmp; {}", harmless(ATTACKS)))
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    for attack in [
        "engine",
        "foreign process",
        "foreign signal",
        "mounted",
        "bound",
        "device",
        "memory",
        "users",
        "mounts",
        "chroot",
    ] {
        assert!(said.lines().any(|line| line == attack), "{attack} is not in {said}");
    }
}

/// Tries to take hold of a child of its own, and then of each process that it is told of, and says of which it could.
const TRACER: &str = r#"
    #define _GNU_SOURCE
    #include <errno.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <sys/ptrace.h>
    #include <sys/uio.h>
    #include <unistd.h>
    static void attack(const char *whom, pid_t process) {
        char byte;
        struct iovec here = { &byte, 1 }, there = { (void *)1, 1 };
        if (ptrace(PTRACE_SEIZE, process, 0, 0) == 0) printf("%s is traced\n", whom);
        if (process_vm_readv(process, &here, 1, &there, 1, 0) == 1 || errno == EFAULT) printf("%s is read\n", whom);
    }
    int main(int count, char **arguments) {
        pid_t child = fork();
        if (child == 0) for (;;) pause();
        attack("a child", child);
        kill(child, SIGKILL);
        for (int i = 1; i < count; i++) attack("a stranger", atoi(arguments[i]));
    }
"#;

/// The program of [`TRACER`], which needs no library.
fn tracer(folder: &Path) -> PathBuf {
    let (source, program) = (folder.join("tracer.c"), folder.join("tracer"));
    std::fs::write(&source, TRACER).unwrap();
    let mut compiler = std::process::Command::new("cc");
    let made = compiler.args(["-static", "-O1", "-o"]).arg(&program).arg(&source).status().unwrap();
    assert!(made.success());
    program
}

/// A process of this host that ends with the test.
struct Stranger(std::process::Child);

impl Stranger {
    fn new() -> Self {
        let mut sleep = std::process::Command::new("sleep");
        Self(sleep.arg("600").stdout(std::process::Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_step_takes_hold_of_no_process_but_its_own() {
    let world = World::new().await;
    let program = tracer(world.dir.path());
    let stranger = Stranger::new();
    // A process of another job is a stranger as well.
    let other = world.idle().await;
    let found = world.engine.docker().inspect_container(other.id(), None).await.unwrap();
    let neighbour = found.state.unwrap().pid.unwrap();
    let script = format!("/tracer {} {neighbour}", stranger.0.id());

    let image = busybox(&world.engine).await;
    let (files, scratch) = (world.folder("tracers"), world.folder("tracer's"));
    let read_only_files = [(program.clone(), "/tracer".to_owned())];
    let spec = world.spec(&image, &files, &scratch, one(&script));
    let main =
        world.engine.create(&ContainerSpec { read_only_files: &read_only_files, ..spec }).await.unwrap();
    let heard = Heard::default();
    assert_eq!(main.run_main(&mut heard.clone()).await.unwrap(), 0);
    // The engine lets a step trace what is its own, as debuggers do, and lets it read no memory from outside at all.
    assert_eq!(heard.text(), "a child is traced\n");

    // The same program where it may do nearly anything.
    let mount = format!("{}:/tracer:ro", program.display());
    let open = ["--cap-add=SYS_PTRACE", "--security-opt=seccomp=unconfined", "--pid=host", "--network=none"];
    let output = std::process::Command::new("docker")
        .args(["run", "--rm", "--volume", &mount])
        .args(open)
        .args(["sandbox-test:busybox", "sh", "-c", &script])
        .output()
        .unwrap();
    drop(stranger);
    let said = String::from_utf8(output.stdout).unwrap();
    let twice = "a stranger is traced\na stranger is read\n".repeat(2);
    assert_eq!(said, format!("a child is traced\na child is read\n{twice}"));
}

fn harmless(attacks: &str) -> String {
    let harmful = ["sysrq", "core_pattern", "uevent", "date -s", "remount", "insmod", "cgroup"];
    attacks
        .lines()
        .filter(|line| !harmful.iter().any(|word| line.contains(word)))
        .collect::<Vec<_>>()
        .join("\n")
}

#[tokio::test]
async fn a_step_shares_no_namespace_with_the_host() {
    let world = World::new().await;
    let main = world.container(one(NAMESPACES)).await;
    let heard = Heard::default();
    assert_eq!(main.run_main(&mut heard.clone()).await.unwrap(), 0);
    let inside = heard.text();
    let host = std::process::Command::new("sh").args(["-c", NAMESPACES]).output().unwrap().stdout;
    let host = String::from_utf8(host).unwrap();
    assert_eq!((inside.lines().count(), host.lines().count()), (6, 6));
    for (inside, host) in inside.lines().zip(host.lines()) {
        assert_ne!(inside, host);
    }
}

#[tokio::test]
async fn root_in_a_step_keeps_what_package_managers_need_and_no_more() {
    let world = World::new().await;
    let script = "
        touch file; chown 7:8 file; chmod 2755 file; stat -c '%u:%g %a' file
        grep CapBnd /proc/self/status; grep CapEff /proc/self/status; grep Seccomp: /proc/self/status
    ";
    let main = world.container(one(script)).await;
    let heard = Heard::default();
    main.run_main(&mut heard.clone()).await.unwrap();
    let said = heard.text();
    assert!(said.starts_with("7:8 2755\n"), "{said}");
    // CHOWN 0, DAC_OVERRIDE 1, FOWNER 3, FSETID 4, KILL 5, SETGID 6, SETUID 7, SETFCAP 31.
    let wanted = format!("{:016x}", [0, 1, 3, 4, 5, 6, 7, 31].iter().fold(0_u64, |all, bit| all | 1 << bit));
    assert!(said.ends_with(&format!("CapBnd:\t{wanted}\nCapEff:\t{wanted}\nSeccomp:\t2\n")), "{said}");

    let found = world.engine.docker().inspect_container(main.id(), None).await.unwrap();
    let config = found.host_config.unwrap();
    assert_eq!(config.ipc_mode.as_deref(), Some("private"));
    assert!(config.devices.is_none_or(|devices| devices.is_empty()));
    assert!(config.masked_paths.unwrap().iter().any(|path| path == "/proc/kcore"));
    assert!(config.readonly_paths.unwrap().iter().any(|path| path == "/proc/sys"));
    for mode in [config.pid_mode, config.uts_mode, config.userns_mode] {
        assert!(mode.is_none_or(|mode| mode.is_empty()), "the engine's own are no host's");
    }
}

#[tokio::test]
async fn a_runtime_is_chosen_by_its_name() {
    let world = World::new().await;
    let with =
        |runtime: &str| EngineOptions { runtime: Some(runtime.to_owned()), ..EngineOptions::default() };
    let engine = Engine::connect(&with("runc"), &world.runner, world.dir.path()).await.unwrap();
    let image = busybox(&engine).await;
    let (files, scratch) = (world.folder("files"), world.folder("scratch"));
    let container = engine.create(&world.spec(&image, &files, &scratch, one("true"))).await.unwrap();
    let found = engine.docker().inspect_container(container.id(), None).await.unwrap();
    assert_eq!(found.host_config.unwrap().runtime.as_deref(), Some("runc"));
    let error = Engine::connect(&with("no-such"), &world.runner, world.dir.path()).await.err().unwrap();
    let error = format!("{error:#}");
    assert!(error.contains("`no-such`") && error.contains("runc") && error.contains("--runtime"), "{error}");
}

#[tokio::test]
async fn what_an_image_runs_while_it_is_built_has_the_jobs_network() {
    let world = World::new().await;
    busybox(&world.engine).await;
    let nonce = Uuid::now_v7();
    let text = format!("FROM sandbox-test:busybox\nRUN echo {nonce} && ls /sys/class/net >/interfaces\n");
    let image = world.engine.image(&ImageSource::Dockerfile(text), GRANT, &mut |_| ()).await.unwrap();
    let container = world.container_of(&image, one("cat /interfaces")).await.unwrap();
    let heard = Heard::default();
    assert_eq!(container.run_main(&mut heard.clone()).await.unwrap(), 0);
    assert_eq!(heard.text(), "lo\n");
    container.remove().await.unwrap();
    world.engine.docker().remove_image(&image.id, None::<RemoveImageOptions>, None).await.unwrap();
}
