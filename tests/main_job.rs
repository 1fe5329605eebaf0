//! The main job: an action over repositories becomes a plan.

use crate::world::{World, engine, path_text, script_definition};

const ADD_LICENCE: &str = "test ! -e broken || exit 3\n[ -e LICENSE ] || echo Apache-2.0 >LICENSE";

#[test]
fn an_action_over_repositories_becomes_a_plan() {
    let world = World::up();
    let bare = world.repository("bare").file("README", "bare\n").commit();
    let licensed = world.repository("licensed").file("LICENSE", "MIT\n").commit();
    let broken = world.repository("broken").file("broken", "").commit();

    let run = world.run_script(ADD_LICENCE, &[&bare, &licensed, &broken]).expect(2);

    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);
    let specs = plan["changesetSpecs"]["nodes"].as_array().unwrap();
    assert_eq!(specs.len(), 1, "{plan:#}");
    assert_eq!(specs[0]["repository"], "bare");
    assert_eq!(specs[0]["baseRef"], "refs/heads/main");
    assert_eq!(specs[0]["baseOid"], bare.head());
    assert_eq!(specs[0]["headRef"], "refs/heads/change/script");
    assert_eq!(plan["unchanged"][0]["repository"], "licensed");
    assert_eq!(plan["missing"][0]["repository"], "broken");
    let reason = plan["missing"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("step 1") && reason.contains('3'), "{reason}");

    let patch = world.export(&run.plan()).remove("bare").expect("a patch for it");
    bare.apply(&patch);
    assert_eq!(std::fs::read_to_string(bare.path.join("LICENSE")).unwrap(), "Apache-2.0\n");
    assert!(world.ok(&["plan", "diff", &run.plan()]).contains("+Apache-2.0"));
    world.end();
}

#[test]
fn a_person_sees_progress_a_table_and_what_to_do_next() {
    let world = World::up();
    let good = world.repository("good").file("README", "x\n").commit();
    let bad = world.repository("bad").file("broken", "").commit();
    let definition = world
        .definition("a.batch.yaml", &script_definition("tidy", &format!("echo before >&2\n{ADD_LICENCE}")));

    let run = world
        .command(&[
            "run",
            &path_text(&definition),
            "--repo",
            &path_text(&good.path),
            "--repo",
            &path_text(&bad.path),
        ])
        .output()
        .unwrap();

    let shown = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert_eq!(run.status.code(), Some(2), "{shown}");
    for part in ["good", "change/tidy", "bad", "before", "patchwave plan export"] {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no terminal, no control sequences: {shown:?}");
    world.end();
}

#[test]
fn running_again_erases_nothing() {
    let world = World::up();
    let repository = world.repository("one").file("a", "1\n").commit();
    let first = world.run_script("echo 2 >a", &[&repository]).expect(0);
    let again = world.run_script("echo 2 >a", &[&repository]).expect(0);
    let other = world.run_script("echo 3 >a", &[&repository]).expect(0);

    let action = world.documents(&["action", "show", "--json", "script"]).remove(0);
    assert_eq!(action["revision"], 2, "the same text again is no revision: {action:#}");
    let listed = world.documents(&["execution", "list", "--json"]);
    let ids: Vec<&str> = listed.iter().map(|execution| execution["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [other.execution(), again.execution(), first.execution()], "newest first");
    for (run, line) in [(&first, "+2"), (&again, "+2"), (&other, "+3")] {
        assert!(world.ok(&["plan", "diff", &run.plan()]).contains(line));
    }
    world.end();
}

#[test]
fn steps_share_their_files_and_templates_know_the_job() {
    let world = World::up();
    let repository = world.repository("north").file("a.txt", "1\n").commit();
    let image = engine::IMAGE;
    let definition = world.definition(
        "steps.batch.yaml",
        &format!(
            r#"name: steps
description: Three steps
steps:
  - run: echo new >b.txt; rm a.txt; printf 'found it'
    container: {image}
  - run: |
      echo "${{{{ previous_step.stdout }}}} in ${{{{ repository.name }}}} on ${{{{ repository.branch }}}}" >c.txt
      echo "added ${{{{ join previous_step.added_files "," }}}} deleted ${{{{ join previous_step.deleted_files "," }}}}" >>c.txt
    container: {image}
  - run: cat /config/greeting >>c.txt; echo "$WHO" >>c.txt
    container: {image}
    env:
      WHO: ${{{{ batch_change.name }}}}
    files:
      /config/greeting: |
        Hello ${{{{ repository.name }}}}
changesetTemplate:
  title: Change ${{{{ repository.name }}}}
  body: ${{{{ batch_change.description }}}}
  branch: steps/${{{{ repository.name }}}}
  commit:
    message: Change it
"#
        ),
    );
    let run = world.run(&definition, &[&repository]).expect(0);
    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);
    let spec = &plan["changesetSpecs"]["nodes"][0];
    assert_eq!(spec["title"], "Change north");
    assert_eq!(spec["body"], "Three steps");
    assert_eq!(spec["headRef"], "refs/heads/steps/north");
    repository.apply(&world.export(&run.plan())["north"]);
    assert_eq!(
        std::fs::read_to_string(repository.path.join("c.txt")).unwrap(),
        "found it in north on main\nadded b.txt deleted a.txt\nHello north\nsteps\n"
    );
    world.end();
}

#[test]
fn a_legacy_action_file_runs_unchanged() {
    let world = World::up();
    let repository = world.repository("old").file("a", "1\n").commit();
    let definition = world.definition(
        "action.json",
        &format!(
            r#"{{
  // As `src actions exec` read it.
  "scopeQuery": "repo:old",
  "steps": [
    {{ "type": "docker", "image": "{}", "args": ["sh", "-c", "echo 2 >a"] }},
  ],
}}"#,
            engine::IMAGE
        ),
    );
    let arguments = ["run", "--json", &path_text(&definition), "--repo", &path_text(&repository.path)];
    let given = ["--name", "old-one", "--branch", "old/one", "--title", "Two", "--message", "Two"];
    let run = crate::world::Run::of(world.patchwave(&[&arguments[..], &given[..]].concat())).expect(0);
    assert!(world.ok(&["plan", "diff", &run.plan()]).contains("+2"));
    world.end();
}
