//! An action that is kept for later: applied without running, set, shown, and put away.

use serde_json::{Value, json};

use crate::world::{World, engine, path_text};

fn definition(world: &World, name: &str) -> String {
    std::fs::write(world.folder().join("fix.sh"), "echo 2 >a\n").unwrap();
    let text = format!(
        "name: {name}\nsteps:\n  - run: sh /fix.sh\n    container: {}\n    mount:\n      - {{ path: fix.sh, mountpoint: /fix.sh }}\n\
         changesetTemplate:\n  title: {name}\n  branch: change/{name}\n  commit:\n    message: {name}\n",
        engine::IMAGE
    );
    path_text(&world.definition(&format!("{name}.batch.yaml"), &text))
}

fn shown(world: &World, action: &str) -> Value {
    world.documents(&["action", "show", "--json", action]).remove(0)
}

fn names(world: &World, options: &[&str]) -> Vec<String> {
    let listed = world.documents(&[&["action", "list", "--json"], options].concat());
    listed.iter().map(|action| action["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_action_is_applied_scheduled_shown_and_archived_without_ever_running() {
    // No runner: nothing is run.
    let mut world = World::services();
    let nightly = definition(&world, "nightly");
    let one = path_text(&world.repository("one").file("a", "1\n").commit().path);

    // A build sends the files first, and whoever applies the definition later sends none.
    let sent = world.documents(&["action", "upload", "--json", &nightly]).remove(0);
    let applied = world.patchwave(&["action", "apply", &nightly]);
    let said = String::from_utf8_lossy(&applied.stderr);
    assert!(applied.status.success() && said.contains("action nightly, revision 1 (new)"), "{said}");
    assert!(said.contains("mounts 1 file") && !said.contains("sent "), "{said}");
    assert_eq!(shown(&world, "nightly")["definition"]["files"]["sha256"], sent["files"]["sha256"]);
    let again = world.documents(&["action", "apply", "--json", &nightly]).remove(0);
    assert_eq!((&again["changed"], &again["action"]["revision"]), (&json!(false), &json!(1)), "{again}");

    let zone = ["--time-zone", "Europe/Berlin"];
    let refused = world.refused(&["action", "schedule", "nightly", "0 0 31 2 *"]);
    assert!(refused.contains("never comes") && refused.contains("February has 29"), "{refused}");
    let refused = world.refused(&["action", "schedule", "nightly", "30 25 * * *"]);
    assert!(refused.contains("`25` cannot be the hour") && refused.contains("0 to 23"), "{refused}");
    let scheduled =
        world.patchwave(&[&["action", "schedule", "nightly", "30 4 * * MON-FRI"], &zone[..]].concat());
    let said = String::from_utf8_lossy(&scheduled.stderr);
    assert!(scheduled.status.success() && said.contains("nothing is started or applied by it yet"), "{said}");
    world.ok(&["action", "search", "nightly", "println-in-src"]);
    world.ok(&["action", "campaign", "nightly", "spring"]);

    // What is set is in the log: a gateway that is killed has nothing to lose.
    world.restart_gateway();
    let whole = shown(&world, "nightly");
    let schedule = &whole["schedule"];
    assert_eq!(
        (&schedule["cron"], &schedule["timeZone"]),
        (&json!("30 4 * * MON-FRI"), &json!("Europe/Berlin"))
    );
    assert_eq!(
        (&schedule["setBy"], schedule["nextTimes"].as_array().unwrap().len()),
        (&json!("user:local"), 3)
    );
    assert_eq!((&whole["savedSearch"], &whole["campaign"]), (&json!("println-in-src"), &json!("spring")));
    let text = world.ok(&["action", "show", "nightly"]);
    assert!(text.contains("30 4 * * MON-FRI (Europe/Berlin)") && text.contains("println-in-src"), "{text}");
    world.ok(&["action", "search", "nightly", "--clear"]);
    assert_eq!(shown(&world, "nightly")["savedSearch"], Value::Null);

    // Put away, it has nothing that starts it, and takes nothing.
    let id = whole["id"].as_str().unwrap();
    let archived = world.documents(&["action", "archive", "--json", id]).remove(0);
    assert_eq!(
        (&archived["action"]["archived"], &archived["action"]["schedule"]),
        (&json!(true), &Value::Null)
    );
    for command in [
        vec!["action", "schedule", "nightly", "@daily"],
        vec!["action", "campaign", "nightly", "autumn"],
        vec!["run", nightly.as_str(), "--repo", one.as_str()],
    ] {
        let refused = world.refused(&command);
        assert!(refused.contains("`nightly` is archived") && refused.contains("another name"), "{refused}");
    }
    assert!(world.documents(&["execution", "list", "--json"]).is_empty());

    let weekly = definition(&world, "weekly");
    world.ok(&["action", "apply", &weekly]);
    assert_eq!(names(&world, &[]), ["weekly"]);
    assert_eq!(names(&world, &["--all"]), ["weekly", "nightly"]);
    let events = world.documents(&["events", "show", "--json", "ev.action.>"]);
    let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    let expected = [
        "action.created",
        "action.schedule_set",
        "action.saved_search_linked",
        "action.campaign_attached",
        "action.saved_search_unlinked",
        "action.archived",
        "action.created",
    ];
    assert_eq!(types, expected);
    world.end();
}
