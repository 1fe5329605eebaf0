//! How containers end: killed, left over, or with their engine.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use super::*;

const LONG: Duration = Duration::from_secs(60);

/// A script of four processes, two of them in a session of their own, that ignore what can be ignored. It says that it is
/// ready once all are there.
const STUBBORN: &str = "
    trap '' TERM
    sleep 1000 &
    setsid sh -c 'trap \"\" TERM; sleep 1000 & echo ready; wait' &
    wait
";

/// The processes of the host that belong to a container.
fn processes(container: &Container) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let groups = all.filter_map(|entry| std::fs::read_to_string(entry.path().join("cgroup")).ok());
    groups.filter(|groups| groups.contains(container.id())).count()
}

#[tokio::test]
async fn a_kill_ends_the_whole_tree() {
    let world = World::new().await;
    let (idle, main) = (world.idle().await, world.container(one(STUBBORN)).await);
    let (mut in_idle, mut in_main) = (Heard::default(), Heard::default());
    let (heard_idle, heard_main) = (in_idle.clone(), in_main.clone());
    let kill = async {
        heard_idle.until("ready").await;
        heard_main.until("ready").await;
        assert!(processes(&idle) >= 4 && processes(&main) >= 4);
        let grace = Duration::from_millis(300);
        futures::try_join!(idle.kill(grace), main.kill(grace)).unwrap();
        assert_eq!((processes(&idle), processes(&main)), (0, 0));
    };
    let run =
        async { futures::join!(idle.run_script(STUBBORN, &[], &mut in_idle), main.run_main(&mut in_main)) };
    let ((idle_code, main_code), ()) =
        tokio::time::timeout(LONG, futures::future::join(run, kill)).await.unwrap();
    assert_eq!((idle_code.unwrap(), main_code.unwrap()), (137, 137));
    // Nothing starts in it any more, and to kill it again is no error.
    assert_eq!(idle.run_script("true", &[], &mut Heard::default()).await.unwrap(), 137);
    idle.kill(LONG).await.unwrap();
}

#[tokio::test]
async fn a_kill_lets_a_step_end_itself_first() {
    let world = World::new().await;
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 1; done";
    let (idle, main) = (world.idle().await, world.container(one(script)).await);
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let own = world.container(Main::Command { command, env: vec![] }).await;
    let heard = [Heard::default(), Heard::default(), Heard::default()];
    let [mut first, mut second, mut third] = heard.clone();
    let run = async {
        futures::try_join!(
            idle.run_script(script, &[], &mut first),
            main.run_main(&mut second),
            own.run_main(&mut third)
        )
        .unwrap()
    };
    let kill = async {
        for heard in &heard {
            heard.until("ready").await;
        }
        futures::try_join!(idle.kill(LONG), main.kill(LONG), own.kill(LONG)).unwrap();
    };
    let (codes, ()) = tokio::time::timeout(LONG, futures::future::join(run, kill)).await.unwrap();
    assert_eq!(codes, (7, 7, 7));
    for heard in heard {
        assert_eq!(heard.text(), "ready\nbye\n");
    }
}

#[tokio::test]
async fn what_is_killed_before_it_starts_never_starts() {
    let world = World::new().await;
    let (idle, main) = (world.container(Main::Idle).await, world.container(one("touch /work/ran")).await);
    idle.kill(LONG).await.unwrap();
    main.kill(LONG).await.unwrap();
    idle.start().await.unwrap();
    assert_eq!(idle.run_script("touch /work/ran", &[], &mut Heard::default()).await.unwrap(), 137);
    assert_eq!(main.run_main(&mut Heard::default()).await.unwrap(), 137);
    assert!(!world.folder("files").join("ran").exists());
    idle.remove().await.unwrap();
    main.clone().remove().await.unwrap();
    main.remove().await.unwrap();
}

