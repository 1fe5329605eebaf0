//! What a definition can say beyond its steps: several changesets from one job, and changesets that are there already.

use crate::world::{World, path_text};

const DIVIDED: &str = "\
name: divided
steps:
  - run: for file in README.md web/a api/b api/deep/c; do echo changed >>$file; done
    container: scenario:busybox
transformChanges:
  group:
    - { directory: api, branch: change/api }
    - { directory: web, branch: change/web, repository: monorepo }
    - { directory: api/deep, branch: change/deep }
importChangesets:
  - { repository: github.com/example/one, externalIDs: [12, \"x-3\"] }
changesetTemplate:
  title: Change ${{ repository.name }}
  body: See ${{ batch_change_link }}.
  branch: change/rest
  commit: { message: Change it }
";

#[test]
fn one_job_becomes_a_changeset_for_each_group_that_gets_a_file() {
    let world = World::up();
    let files = |name: &str| {
        let repository = world.repository(name).file("README.md", "one\n").file("web/a", "a\n");
        repository.file("api/b", "b\n").file("api/deep/c", "c\n").commit()
    };
    let (monorepo, other) = (files("monorepo"), files("other"));
    let definition = world.definition("divided.batch.yaml", DIVIDED);

    let run = world.run(&definition, &[&monorepo, &other]).expect(0);

    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);
    let specs = plan["changesetSpecs"]["nodes"].as_array().unwrap();
    let found: Vec<_> = specs
        .iter()
        .map(|spec| {
            (
                spec["repository"].as_str().unwrap(),
                spec["headRef"].as_str().unwrap(),
                spec["diffStat"]["files"].as_u64(),
            )
        })
        .collect();
    let expected = [
        ("monorepo", "refs/heads/change/api", Some(1)),
        ("monorepo", "refs/heads/change/deep", Some(1)),
        ("monorepo", "refs/heads/change/rest", Some(1)),
        ("monorepo", "refs/heads/change/web", Some(1)),
        ("other", "refs/heads/change/api", Some(1)),
        ("other", "refs/heads/change/deep", Some(1)),
        ("other", "refs/heads/change/rest", Some(2)),
    ];
    assert_eq!(found, expected, "{plan:#}");
    assert_eq!(specs[0]["body"], "See ${{ batch_change_link }}.");
    assert_eq!(plan["imports"][0]["externalId"], "12", "{plan:#}");
    assert_eq!(plan["imports"][1]["repository"], "github.com/example/one");
    let shown = world.ok(&["plan", "show", &run.plan()]);
    assert!(shown.contains("change/web") && shown.contains("x-3"), "{shown}");

    // All parts together are the whole change, and each can be had alone.
    let folder = world.folder().join("patches");
    let files = world.ok(&["plan", "export", &run.plan(), &path_text(&folder)]);
    assert_eq!(files.lines().count(), 7, "{files}");
    let diff = world.ok(&["plan", "diff", "--repo", "monorepo", &run.plan()]);
    for file in ["README.md", "web/a", "api/b", "api/deep/c"] {
        assert_eq!(diff.matches(&format!("+++ b/{file}\n")).count(), 1, "{diff}");
    }
    world.end();
}

#[test]
fn what_is_only_imported_needs_no_repository_to_run_over() {
    let world = World::up();
    let text =
        "name: tracked\nimportChangesets:\n  - { repository: github.com/example/one, externalIDs: [7] }\n";
    let definition = world.definition("tracked.batch.yaml", text);
    let run = world.run(&definition, &[]).expect(0);
    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);
    assert_eq!(plan["imports"][0]["externalId"], "7", "{plan:#}");
    assert_eq!(plan["changesets"], 0);
    world.end();
}

#[test]
fn what_a_step_hands_on_is_known_to_later_steps_and_to_the_changeset() {
    let world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    let text = "name: handing-on\nsteps:\n  - run: |\n      echo '{\"next\": \"v2\", \"files\": [\"a\", \"b\"]}'\n    container: scenario:busybox\n    \
        outputs:\n      release: { value: \"${{ step.stdout }}\", format: json }\n  \
        - run: for file in ${{ join outputs.release.files \" \" }}; do echo ${{ outputs.release.next }} >>$file; done\n    \
        container: scenario:busybox\n    if: ${{ eq outputs.release.next \"v2\" }}\n  \
        - run: echo never >c\n    container: scenario:busybox\n    if: ${{ ne outputs.release.next \"v2\" }}\n\
        changesetTemplate:\n  title: Release ${{ outputs.release.next }}\n  branch: release/${{ outputs.release.next }}\n  commit: { message: m }\n";
    let run = world.run(&world.definition("handing-on.batch.yaml", text), &[&repository]).expect(0);
    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);
    let spec = &plan["changesetSpecs"]["nodes"][0];
    assert_eq!(
        (spec["title"].as_str(), spec["headRef"].as_str()),
        (Some("Release v2"), Some("refs/heads/release/v2"))
    );
    let diff = world.ok(&["plan", "diff", &run.plan()]);
    assert!(diff.contains("+++ b/a\n") && diff.contains("+++ b/b\n") && !diff.contains("never"), "{diff}");
    world.end();
}

#[test]
fn thousands_of_groups_are_no_trouble() {
    let world = World::up();
    let repository = (0..30).fold(world.repository("large"), |repository, number| {
        repository.file(format!("services/service-{}/a", number * 100), "a\n")
    });
    let repository = repository.commit();
    let groups: String = (0..5_000)
        .map(|number| {
            format!("    - directory: services/service-{number}\n      branch: patchwave/change/service-{number}\n")
        })
        .collect();
    let text = format!(
        "name: groups\nsteps:\n  - run: for file in services/*/a; do echo b >>$file; done\n    container: scenario:busybox\n\
         transformChanges:\n  group:\n{groups}\
         changesetTemplate: {{ title: t, branch: rest, commit: {{ message: m }} }}\n"
    );
    let definition = world.definition("groups.batch.yaml", &text);
    let run = world.run(&definition, &[&repository]).expect(0);
    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);
    assert_eq!(plan["changesets"], 30, "{plan:#}");
    let branches =
        plan["changesetSpecs"]["nodes"].as_array().unwrap().iter().map(|spec| spec["headRef"].clone());
    assert!(branches.into_iter().any(|branch| branch == "refs/heads/patchwave/change/service-2900"));
    world.end();
}
