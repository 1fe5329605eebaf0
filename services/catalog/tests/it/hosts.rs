//! Repositories on hosts.

use std::net::TcpListener;

use events::document::SkipReason;

use crate::http::Host;
use crate::repository::{Repository, git};
use crate::source;
use crate::world::{World, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_on_a_host_is_mirrored_and_fetched_again_when_it_moves() {
    let world = World::new().await;
    let work = Repository::new(&world.path("work"));
    work.commit("a", "a");
    std::fs::create_dir(world.path("host")).unwrap();
    git(world.dir.path(), &["clone", "-q", "--bare", "work", "host/app.git"]);
    let host = Host::serve(&world.path("host"));
    let url = host.url("app.git");

    let first = world.run(&[&url, &host.url("app")]).await;
    let [workspace] = first.workspaces.as_slice() else { panic!("{first:?}") };
    assert_eq!(
        (workspace.repository.as_str(), workspace.url.as_str()),
        (format!("{}/app", host.address).as_str(), url.as_str())
    );
    assert_eq!(workspace.base_ref.as_str(), "refs/heads/main");
    source::check(&world, workspace, &work).await;
    assert_eq!(world.run(&[&url]).await, first);

    for round in 0..20 {
        let oid = work.commit("a", &format!("{round}"));
        work.git(&["push", "-q", &text(&world.path("host/app.git")), "main"]);
        let scope = world.run(&[&url]).await;
        assert_eq!(scope.workspaces[0].base_oid.as_str(), oid);
        source::check(&world, &scope.workspaces[0], &work).await;
    }
    // Tidied on the way: it does not grow with every commit.
    let mirror = mirror(&world);
    assert!(packs(&mirror) <= 16, "{} packs", packs(&mirror));

    // A mirror is a cache, whatever is wrong with it.
    for (round, damage) in ["config", "shallow.lock", "objects"].into_iter().enumerate() {
        match damage {
            "objects" => std::fs::remove_dir_all(mirror.join("objects")).unwrap(),
            file => std::fs::write(mirror.join(file), "[nonsense").unwrap(),
        }
        let oid = work.commit("b", &format!("{round}"));
        work.git(&["push", "-q", &text(&world.path("host/app.git")), "main"]);
        let scope = world.run(&[&url]).await;
        assert_eq!(scope.skipped, []);
        assert_eq!(scope.workspaces[0].base_oid.as_str(), oid);
        source::check(&world, &scope.workspaces[0], &work).await;
    }
    world.end().await;
}

fn mirror(world: &World) -> std::path::PathBuf {
    let mirrors = std::fs::read_dir(world.catalog_dir().join("mirrors")).unwrap();
    let mut mirrors = mirrors.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    mirrors.next().unwrap()
}

fn packs(mirror: &std::path::Path) -> usize {
    let packs = std::fs::read_dir(mirror.join("objects/pack")).unwrap();
    packs.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "pack")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_does_not_give_is_skipped_with_what_to_do() {
    let world = World::new().await;
    std::fs::create_dir(world.path("host")).unwrap();
    git(&world.path("host"), &["init", "-q", "--bare", "empty.git"]);
    let other = Repository::new(&world.path("other"));
    other.git(&["branch", "-q", "next"]);
    git(world.dir.path(), &["clone", "-q", "--bare", "other", "host/dangling.git"]);
    git(&world.path("host/dangling.git"), &["symbolic-ref", "HEAD", "refs/heads/nowhere"]);
    git(world.dir.path(), &["clone", "-q", "--bare", "other", "host/detached.git"]);
    std::fs::write(world.path("host/detached.git/HEAD"), format!("{}\n", other.oid("HEAD"))).unwrap();
    let host = Host::serve(&world.path("host"));
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    use SkipReason::{Empty, NoBranch, Unreachable};
    for (url, reason, words) in [
        (host.url("empty.git"), Empty, "has no commits"),
        (host.url("dangling.git"), NoBranch, "default branch does not exist"),
        (host.url("detached.git"), NoBranch, "HEAD is detached"),
        (host.url("gone.git"), Unreachable, "not found"),
        (host.url("private/app.git"), Unreachable, "cannot be read yet"),
        (format!("http://{nobody}/app"), Unreachable, "Check the address"),
        (format!("git://{nobody}/app"), Unreachable, "Connection refused"),
        ("https://anna:hunter2@example.org/app".to_owned(), Unreachable, "a user name or a password"),
    ] {
        let (was, message) = world.skip(&url).await;
        assert!(was == reason && message.contains(words), "{url}: {was:?} {message}");
        assert!(!message.contains("hunter2"));
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_never_answers_holds_up_nobody_else() {
    let world = World::new().await;
    let app = Repository::new(&world.path("app"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |name: usize| format!("git://{}/{name}", silent.local_addr().unwrap());
    let mut stuck: Vec<String> = (0..100).map(url).collect();
    stuck.push(app.text());
    let slow = world.request(&stuck).await;
    silent.accept().unwrap();
    let scope = world.run(&[app.text()]).await;
    assert_eq!(scope.workspaces.len(), 1);
    // Nobody listens any more: all that waited ends.
    drop(silent);
    let (resolved, _) = world.resolved(slow).await;
    assert_eq!((resolved.workspaces, resolved.unreachable), (1, 100));
    world.end().await;
}
