//! The fleet: hundreds of real source trees, each a repository with one commit.

use std::path::{Path, PathBuf};

use super::engine;
use super::git::Repository;

/// Changes most trees, leaves some as they are, and fails in a few; the same for every run.
pub const STEPS: [&str; 3] = [
    "for file in *.md; do\n  if [ -f \"$file\" ]; then sed -i 's|http://|https://|g' \"$file\"; fi\ndone",
    "if [ -f .travis.yml ]; then\n  echo 'travis has closed' >&2\n  exit 3\nfi",
    "if [ -f LICENSE-MIT ] && [ -f CHANGELOG.md ]; then\n  echo 'The house rules apply.' >>CHANGELOG.md\nfi",
];

/// The source trees that cargo has unpacked to build this very test, the first ones by name.
pub fn sources(count: usize) -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("a home folder")).join(".cargo"));
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
