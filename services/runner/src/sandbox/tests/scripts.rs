//! What a script gets and what comes out of it.

use std::time::{Duration, Instant};

use super::*;

#[tokio::test]
async fn the_output_is_the_very_bytes() {
    let world = World::new().await;
    let script = r"
        head -c 5000000 /dev/zero | tr '\0' x
        printf 'a\000\001\002\003\377\r\n\n'
        printf '\001\000\000\000\000\000\000\005error' >&2
        head -c 1000000 /dev/zero >&2
    ";
    for (code, heard) in world.both(script).await {
        assert_eq!(code, 0);
        let mut wanted = vec![b'x'; 5_000_000];
        wanted.extend_from_slice(b"a\x00\x01\x02\x03\xff\r\n\n");
        assert!(heard.stdout() == wanted);
        let mut wanted = b"\x01\0\0\0\0\0\0\x05error".to_vec();
        wanted.resize(wanted.len() + 1_000_000, 0);
        assert!(heard.stderr() == wanted);
    }
}

#[tokio::test]
async fn the_exit_code_is_the_scripts_or_the_signals() {
    let world = World::new().await;
    let idle = world.idle().await;
    for (script, wanted) in [
        ("true", 0),
        ("exit 3", 3),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("no-such-tool 2>&-", 127),
    ] {
        let heard = Heard::default();
        assert_eq!(idle.run_script(script, &[], &mut heard.clone()).await.unwrap(), wanted, "{script}");
        let main = world.container(one(script)).await;
        assert_eq!(main.run_main(&mut heard.clone()).await.unwrap(), wanted, "{script}");
        assert_eq!((heard.text(), heard.stderr()), (String::new(), vec![]), "{script}");
        main.remove().await.unwrap();
    }
}

#[tokio::test]
async fn a_script_may_be_large_and_has_no_input() {
    let world = World::new().await;
    let script = format!("cat; echo one; : {}\necho two", "y".repeat(300_000));
    for (code, heard) in world.both(&script).await {
        assert_eq!((code, heard.text().as_str()), (0, "one\ntwo\n"));
    }
}

#[tokio::test]
async fn steps_of_one_container_see_what_the_others_did() {
    let world = World::new().await;
    let idle = world.idle().await;
    let heard = Heard::default();
    let script = "echo hello > /work/a; echo tool > /usr-tool; cd /; export LEAK=1";
    assert_eq!(idle.run_script(script, &[], &mut heard.clone()).await.unwrap(), 0);
    let script = "cat /work/a /usr-tool; pwd; echo ${LEAK-none}";
    assert_eq!(idle.run_script(script, &[], &mut heard.clone()).await.unwrap(), 0);
    assert_eq!(heard.text(), "hello\ntool\n/work\nnone\n");
    assert_eq!(std::fs::read(world.folder("files").join("a")).unwrap(), b"hello\n");
}

