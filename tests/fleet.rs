//! The fleet: an action over hundreds of real source trees.

use std::path::{Path, PathBuf};

use crate::world::git::Repository;
use crate::world::{World, engine, oracle};

/// How many repositories there are at least.
const FLEET: usize = 200;

/// Changes most trees, leaves some as they are, and fails in a few; the same for every run.
pub const STEPS: [&str; 3] = [
    "for file in *.md; do\n  if [ -f \"$file\" ]; then sed -i 's|http://|https://|g' \"$file\"; fi\ndone",
    "if [ -f .travis.yml ]; then\n  echo 'travis has closed' >&2\n  exit 3\nfi",
    "if [ -f LICENSE-MIT ] && [ -f CHANGELOG.md ]; then\n  echo 'The house rules apply.' >>CHANGELOG.md\nfi",
];

/// The source trees that cargo has unpacked to build this very test, the first ones by name.
pub fn sources(count: usize) -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("a home folder")).join(".cargo")
    });
    let registries = folders(&home.join("registry/src"));
    let mut sources: Vec<PathBuf> = registries.iter().flat_map(|registry| folders(registry)).collect();
    sources.sort();
    sources.truncate(count);
    assert_eq!(sources.len(), count, "cargo has unpacked too few crates");
    sources
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.is_dir()).collect()
}

/// Makes a repository with one commit of each tree.
pub fn repositories(folder: &Path, sources: &[PathBuf]) -> Vec<Repository> {
    let make = |source: &PathBuf| {
        let to = folder.join(source.file_name().expect("a name"));
        let copied = std::process::Command::new("cp").arg("-a").arg(source).arg(&to).status();
        assert!(copied.is_ok_and(|status| status.success()), "cp {}", source.display());
        Repository::empty(to).commit()
    };
    std::fs::create_dir_all(folder).expect("a folder for the repositories");
    sources.iter().map(make).collect()
}

/// The definition with one step for each script.
pub fn definition() -> String {
    let step = |script: &&str| {
        let script: String = script.lines().map(|line| format!("      {line}\n")).collect();
        format!("  - container: {}\n    run: |\n{script}", engine::IMAGE)
    };
    let steps: String = STEPS.iter().map(step).collect();
    format!(
        "name: fleet\nsteps:\n{steps}changesetTemplate:\n  title: Follow the house rules\n  branch: fleet\n  commit:\n    message: Follow the house rules\n"
    )
}

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
            assert!(std::fs::read(patch).unwrap() == outcome.patch, "{name}: the patch is another than git's");
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
