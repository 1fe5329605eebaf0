//! The fleet: an action over hundreds of real source trees.

use crate::world::fleet::{STEPS, definition, repositories, sources};
use crate::world::git::Repository;
use crate::world::{World, oracle};

/// How many repositories there are at least.
const FLEET: usize = 200;

#[test]
fn an_action_over_two_hundred_real_repositories() {
    let world = World::up();
    let repositories = repositories(&world.folder().join("repositories"), &sources(FLEET));
    let all: Vec<&Repository> = repositories.iter().collect();
    // A step of a job sees what the earlier ones changed, and a failed one ends it: in one shell that is `set -e`.
    let script = STEPS.map(|step| format!("(\n{step}\n) || exit $?\n")).concat();
    let expected = oracle::run(world.folder(), &all, &script);

    let run = world.run(&world.definition("fleet.batch.yaml", &definition()), &all).expect(2);
    let patches = world.export(&run.plan());
    let plan = world.documents(&["plan", "show", "--json", &run.plan()]).remove(0);

    let mut counts = [0; 3];
    for (repository, outcome) in all.iter().zip(&expected) {
        let name = repository.name();
        let patch = patches.get(&name);
        if outcome.code != 0 {
            counts[0] += 1;
            let reason = reason(&plan["missing"], &name);
            assert!(reason.contains("step 2") && reason.contains('3'), "{name}: {reason}");
            assert!(patch.is_none(), "{name} failed and is in the plan");
        } else if outcome.patch.is_empty() {
            counts[1] += 1;
            assert!(!reason(&plan["unchanged"], &name).is_empty());
            assert!(patch.is_none(), "{name} is unchanged and in the plan");
        } else {
            counts[2] += 1;
            let patch = patch.unwrap_or_else(|| panic!("{name} is not in the plan"));
            assert!(
                std::fs::read(patch).unwrap() == outcome.patch,
                "{name}: the patch is another than git's"
            );
            repository.apply(patch);
            assert_eq!(repository.tree(), outcome.tree, "{name}");
        }
    }
    assert_eq!(patches.len(), counts[2], "nothing but the changed ones is in the plan");
    assert!(counts.iter().all(|count| *count > 0), "failed, unchanged, changed: {counts:?}");
    world.end();
}

/// Why a repository is in a list of the plan.
#[track_caller]
fn reason(list: &serde_json::Value, name: &str) -> String {
    let mut entries = list.as_array().expect("a list").iter();
    let entry = entries.find(|entry| entry["repository"] == name);
    entry.unwrap_or_else(|| panic!("{name} is not listed"))["reason"].as_str().expect("a reason").to_owned()
}
