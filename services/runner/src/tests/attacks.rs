//! What a hostile job does, and what is left of it.

use std::os::unix::fs::PermissionsExt as _;

use events::action::{Definition, Given};
use events::log::Stream;
use events::report::What;
use events::ticket::{Control, Ticket};

use super::world::{IMAGE, Started, World, runner_id, soon, stream};
use crate::fixture::git;

/// Everything that a step can put into its workspace, with a program that must never run outside of the container.
const HOSTILE: &str = r#"
ln -s / root; ln -s /etc/passwd passwd; ln -s ../../../../.. up; ln -s /proc/self/root/etc loop
ln /etc/passwd linked 2>/dev/null && echo linked
mount -o bind /etc sub 2>/dev/null && echo bound
mknod device c 1 1 2>/dev/null && echo device
mkfifo pipe .gitattributes sub/.gitignore sub/.gitattributes
cp /bin/busybox program; chmod 6755 program
echo a >Case; echo b >case; echo c >-rf; echo d >--output=x
echo e >"$(printf 'new\nline')"; echo f >"$(printf '\377\376')"; echo g >"$(printf '\033[2Jclear\007')"; mkfifo "$(printf '\033[31mred\rpipe')"
mkdir -p 'GIT~1' '.git '; echo h >'GIT~1/config'; echo i >'.git /config'
printf '#!/bin/sh\ntouch %s\n' "$CANARY" >.git/program; chmod 755 .git/program
mkdir -p .git/hooks .git/info .git/objects/info
for hook in pre-commit post-checkout post-index-change pre-auto-gc reference-transaction; do cp .git/program .git/hooks/$hook; done
printf '[core]\n\tfsmonitor = touch %s\n\tsshCommand = touch %s\n\thooksPath = .git/hooks\n\tworktree = /\n' "$CANARY" "$CANARY" >.git/config
printf '[filter "x"]\n\tclean = touch %s\n\tsmudge = touch %s\n\trequired = true\n[diff]\n\texternal = touch %s\n' "$CANARY" "$CANARY" "$CANARY" >>.git/config
echo '* filter=x diff=x' >.git/info/attributes; echo /etc >.git/objects/info/alternates
printf '[submodule "s"]\n\tpath = s\n\turl = ext::sh -c touch% %s\n\tupdate = !touch %s\n' "$CANARY" "$CANARY" >.gitmodules
mkdir nested; cp -r .git nested/.git; echo j >nested/file
echo changed >file
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_leaves_in_its_workspace_harms_nobody() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let canary = world.fixture.dir.path().join("canary");
    let step = HOSTILE.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let mut ticket = world.ticket(&format!(
        "- container: {IMAGE}\n  run: |\n{step}  env:\n    CANARY: {}\n- container: {IMAGE}\n  run: \"true\"\n  env:\n    \
         ADDED: ${{{{ join previous_step.added_files \" \" }}}}\n",
        canary.display()
    ));
    ticket.timeout_ms = 90_000;
    let attempt = world.send(&ticket).await;
    let What::Succeeded { patch, log, .. } = world.end(&attempt).await else {
        panic!("{:?}", world.heard(&attempt));
    };
    let chunks = world.log(&attempt, &log).await;
    assert_eq!(stream(&chunks, Stream::Stdout), "", "these attacks worked");
    let told = stream(&chunks, Stream::Runner);
    assert!(
        told.contains("named pipe") && !told.replace('\n', "").contains(|c: char| c.is_control()),
        "{told:?}"
    );

    let patch = world.reader.get_blob(&patch.unwrap()).await.unwrap();
    let (file, origin) = (world.fixture.dir.path().join("patch"), world.fixture.dir.path().join("origin"));
    std::fs::write(&file, &patch).unwrap();
    git(&origin, &["apply", "--index", file.to_str().unwrap()]);
    let listed = String::from_utf8_lossy(&git(&origin, &["ls-files", "-z"])).into_owned();
    for name in ["new\nline", "Case", "case", "-rf", "--output=x", "program", "passwd", "nested/file"] {
        assert!(listed.split('\0').any(|listed| listed == name), "{name:?} is not in {listed:?}");
    }
    assert!(!listed.to_lowercase().contains("git~1") && !listed.contains(".git "), "{listed:?}");
    assert!(!canary.exists(), "the host ran what a step wrote");
    let folder = world.fixture.dir.path().join("runner");
    let mode = std::fs::metadata(folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else gets to a program that runs as root");
    world.clean().await;
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_action_keeps_no_other_runs() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let mut said = Vec::new();
    for action in ["first", "other", "first"] {
        let mut ticket = world.scripts(&["true"]);
        ticket.definition = Definition {
            file_name: "action.json".to_owned(),
            source: format!(
                r#"{{"scopeQuery": "repo:x", "steps": [{{"type": "docker", "image": "{IMAGE}", "cacheDirs": ["/kept"],
                "args": ["sh", "-c", "cat /kept/tool 2>/dev/null || echo nothing; echo mine >/kept/tool"]}}]}}"#
            ),
            given: Given {
                name: Some(action.to_owned()),
                branch: Some("b".to_owned()),
                title: Some("T".to_owned()),
                body: Some("B".to_owned()),
                message: Some("M".to_owned()),
            },
            files: None,
        };
        let attempt = world.send(&ticket).await;
        let What::Succeeded { log, .. } = world.end(&attempt).await else {
            panic!("{:?}", world.heard(&attempt));
        };
        said.push(stream(&world.log(&attempt, &log).await, Stream::Stdout));
    }
    assert_eq!(said, ["nothing\n", "nothing\n", "mine\n"]);
    world.close(runner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_asks_for_no_network_gets_none() {
    let mut world = World::new().await;
    let runner = world.start(world.config(1)).await;
    let mut said = Vec::new();
    for settings in ["", "patchwave:\n  network: none\n"] {
        let mut ticket = world.scripts(&["ls /sys/class/net"]);
        ticket.definition.source.push_str(settings);
        let attempt = world.send(&ticket).await;
        let What::Succeeded { log, .. } = world.end(&attempt).await else {
            panic!("{:?}", world.heard(&attempt));
        };
        said.push(stream(&world.log(&attempt, &log).await, Stream::Stdout));
    }
    assert_eq!(said, ["eth0\nlo\n", "lo\n"]);
    world.close(runner).await;
}

/// Leaves its session, its group and its parent, and hears no signal that can be ignored.
const STUBBORN: &str = "trap '' TERM INT HUP
for n in 1 2 3; do setsid sh -c 'trap \"\" TERM INT HUP; (setsid sleep 1000 &) ; while :; do sleep 1000; done' & done
mkdir -p deep/er; mkfifo deep/pipe; cat deep/pipe & echo begun
while :; do sleep 1000; done";

impl World {
    fn stubborn(&self, timeout_ms: u64) -> Ticket {
        Ticket { timeout_ms, ..self.scripts(&[STUBBORN]) }
    }

    /// Lets jobs run that end badly, and asserts that nothing of them is left: each second one is taken away, and the others
    /// reach their limit.
    async fn abort(&mut self, runner: Started, jobs: usize) {
        let mut attempts = Vec::new();
        for number in 0..jobs {
            let timeout_ms = if number % 2 == 0 { 600_000 } else { 500 };
            attempts.push((number, self.send(&self.stubborn(timeout_ms)).await));
        }
        for (number, attempt) in &attempts {
            if number % 2 == 0 {
                self.report(attempt, |what| matches!(what, What::StepStarted { .. })).await;
                let control = Control::Abandon { job: attempt.job, attempt: attempt.attempt };
                self.scheduler.put_control(&runner_id(), &control).await.unwrap();
            } else {
                let end = self.end(attempt).await;
                assert!(matches!(end, What::TimedOut { .. }), "{end:?}");
            }
        }
        self.clean().await;
        let folder = self.fixture.dir.path().join("runner").canonicalize().unwrap();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
        let mut beats = self.scheduler.follow_runner_beats();
        let trash = || std::fs::read_dir(folder.join("trash")).unwrap().count();
        soon("an empty trash", async {
            while trash() > 0 {
                beats.next().await.unwrap();
            }
        })
        .await;
        runner.end().await;
        let labelled = |what: &str| {
            let filter = format!("label=patchwave.home={}", folder.display());
            let arguments = [what, "ls", "--quiet", "--filter", &filter].map(str::to_owned);
            let all = if what == "container" { vec!["--all".to_owned()] } else { vec![] };
            let output = std::process::Command::new("docker").args(arguments).args(all).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for what in ["container", "network", "volume"] {
            assert_eq!(labelled(what), "", "{what}s are left");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_fifty_aborted_jobs() {
    let mut world = World::new().await;
    let runner = world.start(world.config(10)).await;
    world.abort(runner, 50).await;
    world.close_broker().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes many minutes: `make soak`"]
async fn nothing_is_left_of_a_thousand_aborted_jobs() {
    let mut world = World::new().await;
    let runner = world.start(world.config(20)).await;
    world.abort(runner, 1_000).await;
    world.close_broker().await;
}
