//! Plans whose jobs become several changesets, on a real broker.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is the test's failure")]
#![allow(dead_code, reason = "the world is shared with the other tests")]

mod world;

use events::document::{Import, Publication};
use world::World;

const TEMPLATE: &str = "title: t\n  branch: own\n  commit: {message: m}";

const GROUPS: &str = "transformChanges:\n  group:\n    - {directory: web, branch: web}\n    \
    - {directory: docs, branch: docs, repository: a/one}\n    - {directory: base, branch: main, repository: d/base}\n";

const WEB: &str = "diff --git a/web/x b/web/x\nindex 1..2 100644\n--- a/web/x\n+++ b/web/x\n@@ -1 +1,2 @@\n-x\n+y\n+diff --git a/no b/no\n";
const DOCS: &str = "diff --git a/docs/y b/docs/y\nnew file mode 100644\nindex 0..2\n";
const ROOT: &str = "diff --git a/README.md b/README.md\ndeleted file mode 100644\nindex 2..0\n--- a/README.md\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_branch_that_gets_a_file_gets_a_changeset_with_its_part_of_the_patch() {
    let world = World::new().await;
    let run = world.execution_with(GROUPS, TEMPLATE).await;
    let one = run.job("a/one", "").await;
    one.succeed(1, Some(format!("{DOCS}{ROOT}{WEB}").as_bytes())).await;
    run.job("b/other", "").await.succeed(1, Some(format!("{DOCS}{WEB}").as_bytes())).await;
    run.job("c/all", "").await.succeed(1, Some(WEB.as_bytes())).await;
    run.job("d/base", "").await.succeed(1, Some(WEB.as_bytes())).await;
    run.job("e/none", "").await.succeed(1, None).await;
    let planner = world.plan().await;
    run.complete(Vec::new()).await;
    let (created, plan) = run.current_plan().await;
    planner.stop().await;

    let mut found = Vec::new();
    for spec in &plan.changeset_specs {
        let patch = String::from_utf8(world.broker.get_blob(&spec.patch).await.unwrap()).unwrap();
        found.push((spec.repository.as_str(), spec.head_ref.short(), patch));
    }
    let expected = [
        ("a/one", "docs", DOCS.to_owned()),
        ("a/one", "own", ROOT.to_owned()),
        ("a/one", "web", WEB.to_owned()),
        ("b/other", "own", DOCS.to_owned()),
        ("b/other", "web", WEB.to_owned()),
        ("c/all", "web", WEB.to_owned()),
    ];
    assert_eq!(found, expected);
    assert!(plan.changeset_specs[..3].iter().all(|spec| spec.job == one.id));
    let stats = plan.changeset_specs[..3].iter().map(|spec| spec.diff_stat);
    let stats: Vec<_> = stats.map(|stat| (stat.files, stat.insertions, stat.deletions)).collect();
    assert_eq!(stats, [(1, 0, 0), (1, 0, 1), (1, 2, 1)]);
    let missing: Vec<_> = plan.missing.iter().map(|missing| missing.repository.as_str()).collect();
    assert_eq!(missing, ["d/base"]);
    assert!(plan.missing[0].reason.contains("`main` is the base branch"), "{}", plan.missing[0].reason);
    assert_eq!((created.changesets, created.missing, created.unchanged), (6, 1, 1));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branches_that_git_cannot_have_beside_each_other_are_missing_with_the_reason() {
    let world = World::new().await;
    let template = "title: t\n  branch: ${{ join_if \"/\" \"x\" steps.path }}\n  commit: {message: m}";
    let run = world.execution_with(GROUPS, template).await;
    let (root, below) = (run.job("r", "").await, run.job("r", "sub").await);
    root.succeed(1, Some(ROOT.as_bytes())).await;
    below.succeed(1, Some(DOCS.as_bytes())).await;
    run.job("s", "sub").await.succeed(1, Some(DOCS.as_bytes())).await;
    let (web, also) = (run.job("t", "one").await, run.job("t", "two").await);
    web.succeed(1, Some(WEB.as_bytes())).await;
    also.succeed(1, Some(format!("{DOCS}{WEB}").as_bytes())).await;
    let planner = world.plan().await;
    run.complete(Vec::new()).await;
    let (_, plan) = run.current_plan().await;
    planner.stop().await;

    let specs: Vec<_> =
        plan.changeset_specs.iter().map(|spec| (spec.repository.as_str(), spec.head_ref.short())).collect();
    assert_eq!(specs, [("s", "x/sub"), ("t", "x/two")], "what else the two jobs changed is not lost");
    let reasons = |id| -> Vec<&str> {
        plan.missing
            .iter()
            .filter(|missing| missing.job == Some(id))
            .map(|missing| missing.reason.as_str())
            .collect()
    };
    for (id, words) in
        [(root.id, ["`x` beside `x/sub`", "cannot"]), (below.id, ["`x/sub` beside `x`", "cannot"])]
    {
        assert!(words.iter().all(|words| reasons(id)[0].contains(words)), "{:?}", reasons(id));
    }
    for id in [web.id, also.id] {
        let text = reasons(id)[0];
        assert!(
            text.contains(&web.id.to_string()) && text.contains(&also.id.to_string()),
            "it names both: {text}"
        );
        assert!(text.contains("the branch `web`"), "{text}");
    }
    assert_eq!(plan.missing.len(), 4);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_changeset_says_whether_it_is_published_by_itself_and_where_to() {
    let world = World::new().await;
    let template = format!("{TEMPLATE}\n  fork: true\n  published: [{{'a/*': true}}, {{'*@web': draft}}]");
    let run = world.execution_with(GROUPS, &template).await;
    for repository in ["a/one", "b/other"] {
        run.job(repository, "").await.succeed(1, Some(format!("{ROOT}{WEB}").as_bytes())).await;
    }
    let planner = world.plan().await;
    run.complete(Vec::new()).await;
    let (_, plan) = run.current_plan().await;
    planner.stop().await;
    let specs = plan.changeset_specs.iter();
    let found: Vec<_> =
        specs.map(|spec| (spec.repository.as_str(), spec.head_ref.short(), spec.publication)).collect();
    let expected = [
        ("a/one", "own", Publication::Published),
        ("a/one", "web", Publication::Draft),
        ("b/other", "own", Publication::Undecided),
        ("b/other", "web", Publication::Draft),
    ];
    assert_eq!(found, expected);
    assert!(plan.changeset_specs.iter().all(|spec| spec.fork == Some(true)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_becomes_a_folder_of_another_group_is_missing_with_the_reason() {
    const FILE: &str = "diff --git a/web b/web\ndeleted file mode 100644\nindex 2..0\n--- a/web\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n";
    let world = World::new().await;
    let groups = "transformChanges:\n  group: [{directory: web/x, branch: web}]\n";
    let run = world.execution_with(groups, TEMPLATE).await;
    run.job("a/both", "").await.succeed(1, Some(format!("{FILE}{WEB}").as_bytes())).await;
    run.job("b/beside", "").await.succeed(1, Some(format!("{ROOT}{WEB}").as_bytes())).await;
    let planner = world.plan().await;
    run.complete(Vec::new()).await;
    let (_, plan) = run.current_plan().await;
    planner.stop().await;
    let [missing] = &plan.missing[..] else { panic!("{:?}", plan.missing) };
    assert_eq!(missing.repository, "a/both");
    let words = ["`web` is a file", "`web/x` needs a folder", "let one group of transformChanges take both"];
    assert!(words.iter().all(|words| missing.reason.contains(words)), "{}", missing.reason);
    assert!(plan.changeset_specs.iter().all(|spec| spec.repository == "b/beside"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_template_knows_what_the_steps_handed_on() {
    let world = World::new().await;
    let template = "title: ${{ index outputs \"release\" \"name\" }}\n  branch: ${{ index outputs \"release\" \"branches\" 1 }}\n  \
        commit: {message: \"${{ index outputs `count` }}\"}";
    let run = world.execution(template).await;
    let outputs = serde_json::json!({ "release": { "name": "R", "branches": ["a", "b"] }, "count": 12 });
    let outputs: events::job::Outputs = serde_json::from_value(outputs).unwrap();
    run.job("a/one", "").await.hand_on(1, Some(DOCS.as_bytes()), outputs).await;
    let without = run.job("b/without", "").await;
    without.succeed(1, Some(DOCS.as_bytes())).await;
    let planner = world.plan().await;
    run.complete(Vec::new()).await;
    let (_, plan) = run.current_plan().await;
    planner.stop().await;
    let specs: Vec<_> = plan
        .changeset_specs
        .iter()
        .map(|spec| (spec.title.as_str(), spec.head_ref.short(), spec.message.as_str()))
        .collect();
    assert_eq!(specs, [("R", "b", "12")]);
    assert!(plan.missing[0].job == Some(without.id) && plan.missing[0].reason.contains("`release`"));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imports_are_carried_into_the_plan() {
    let world = World::new().await;
    let imports = "importChangesets:\n  - {repository: a/one, externalIDs: [12, \"x-3\"]}\n";
    let run = world.execution_with(imports, TEMPLATE).await;
    let planner = world.plan().await;
    run.complete(Vec::new()).await;
    let (_, plan) = run.current_plan().await;
    planner.stop().await;
    let import = |id: &str| Import { repository: "a/one".to_owned(), external_id: id.to_owned() };
    assert_eq!(plan.imports, [import("12"), import("x-3")]);
    world.end().await;
}