#[tokio::test]
async fn only_this_runners_leftovers_are_removed() {
    let world = World::new().await;
    let elsewhere = tempfile::tempdir().unwrap();
    let namesake = Engine::connect(&EngineOptions::default(), &world.runner, elsewhere.path()).await.unwrap();
    let other = World::new().await;
    let (kept, left) = (world.idle().await, other.idle().await);
    let keep = |attempt: &Running| *attempt == world.attempt;
    assert_eq!(namesake.remove_leftovers(|_| false).await.unwrap(), 0);
    assert_eq!(world.engine.remove_leftovers(keep).await.unwrap(), 0);
    assert_eq!(other.engine.remove_leftovers(keep).await.unwrap(), 1);
    assert_eq!(kept.run_script("true", &[], &mut Heard::default()).await.unwrap(), 0);
    assert_eq!(processes(&left), 0);
    let gone = left.run_script("true", &[], &mut Heard::default()).await;
    assert!(matches!(gone, Err(Trouble::Engine(_))), "{gone:?}");
    assert_eq!(world.engine.remove_leftovers(|_| false).await.unwrap(), 1);
}

#[tokio::test]
async fn an_attempt_that_begins_while_leftovers_are_looked_for_keeps_its_container() {
    let world = World::new().await;
    let container = world.idle().await;
    let begun = AtomicBool::new(false);
    let busy = world.engine.networks().lock().await;
    let sweep = world.engine.remove_leftovers(|_| begun.load(Ordering::Relaxed));
    let begin = async {
        begun.store(true, Ordering::Relaxed);
        drop(busy);
    };
    let (removed, ()) = tokio::join!(sweep, begin);
    assert_eq!(removed.unwrap(), 0);
    assert_eq!(container.run_script("true", &[], &mut Heard::default()).await.unwrap(), 0);
}

/// The options for an engine at this address.
fn at(host: &str) -> EngineOptions {
    EngineOptions { host: Some(host.to_owned()), ..EngineOptions::default() }
}

#[tokio::test]
async fn an_engine_that_cannot_be_reached_says_what_to_do() {
    let world = World::new().await;
    let missing = format!("unix://{}/none.sock", world.dir.path().display());
    let deaf = world.dir.path().join("deaf.sock");
    drop(UnixListener::bind(&deaf).unwrap());
    let text = |host: String| async move {
        let runner = "test-away".parse().unwrap();
        format!("{:#}", Engine::connect(&at(&host), &runner, Path::new("/x")).await.err().unwrap())
    };
    for host in [missing, format!("unix://{}", deaf.display()), "tcp://127.0.0.1:1".to_owned()] {
        let text = text(host.clone()).await;
        assert!(text.contains(&host) && text.contains("systemctl start docker"), "{text}");
    }
    let text = text("ssh://somewhere".to_owned()).await;
    assert!(text.contains("neither unix:// nor tcp://"), "{text}");
}

/// Stands between the runner and the engine until it is dropped.
async fn proxied(world: &World) -> (Engine, tokio::task::JoinHandle<()>) {
    let path = world.dir.path().join("engine.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let proxy = tokio::spawn(async move {
        let mut pairs = tokio::task::JoinSet::new();
        while let Ok((mut near, _)) = listener.accept().await {
            pairs.spawn(async move {
                let mut far = UnixStream::connect("/var/run/docker.sock").await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    let host = format!("unix://{}", path.display());
    (Engine::connect(&at(&host), &world.runner, world.dir.path()).await.unwrap(), proxy)
}

#[tokio::test]
async fn an_engine_that_goes_away_ends_the_attempt_at_once() {
    let mut world = World::new().await;
    let (engine, proxy) = proxied(&world).await;
    world.engine = engine;
    let script = "echo ready; sleep 1000";
    let (idle, main) = (world.idle().await, world.container(one(script)).await);
    let heard = [Heard::default(), Heard::default()];
    let [mut first, mut second] = heard.clone();
    let run = async { futures::join!(idle.run_script(script, &[], &mut first), main.run_main(&mut second)) };
    let cut = async {
        heard[0].until("ready").await;
        heard[1].until("ready").await;
        proxy.abort();
    };
    let (results, ()) = tokio::time::timeout(LONG, futures::future::join(run, cut)).await.unwrap();
    for result in [results.0, results.1] {
        match result {
            Err(Trouble::Engine(error)) => {
                let text = format!("{error:#}");
                assert!(text.contains("systemctl start docker"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(world.engine.ping().await.is_err());
}
