//! Several workspaces in one repository, and none.

use events::document::{Scope, SkipReason};

use crate::http::Host;
use crate::repository::{Repository, git};
use crate::world::World;

/// A definition with these workspaces and one step, which has this `if`.
fn definition(workspaces: &str, condition: &str) -> String {
    format!(
        "name: tidy\ndescription: d\nworkspaces:\n{workspaces}steps:\n  - run: echo\n    container: alpine\n    if: {condition}\n\
         changesetTemplate:\n  title: t\n  body: b\n  branch: x-${{{{ steps.path }}}}\n  commit:\n    message: m\n"
    )
}

fn paths(scope: &Scope) -> Vec<&str> {
    scope.workspaces.iter().map(|workspace| workspace.path.as_str()).collect()
}

fn skips(scope: &Scope) -> Vec<(SkipReason, &str)> {
    scope.skipped.iter().map(|skipped| (skipped.reason, skipped.message.as_str())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_folder_with_the_file_is_a_workspace() {
    let world = World::new().await;
    let mono = Repository::new(&world.path("mono"));
    for path in
        ["package.json", "b/package.json", "a/deep/package.json", "a/not-package.json", "ü/package.json"]
    {
        mono.commit(path, "{}");
    }
    std::fs::create_dir(world.path("host")).unwrap();
    git(world.dir.path(), &["clone", "-q", "--bare", "mono", "host/mono.git"]);
    let host = Host::serve(&world.path("host"));
    let text = definition("  - rootAtLocationOf: package.json\n", "true");
    for place in [mono.text(), host.url("mono.git")] {
        let (_, scope) = world.resolved(world.request_as(&text, &[&place]).await).await;
        assert_eq!(paths(&scope), ["", "a/deep", "b", "ü"], "{scope:?}");
        let source = &scope.workspaces[0].source;
        assert!(scope.workspaces.iter().all(|workspace| workspace.source == *source), "one pack serves all");
    }
    // What is known of one commit says nothing of the next.
    mono.commit("c/package.json", "{}");
    let (_, scope) = world.resolved(world.request_as(&text, &[mono.text()]).await).await;
    assert_eq!(paths(&scope), ["", "a/deep", "b", "c", "ü"]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_a_workspace_is_skipped_with_the_reason() {
    let world = World::new().await;
    let app = Repository::new(&world.path("app"));
    app.commit("go.mod", "module app");

    let rules = "  - rootAtLocationOf: package.json\n    in: '*pp'\n";
    let (resolved, scope) =
        world.resolved(world.request_as(&definition(rules, "true"), &[app.text()]).await).await;
    assert_eq!((resolved.workspaces, resolved.skipped, resolved.unreachable), (0, 1, 0));
    let message = "No folder holds a file `package.json`, at which `workspaces` puts the roots of `main`.";
    assert_eq!(skips(&scope), [(SkipReason::NoWorkspace, message)]);

    // Matched by no entry: its root is the workspace.
    let rules = "  - rootAtLocationOf: package.json\n    in: other\n";
    let (_, scope) = world.resolved(world.request_as(&definition(rules, "true"), &[app.text()]).await).await;
    assert_eq!(paths(&scope), [""]);

    let rules = "  - rootAtLocationOf: go.mod\n  - rootAtLocationOf: package.json\n    in: app\n";
    let (resolved, scope) =
        world.resolved(world.request_as(&definition(rules, "true"), &[app.text()]).await).await;
    assert_eq!((resolved.workspaces, resolved.unreachable), (0, 1));
    let message = "the entries 1 and 2 of `workspaces` both match `app`: make `in` of one of them narrower.";
    assert_eq!(skips(&scope), [(SkipReason::TwoRules, message)]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_in_which_no_step_can_run_gets_no_job() {
    let world = World::new().await;
    let mono = Repository::new(&world.path("mono"));
    for path in ["a/go.mod", "b/go.mod"] {
        mono.commit(path, "module x");
    }
    let text = definition("  - rootAtLocationOf: go.mod\n", "${{ eq steps.path \"a\" }}");
    let (resolved, scope) = world.resolved(world.request_as(&text, &[mono.text()]).await).await;
    assert_eq!((resolved.workspaces, resolved.skipped, resolved.unreachable), (1, 1, 0));
    assert_eq!(paths(&scope), ["a"]);
    let message = "`b`: the `if` of every step says that it does not run here.";
    assert_eq!(skips(&scope), [(SkipReason::NoSteps, message)]);
    world.end().await;
}
