//! A dry run: what would happen, said before anything does.

use serde_json::{Value, json};

use crate::world::{World, engine, free_port, path_text};

/// Two packages, of which one has nothing to publish, and a last step that depends on the one before.
fn definition() -> String {
    let image = engine::IMAGE;
    format!(
        r#"version: v2
name: bump
workspaces:
  - rootAtLocationOf: package.json
    in: mono
steps:
  - run: sed -i s/1.0/2.0/ package.json
    container: {image}
  - run: touch PUBLISH
    if: ${{{{ matches steps.path "packages/*" }}}}
    container: {image}
  - run: touch again
    if: ${{{{ eq previous_step.stdout "changed" }}}}
    container: {image}
changesetTemplate:
  title: Raise the version
  branch: bump/${{{{ steps.path }}}}
  commit:
    message: Raise the version
"#
    )
}

#[test]
fn a_preview_shows_where_a_definition_would_run_and_leaves_nothing_behind() {
    // No runner: nothing is run.
    let world = World::services();
    let package = "{\"version\": \"1.0\"}\n";
    let mono = world.repository("mono").file("packages/a/package.json", package);
    let mono = mono.file("site/package.json", package).file("docs/README", "no package\n").commit();
    let quiet = world.repository("quiet").file(".batchignore", "").commit();
    let away = format!("http://127.0.0.1:{}/away.git", free_port());
    let file = path_text(&world.definition("bump.batch.yaml", &definition()));
    let (mono, quiet) = (path_text(&mono.path), path_text(&quiet.path));
    let over = ["action", "preview", &file, "--repo", &mono, "--repo", &quiet];

    let output = world.command(&over).args(["--repo", &away, "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let preview: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&preview["actionName"], &preview["steps"]), (&json!("bump"), &json!(3)));
    assert!(preview["warnings"][0].as_str().unwrap().contains("version"), "{preview:#}");
    let counts = json!({ "repositories": 1, "workspaces": 2, "skipped": 1, "unreachable": 1 });
    assert_eq!(preview["counts"], counts, "{preview:#}");
    let shown: Vec<(&str, Vec<&str>)> =
        preview["workspaces"]["nodes"].as_array().unwrap().iter().map(of).collect();
    let expected = [("packages/a", vec!["RUNS", "RUNS", "LATER"]), ("site", vec!["RUNS", "NEVER", "LATER"])];
    assert_eq!(shown, expected);
    let reasons: Vec<&str> = preview["skipped"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["ignored", "unreachable"]);

    let text = world.ok(&over);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let row =
        |path: &str| rows.iter().find(|row| row.get(3) == Some(&path)).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(row("packages/a")[4..], ["1-2,", "3?"], "{text}");
    assert_eq!(row("site")[4..], ["1,", "3?", "2"], "{text}");
    assert!(text.contains(".batchignore") && text.contains("unreachable   0"), "{text}");

    let bad = definition().replace("steps:", "stps:").replace("name: bump", "name: b p");
    let bad = path_text(&world.definition("bad.batch.yaml", &bad));
    let errors = world.refused(&["action", "preview", &bad, "--repo", &mono]);
    assert!(errors.contains("did you mean `steps`") && errors.contains("b p"), "{errors}");
    assert!(world.refused(&["action", "preview", &file]).contains("--repo"));

    let events = world.documents(&["events", "show", "--json"]);
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let previews: Vec<&str> = types.iter().copied().filter(|name| name.starts_with("preview.")).collect();
    assert_eq!(previews, ["preview.requested", "preview.resolved", "preview.requested", "preview.resolved"]);
    for kind in ["action.", "execution.", "job.", "plan.", "repository."] {
        assert!(!types.iter().any(|name| name.starts_with(kind)), "{types:?}");
    }
    assert!(world.documents(&["action", "list", "--json"]).is_empty());
    assert!(world.documents(&["execution", "list", "--json"]).is_empty());
    world.end();
}

#[test]
fn a_preview_says_which_steps_need_not_run_again() {
    let world = World::up();
    let one = world.repository("one").file("lines", "0\n").commit();
    let image = engine::IMAGE;
    let definition = |last: &str| {
        format!(
            "name: cached\nsteps:\n  - {{ run: echo 1 >>lines, container: {image} }}\n  - {{ run: echo 2 >>lines, container: {image} }}\n  \
             - {{ run: {last}, container: {image} }}\nchangesetTemplate: {{ title: t, branch: b, commit: {{ message: m }} }}\n"
        )
    };
    let file = world.definition("cached.batch.yaml", &definition("echo 3 >>lines"));
    let (path, repository) = (path_text(&file), path_text(&one.path));
    let preview = ["action", "preview", &path, "--repo", &repository];
    let reused = || {
        let preview = world.documents(&[&preview[..], &["--json"]].concat()).remove(0);
        preview["workspaces"]["nodes"][0]["reused"].clone()
    };
    assert_eq!(reused(), Value::Null, "nothing ran yet");
    assert!(!world.ok(&preview).contains("reused"));

    let run = world.run(&file, &[&one]).expect(0);
    let whole = reused();
    assert_eq!((&whole["step"], &whole["executionId"]), (&json!(3), &json!(run.execution())), "{whole}");
    world.definition("cached.batch.yaml", &definition("echo three >>lines"));
    assert_eq!(reused()["step"], 2, "the last step is another one");
    let text = world.ok(&preview);
    assert!(text.contains(&format!("1-2 from {}", run.execution())), "{text}");
    // What it says is what happens.
    let second = world.run(&file, &[&one]).expect(0);
    assert_eq!(second.of_type("job.steps_reused")[0]["data"]["step"], 2);
    world.end();
}

/// The path of a workspace, and what is known of its steps.
fn of(node: &Value) -> (&str, Vec<&str>) {
    let decisions = node["steps"].as_array().unwrap().iter().map(|step| step["decision"].as_str().unwrap());
    (node["path"].as_str().unwrap(), decisions.collect())
}
