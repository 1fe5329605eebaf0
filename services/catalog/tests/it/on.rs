//! What a definition's `on` says.

use events::document::SkipReason;

use crate::http::Host;
use crate::repository::{Repository, git};
use crate::source;
use crate::world::World;

fn definition(on: &str) -> String {
    let rest = "steps:\n  - run: echo\n    container: alpine\nchangesetTemplate:\n  title: t\n  body: b\n  branch: x\n  \
                commit:\n    message: m\n";
    format!("name: tidy\ndescription: d\non:\n{on}{rest}")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_branch_that_is_named_gets_a_workspace() {
    let world = World::new().await;
    let app = Repository::new(&world.path("app"));
    app.git(&["branch", "-q", "old"]);
    app.git(&["switch", "-q", "-c", "next"]);
    app.commit("next", "next");
    std::fs::create_dir(world.path("host")).unwrap();
    git(world.dir.path(), &["clone", "-q", "--bare", "app", "host/app.git"]);
    let host = Host::serve(&world.path("host"));

    for place in [app.text(), host.url("app.git")] {
        let on = format!("  - repository: {place}\n    branches: [main, next, gone, old]\n");
        let id = world.request_as(&definition(&on), &[] as &[&str]).await;
        let (resolved, scope) = world.resolved(id).await;
        assert_eq!((resolved.workspaces, resolved.skipped, resolved.unreachable), (3, 1, 0), "{scope:?}");
        for (workspace, branch) in scope.workspaces.iter().zip(["main", "next", "old"]) {
            assert_eq!(workspace.base_ref.short(), branch);
            assert_eq!(workspace.base_oid.as_str(), app.oid(branch));
            source::check(&world, workspace, &app).await;
        }
        // The branches are different places to work at, and the commit that two of them share is stored once.
        assert_eq!(scope.workspaces[0].source, scope.workspaces[2].source);
        assert_eq!(scope.skipped[0].reason, SkipReason::NoBranch);
        assert!(scope.skipped[0].message.contains("no branch `gone`"), "{scope:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_registered_is_enough_and_a_search_is_refused() {
    let world = World::new().await;
    let app = Repository::new(&world.path("x/app"));
    world.run(&[app.text()]).await;
    let on = "  - repository: app\n  - repositoriesMatchingQuery: lang:go\n";
    let (resolved, scope) = world.resolved(world.request_as(&definition(on), &[] as &[&str]).await).await;
    assert_eq!((resolved.workspaces, resolved.skipped, resolved.unreachable), (1, 0, 1), "{scope:?}");
    assert_eq!(scope.workspaces[0].url, app.text());
    assert!(scope.skipped[0].message.starts_with("Searches are not supported yet"), "{scope:?}");

    let (_, scope) = world.resolved(world.request_as("nonsense: [", &[] as &[&str]).await).await;
    assert!(scope.skipped[0].message.contains("cannot be read any more"), "{scope:?}");
    world.end().await;
}
