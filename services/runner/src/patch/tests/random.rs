//! Any sequence of changes gives git's patch.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rustix::io::Errno;

use super::{chmod, write};
use crate::fixture::Fixture;

/// A small alphabet of names, so that operations meet each other.
const NAMES: [&str; 6] = ["a", "b", "c d", "x.ign", "y.txt", "é"];

#[derive(Clone, Debug)]
enum Change {
    Write(PathBuf, u8),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Link(PathBuf, PathBuf),
    HardLink(PathBuf, PathBuf),
    Executable(PathBuf, bool),
    Folder(PathBuf),
}

fn path() -> impl Strategy<Value = PathBuf> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4).prop_map(|names| names.iter().collect())
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (path(), any::<u8>()).prop_map(|(path, content)| Change::Write(path, content)),
        3 => path().prop_map(Change::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Change::Rename(from, to)),
        1 => (path(), path()).prop_map(|(path, to)| Change::Link(path, to)),
        1 => (path(), path()).prop_map(|(path, to)| Change::HardLink(path, to)),
        1 => (path(), any::<bool>()).prop_map(|(path, set)| Change::Executable(path, set)),
        1 => path().prop_map(Change::Folder),
    ]
}

/// Whether every folder on the way is a folder and no link, so that no change leaves the tree.
fn is_inside(dir: &Path, path: &Path) -> bool {
    let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
    parents
        .into_iter()
        .all(|parent| fs::symlink_metadata(dir.join(parent)).map_or(true, |meta| meta.is_dir()))
}

/// Makes a change if it is possible. What it does depends on the files alone, never on the file system below, so that
/// the same sequence does the same everywhere.
fn apply(dir: &Path, change: &Change) {
    let free = |path: &Path| is_inside(dir, path) && fs::symlink_metadata(dir.join(path)).is_err();
    let file = |path: &Path| {
        is_inside(dir, path) && fs::symlink_metadata(dir.join(path)).is_ok_and(|meta| meta.is_file())
    };
    match change {
        Change::Write(path, content) if free(path) || file(path) => {
            write(dir.join(path), format!("{content}\n").repeat(usize::from(*content) % 5));
        }
        Change::Remove(path) if is_inside(dir, path) => {
            let path = dir.join(path);
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
        Change::Rename(from, to) if file(from) && free(to) => {
            fs::create_dir_all(dir.join(to).parent().unwrap()).unwrap();
            fs::rename(dir.join(from), dir.join(to)).unwrap();
        }
        Change::Link(path, to) if free(path) => {
            fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
            symlink(to, dir.join(path)).unwrap();
            // Where links lead in a circle, git cannot apply its own patch. They have a test of their own.
            if fs::metadata(dir.join(path))
                .is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::LOOP))
            {
                fs::remove_file(dir.join(path)).unwrap();
            }
        }
        Change::HardLink(from, to) if file(from) && free(to) => {
            fs::create_dir_all(dir.join(to).parent().unwrap()).unwrap();
            fs::hard_link(dir.join(from), dir.join(to)).unwrap();
        }
        Change::Executable(path, set) if file(path) => {
            chmod(dir.join(path), if *set { 0o755 } else { 0o644 });
        }
        Change::Folder(path) if free(path) => fs::create_dir_all(dir.join(path)).unwrap(),
        _ => {}
    }
}

#[test]
fn any_sequence_of_changes_gives_gits_patch() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let sequences = (prop::collection::vec(change(), 0..25), prop::collection::vec(change(), 1..25));
    // Each case starts a dozen processes.
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let result = runner.run(&sequences, |(before, during)| {
        let fixture = Fixture::new(|dir| {
            write(dir.join(".gitignore"), "*.ign\n");
            write(dir.join(".gitattributes"), "*.txt text eol=crlf\n");
            before.iter().for_each(|change| apply(dir, change));
        });
        runtime.block_on(fixture.agree(|dir| during.iter().for_each(|change| apply(dir, change))));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
