//! What is left when the catalog dies.

use std::net::TcpListener;

use events::subject;

use crate::repository::Repository;
use crate::source;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_was_cut_off_is_resolved_once() {
    let mut world = World::new().await;
    let app = Repository::new(&world.path("app"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("git://{}/app", silent.local_addr().unwrap());
    let id = world.request(&[app.text(), url]).await;
    silent.accept().unwrap();
    world.kill().await;
    drop(silent);
    let later = world.request(&[app.text()]).await;
    world.start().await;
    let (resolved, scope) = world.resolved(id).await;
    assert_eq!((resolved.workspaces, resolved.unreachable), (1, 1));
    source::check(&world, &scope.workspaces[0], &app).await;
    world.resolved(later).await;

    // Neither an orderly restart nor one without the snapshot does it again.
    world.stop().await;
    world.start().await;
    world.run(&[app.text()]).await;
    world.stop().await;
    std::fs::remove_dir_all(world.catalog_dir()).unwrap();
    world.start().await;
    world.run(&[app.text()]).await;
    let names: Vec<_> = world
        .events(&subject::execution_story(id))
        .await
        .iter()
        .map(|recorded| recorded.event.name())
        .collect();
    assert_eq!(names, ["requested", "resolved"]);
    let names: Vec<_> =
        world.events("ev.repository.>").await.iter().map(|recorded| recorded.event.name()).collect();
    assert_eq!(names, ["registered", "head_moved"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_death_at_any_time_changes_nothing() {
    let mut world = World::new().await;
    let repositories: Vec<Repository> =
        (0..20).map(|number| Repository::new(&world.path(&format!("r/{number}")))).collect();
    let texts: Vec<String> = repositories.iter().map(Repository::text).collect();
    let id = world.request(&texts).await;
    // Killed again and again, each time after one more thing has got into the log.
    for seen in 1..10 {
        let mut events =
            world.gateway.follow_events(&["ev.repository.>".to_owned()], broker::Start::After(0));
        let mut count = 0;
        while count < seen {
            count += events.next().await.unwrap().messages.len();
        }
        world.kill().await;
        world.start().await;
    }
    let (resolved, scope) = world.resolved(id).await;
    assert_eq!(resolved.workspaces, 20);
    for (workspace, repository) in scope.workspaces.iter().zip(&repositories) {
        source::check(&world, workspace, repository).await;
    }
    let events = world.events("ev.repository.>").await;
    assert_eq!(events.len(), 40, "each repository was registered once, and its head moved once");
    let names: Vec<_> = world
        .events(&subject::execution_story(id))
        .await
        .iter()
        .map(|recorded| recorded.event.name())
        .collect();
    assert_eq!(names, ["requested", "resolved"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_written_delays_and_loses_nothing() {
    let world = World::new().await;
    let app = Repository::new(&world.path("app"));
    world.run(&[app.text()]).await;
    app.commit("a", "a");
    let scratch = world.catalog_dir().join("scratch");
    std::fs::remove_dir(&scratch).unwrap();
    std::fs::write(&scratch, "in the way").unwrap();
    let id = world.request(&[app.text()]).await;
    // Another execution that needs no scratch shows that the first was tried.
    world.run(&["/nowhere"]).await;
    std::fs::remove_file(&scratch).unwrap();
    std::fs::create_dir(&scratch).unwrap();
    let (resolved, scope) = world.resolved(id).await;
    assert_eq!((resolved.workspaces, resolved.unreachable), (1, 0));
    source::check(&world, &scope.workspaces[0], &app).await;
    world.end().await;
}