#[tokio::test]
async fn a_step_is_over_when_its_process_is() {
    let world = World::new().await;
    let began = Instant::now();
    let heard = Heard::default();
    let idle = world.idle().await;
    let script = "sleep 1000 & echo $! > /work/pid; echo said";
    assert_eq!(idle.run_script(script, &[], &mut heard.clone()).await.unwrap(), 0);
    // What it left behind is there for the next step, until the container goes.
    assert_eq!(idle.run_script("kill -0 $(cat /work/pid)", &[], &mut heard.clone()).await.unwrap(), 0);
    // One that never stops talking holds nobody up either.
    let script = "(while :; do echo noise; done) & exit 5";
    assert_eq!(idle.run_script(script, &[], &mut Heard::default()).await.unwrap(), 5);
    let main = world.container(one("sleep 1000 & echo said")).await;
    assert_eq!(main.run_main(&mut heard.clone()).await.unwrap(), 0);
    assert_eq!(heard.text(), "said\nsaid\n");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_process_that_closed_its_output_is_waited_for() {
    let world = World::new().await;
    for (code, heard) in world.both("exec >&- 2>&-; sleep 1; exit 9").await {
        assert_eq!((code, heard.text().as_str()), (9, ""));
    }
}

#[tokio::test]
async fn orphans_do_not_pile_up() {
    let world = World::new().await;
    let script = "
        for i in $(seq 50); do (setsid true &); done
        while cat /proc/[0-9]*/stat 2>/dev/null | grep -q ') Z'; do :; done
        echo none
    ";
    for (code, heard) in world.both(script).await {
        assert_eq!((code, heard.text().as_str()), (0, "none\n"));
    }
}

#[tokio::test]
async fn the_image_s_own_program_can_run_with_other_arguments() {
    let world = World::new().await;
    busybox(&world.engine).await;
    let dockerfile = "FROM sandbox-test:busybox\nENTRYPOINT [\"echo\", \"own\"]\nCMD [\"words\"]\n";
    let source = ImageSource::Dockerfile(format!("{dockerfile}# {}\n", world.runner));
    let image = world.engine.image(&source, GRANT, &mut |_| ()).await.unwrap();
    let env = vec![("WORD".to_owned(), "w".to_owned())];
    let other = Some(vec!["-n".to_owned(), "other".to_owned()]);
    let command = ["sh", "-c", "echo $WORD"].map(str::to_owned).to_vec();
    let mut heard = Heard::default();
    for main in [
        Main::Entrypoint { args: None, env: env.clone() },
        Main::Entrypoint { args: other, env: env.clone() },
        Main::Command { command, env },
    ] {
        let container = world.container_of(&image, main).await.unwrap();
        assert_eq!(container.run_main(&mut heard).await.unwrap(), 0);
        container.remove().await.unwrap();
    }
    assert_eq!(heard.text(), "own words\nown -n other\nw\n");
    forget(&world.engine, &image.id).await;
}

#[tokio::test]
async fn an_output_that_is_read_slowly_is_complete() {
    struct Slow(usize);
    impl Output for Slow {
        fn write(&mut self, _: Stream, bytes: Bytes) -> BoxFuture<'_, ()> {
            let first = self.0 == 0;
            self.0 += bytes.len();
            async move {
                if first {
                    // This is about time: the engine closes what is not read, but not so soon.
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            .boxed()
        }
    }
    let world = World::new().await;
    let script = "head -c 3000000 /dev/zero";
    let mut slow = Slow(0);
    assert_eq!(world.idle().await.run_script(script, &[], &mut slow).await.unwrap(), 0);
    assert_eq!(slow.0, 3_000_000);
    let mut slow = Slow(0);
    assert_eq!(world.container(one(script)).await.run_main(&mut slow).await.unwrap(), 0);
    assert_eq!(slow.0, 3_000_000);
}

/// Runs scripts in one container until one fails, and returns their exit codes and what each wrote.
async fn run_many(world: &World, scripts: &[&str]) -> (Vec<i64>, Vec<Heard>) {
    let container = world.container(many(scripts)).await;
    let mut running = container.start_scripts().await.unwrap();
    let (mut codes, mut heard) = (Vec::new(), Vec::new());
    for _ in scripts {
        let said = Heard::default();
        codes.push(running.next(&mut said.clone()).await.unwrap());
        heard.push(said);
        if codes.last() != Some(&0) {
            break;
        }
    }
    running.finish().await.unwrap();
    container.remove().await.unwrap();
    (codes, heard)
}

#[tokio::test]
async fn scripts_of_one_container_are_told_apart_by_their_pipes() {
    let world = World::new().await;
    // Bytes of one never count as the other's, whatever they look like; what one leaves behind may write on, and lives.
    let first = "
        echo 0; printf '0\n' >&2; cd /; export LEAK=1; n=7; echo hello >/work/a
        (while :; do echo noise; usleep 1000; done) & echo $! >/work/pid
    ";
    let second = "echo ${LEAK-none} ${n-none}; pwd; kill -0 $(cat /work/pid) && echo lives; exit 0";
    let third = "cat; cat /work/a; exec >&- 2>&-; sleep 1; kill -TERM $$";
    let (codes, heard) = run_many(&world, &[first, second, third, "echo never"]).await;
    assert_eq!(codes[0], 0);
    assert!(heard[0].text().starts_with("0\n") && heard[0].stderr() == b"0\n", "{}", heard[0].text());
    let said: Vec<String> = heard[1..].iter().map(Heard::text).collect();
    assert_eq!(said, ["none none\n/work\nlives\n", "hello\n"]);
    assert_eq!(codes[2..], [143]);
}

#[tokio::test]
async fn scripts_that_are_killed_end_and_no_other_begins() {
    let world = World::new().await;
    let container = world
        .container(many(&["trap 'exit 0' TERM; echo ready; while :; do sleep 1; done", "touch /work/ran"]))
        .await;
    let mut running = container.start_scripts().await.unwrap();
    let heard = Heard::default();
    let kill = async {
        heard.until("ready").await;
        container.kill(Duration::from_secs(2)).await.unwrap();
    };
    let mut said = heard.clone();
    let (code, ()) = futures::join!(running.next(&mut said), kill);
    assert_eq!(code.unwrap(), 0);
    assert_eq!(running.next(&mut Heard::default()).await.unwrap(), 137);
    assert!(!world.folder("files").join("ran").exists());
}
