//! The oracle: what the same script does in a plain checkout, without Patchwave.
//!
//! Owns one container in which every script runs, and the question that git is asked afterwards.

use std::path::Path;
use std::process::Command;

use super::engine::IMAGE;
use super::git::Repository;
use super::path_text;

/// What a script did to a plain checkout.
pub struct Outcome {
    /// The exit code of the script.
    pub code: i32,
    /// What git says has changed; as bytes, since names and contents may be any.
    pub patch: Vec<u8>,
    /// The tree that came of it.
    pub tree: String,
}

/// Runs a script in a plain checkout of each repository, in order.
pub fn run(folder: &Path, repositories: &[&Repository], script: &str) -> Vec<Outcome> {
    let folder = folder.join("oracle");
    std::fs::create_dir_all(&folder).expect("a folder for the oracle");
    std::fs::write(folder.join("script"), script).expect("the oracle's script");
    let checkouts: Vec<Repository> = repositories
        .iter()
        .enumerate()
        .map(|(number, repository)| repository.checkout(&folder.join(number.to_string())))
        .collect();
    let count = repositories.len();
    let all = format!(
        "n=0; while [ $n -lt {count} ]; do (cd /oracle/$n && sh /oracle/script >/dev/null 2>&1); echo $? >/oracle/$n.code; n=$((n + 1)); done"
    );
    let mount = format!("{}:/oracle", path_text(&folder));
    let container = Command::new("docker")
        .args(["run", "--rm", "--network", "none", "--volume", &mount, IMAGE, "sh", "-c", &all])
        .output();
    let container = container.expect("docker runs");
    assert!(container.status.success(), "{}", String::from_utf8_lossy(&container.stderr));
    let outcome = |(number, checkout): (usize, &Repository)| {
        let code = std::fs::read_to_string(folder.join(format!("{number}.code"))).expect("an exit code");
        let patch = checkout.diff();
        Outcome { code: code.trim().parse().expect("a number"), patch, tree: checkout.tree() }
    };
    checkouts.iter().enumerate().map(outcome).collect()
}
