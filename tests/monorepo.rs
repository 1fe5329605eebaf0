//! Many workspaces in one repository: each is a job and a changeset of its own.

use std::collections::BTreeSet;

use crate::world::{World, engine};

const PACKAGES: usize = 30;

#[test]
fn each_package_of_a_monorepo_is_a_job_with_its_own_changeset() {
    let world = World::up();
    let mut repository = world.repository("mono").file("package-lock.json", "{}\n");
    for number in 0..PACKAGES {
        let package = format!("{{\"name\": \"@mono/p{number:02}\", \"version\": \"1.0\"}}\n");
        repository = repository.file(format!("packages/p{number:02}/package.json"), &package);
    }
    let mono = repository.file("docs/README", "no package\n").commit();
    let plain = world.repository("plain").file("README", "no package either\n").commit();
    let image = engine::IMAGE;
    let definition = world.definition(
        "bump.batch.yaml",
        &format!(
            r#"name: bump
description: Raise versions
workspaces:
  - rootAtLocationOf: package.json
    onlyFetchWorkspace: true
steps:
  - run: test ! -e ../../docs || exit 9; sed -i s/1.0/2.0/ package.json; cat package.json
    container: {image}
    outputs:
      package:
        value: ${{{{ step.stdout }}}}
        format: json
  - run: echo "$NAME" >NAME
    if: ${{{{ matches steps.path "packages/p0*" }}}}
    container: {image}
    env:
      NAME: ${{{{ outputs.package.name }}}}
  - run: touch never
    if: ${{{{ eq outputs.package.version "1.0" }}}}
    container: {image}
changesetTemplate:
  title: ${{{{ outputs.package.name }}}} ${{{{ outputs.package.version }}}}
  body: ""
  branch: bump/${{{{ steps.path }}}}
  commit:
    message: Raise the version
"#
        ),
    );

    let run = world.run(&definition, &[&mono, &plain]).expect(0);

    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);
    let specs = plan["changesetSpecs"]["nodes"].as_array().unwrap();
    let of = |key: &str| -> BTreeSet<&str> { specs.iter().map(|spec| spec[key].as_str().unwrap()).collect() };
    let expected = |shape: fn(usize) -> String| -> BTreeSet<String> { (0..PACKAGES).map(shape).collect() };
    let owned = |set: BTreeSet<&str>| -> BTreeSet<String> { set.into_iter().map(str::to_owned).collect() };
    assert_eq!(
        owned(of("headRef")),
        expected(|number| format!("refs/heads/bump/packages/p{number:02}")),
        "{plan:#}"
    );
    assert_eq!(owned(of("title")), expected(|number| format!("@mono/p{number:02} 2.0")));
    let unchanged = &plan["unchanged"][0];
    assert_eq!(unchanged["repository"], "plain");
    let reason = unchanged["reason"].as_str().unwrap();
    assert!(reason.contains("No folder holds a file `package.json`"), "{reason}");
    let diff = world.ok(&["plan", "diff", &run.plan()]);
    assert_eq!(diff.matches("+++ b/packages/p").count(), PACKAGES + 10, "{diff}");
    assert!(diff.contains("+@mono/p07") && !diff.contains("never"), "{diff}");
    world.end();
}
