//! Repositories on this machine.

use std::os::unix::ffi::OsStrExt as _;

use events::document::SkipReason;
use events::id::RepositoryId;
use events::repository::Event as RepositoryEvent;
use events::{Aggregate, Event, subject};

use crate::repository::{Repository, git};
use crate::source;
use crate::world::{World, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_work_tree_and_a_bare_repository_are_pinned_and_packed() {
    let world = World::new().await;
    let app = Repository::new(&world.path("app"));
    app.commit("src/main.rs", "fn main() {}\n");
    app.git(&["commit-graph", "write", "--reachable"]);
    app.git(&["gc", "-q"]);
    // Not committed, so not what a job works on.
    std::fs::write(app.path.join("README"), "changed\n").unwrap();
    git(world.dir.path(), &["clone", "-q", "--bare", "app", "lib.git"]);
    let (bare, inner) = (text(&world.path("lib.git")), format!("{}/.git", app.text()));
    std::os::unix::fs::symlink(&app.path, world.path("link")).unwrap();

    let id = world
        .request(&[&app.text(), &bare, &format!("{}/", app.text()), &inner, &text(&world.path("link"))])
        .await;
    let (resolved, scope) = world.resolved(id).await;
    assert_eq!((resolved.workspaces, resolved.skipped, resolved.unreachable), (2, 0, 0));
    let shown: Vec<_> =
        scope.workspaces.iter().map(|w| (w.repository.as_str(), w.url.as_str(), w.path.as_str())).collect();
    assert_eq!(shown, [("app", app.text().as_str(), ""), ("lib", bare.as_str(), "")]);
    for workspace in &scope.workspaces {
        assert_eq!(
            (workspace.base_ref.as_str(), workspace.base_oid.as_str()),
            ("refs/heads/main", app.oid("HEAD").as_str())
        );
        source::check(&world, workspace, &app).await;
    }

    let story =
        world.events(&subject::aggregate_filter(&Aggregate::Repository(RepositoryId::at(&app.text())))).await;
    let [registered, moved] = story.as_slice() else { panic!("{story:?}") };
    assert!(
        matches!(&registered.event, Event::Repository(RepositoryEvent::Registered(r)) if r.name == "app" && r.url == app.text())
    );
    assert!(
        matches!(&moved.event, Event::Repository(RepositoryEvent::HeadMoved(m)) if m.oid.as_str() == app.oid("HEAD"))
    );
    assert_eq!(moved.correlation, id.to_string());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_execution_pins_the_commit_that_is_new_then() {
    let world = World::new().await;
    let app = Repository::new(&world.path("app"));
    let first = world.run(&[app.text()]).await;
    let same = world.run(&[app.text()]).await;
    assert_eq!(first, same);
    let oid = app.commit("README", "hello again\n");
    let second = world.run(&[app.text()]).await;
    assert_eq!(second.workspaces[0].base_oid.as_str(), oid);
    source::check(&world, &second.workspaces[0], &app).await;
    let names: Vec<_> =
        world.events("ev.repository.>").await.iter().map(|recorded| recorded.event.name()).collect();
    assert_eq!(names, ["registered", "head_moved", "head_moved"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_worked_on_is_skipped_with_what_to_do() {
    let world = World::new().await;
    let empty = Repository::empty(&world.path("empty"));
    let detached = Repository::new(&world.path("detached"));
    detached.git(&["checkout", "-q", "--detach"]);
    let unborn = Repository::new(&world.path("unborn"));
    unborn.git(&["symbolic-ref", "HEAD", "refs/heads/nowhere"]);
    let ignored = Repository::new(&world.path("ignored"));
    ignored.commit(".batchignore", "");
    std::fs::create_dir(world.path("plain")).unwrap();
    let damaged = Repository::new(&world.path("damaged"));
    let blob = damaged.oid("HEAD:README");
    std::fs::remove_file(damaged.path.join(".git/objects").join(&blob[..2]).join(&blob[2..])).unwrap();

    use SkipReason::{Empty, Ignored, NoBranch, Unreachable};
    for (repository, reason, words) in [
        (empty.text(), Empty, "has no commits"),
        (detached.text(), NoBranch, "HEAD is detached"),
        (unborn.text(), NoBranch, "default branch does not exist"),
        (ignored.text(), Ignored, ".batchignore"),
        (text(&world.path("plain")), Unreachable, "not a git repository"),
        (text(&world.path("gone")), Unreachable, "There is nothing at"),
        (
            format!("{}/.git/refs", ignored.text()),
            Unreachable,
            "lies inside a repository. Give its top folder",
        ),
        (damaged.text(), Unreachable, "cannot be read"),
        ("app/relative".to_owned(), Unreachable, "neither a clone URL nor an absolute path"),
        ("ext::sh -c id".to_owned(), Unreachable, "not allowed"),
    ] {
        let (was, message) = world.skip(&repository).await;
        assert!(was == reason && message.contains(words), "{repository}: {was:?} {message}");
    }
    let (resolved, _) = world.resolved(world.request(&[empty.text(), text(&world.path("gone"))]).await).await;
    assert_eq!((resolved.workspaces, resolved.skipped, resolved.unreachable), (0, 1, 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_regular_file_at_the_root_keeps_a_repository_out() {
    let world = World::new().await;
    let folder = Repository::new(&world.path("folder"));
    folder.commit(".batchignore/x", "");
    let link = Repository::new(&world.path("link"));
    std::os::unix::fs::symlink("README", link.path.join(".batchignore")).unwrap();
    link.commit_all();
    let below = Repository::new(&world.path("below"));
    below.commit("sub/.batchignore", "");
    let untracked = Repository::new(&world.path("untracked"));
    std::fs::write(untracked.path.join(".batchignore"), "").unwrap();
    let scope = world.run(&[folder.text(), link.text(), below.text(), untracked.text()]).await;
    assert_eq!(scope.skipped, []);
    assert_eq!(scope.workspaces.len(), 4);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repositories_never_share_a_name() {
    let world = World::new().await;
    let (one, two) = (Repository::new(&world.path("one/app")), Repository::new(&world.path("two/app")));
    let scope = world.run(&[one.text(), two.text()]).await;
    let names: Vec<_> = scope.workspaces.iter().map(|workspace| workspace.repository.as_str()).collect();
    assert_eq!(names, ["one/app", "two/app"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_trees_survive_the_way() {
    let world = World::new().await;
    let strange = Repository::new(&world.path("strange"));
    let name = std::ffi::OsStr::from_bytes(b"not \xff utf-8\n");
    std::fs::write(strange.path.join(name), b"\x00\xff").unwrap();
    std::fs::write(strange.path.join("run"), "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(strange.path.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .unwrap();
    std::os::unix::fs::symlink("/etc/passwd", strange.path.join("link")).unwrap();
    let module = Repository::new(&world.path("module"));
    strange.git(&["submodule", "add", "-q", &module.text(), "module"]);
    strange.commit_all();
    let newer = world.path("newer");
    std::fs::create_dir(&newer).unwrap();
    git(&newer, &["init", "-q", "--object-format", "sha256"]);
    let newer = Repository { path: newer };
    newer.commit("README", "hello\n");

    let scope = world.run(&[strange.text(), newer.text()]).await;
    source::check(&world, &scope.workspaces[0], &strange).await;
    source::check(&world, &scope.workspaces[1], &newer).await;
    assert_eq!(scope.workspaces[1].base_oid.as_str().len(), 64);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_linked_work_tree_and_a_shallow_clone_work() {
    let world = World::new().await;
    let app = Repository::new(&world.path("app"));
    app.commit("a", "a");
    app.git(&["worktree", "add", "-q", "-b", "next", &text(&world.path("linked"))]);
    let linked = Repository { path: world.path("linked") };
    let oid = linked.commit("b", "b");
    git(world.dir.path(), &["clone", "-q", "--depth=1", &format!("file://{}", app.text()), "shallow"]);
    let shallow = Repository { path: world.path("shallow") };
    let scope = world.run(&[linked.text(), shallow.text()]).await;
    assert_eq!(scope.workspaces[0].base_ref.as_str(), "refs/heads/next");
    assert_eq!(scope.workspaces[0].base_oid.as_str(), oid);
    source::check(&world, &scope.workspaces[0], &linked).await;
    source::check(&world, &scope.workspaces[1], &shallow).await;
    world.end().await;
}
