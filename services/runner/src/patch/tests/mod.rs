//! Patches against git itself: the same changes in a plain checkout must give the same bytes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is the test's failure")]

mod bounds;
mod content;
mod kinds;
mod random;
mod repository;
mod secrets;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::FileLists;
use crate::fixture::{Fixture, modes, shown};
use crate::mask::Masker;
use crate::patch;

fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A bit of everything.
fn base() -> Fixture {
    Fixture::new(|dir| {
        write(dir.join("README.md"), "# Fixture\n\nwith two\nlines and no end");
        write(dir.join("src/main.rs"), "fn main() {\n    println!(\"1\");\n}\n");
        write(dir.join("src/lib.rs"), "pub fn one() {}\n");
        write(dir.join("src/deep/er/file"), "deep\n");
        write(dir.join("run.sh"), "#!/bin/sh\n");
        chmod(dir.join("run.sh"), 0o755);
        write(dir.join("data.bin"), [0, 1, 2, 255, 254, 0, 10, 13]);
        write(dir.join("empty"), "");
        symlink("README.md", dir.join("link")).unwrap();
        symlink("src", dir.join("folder-link")).unwrap();
        write(dir.join(".gitignore"), "*.log\n/build/\n");
    })
}

#[tokio::test]
async fn nothing_changed_is_no_patch() {
    assert_eq!(base().agree(|_| {}).await, "");
}

#[tokio::test]
async fn what_is_written_back_as_it_was_is_no_patch() {
    let fixture = base();
    let patch = fixture.agree(|dir| {
        let text = fs::read(dir.join("src/lib.rs")).unwrap();
        fs::remove_file(dir.join("src/lib.rs")).unwrap();
        fs::write(dir.join("src/lib.rs"), text).unwrap();
    });
    assert_eq!(patch.await, "");
}

#[tokio::test]
async fn files_are_added_changed_deleted_and_renamed() {
    let fixture = base();
    let patch = fixture.agree(|dir| {
        write(dir.join("new/er/file.txt"), "new\n");
        write(dir.join("src/main.rs"), "fn main() {\n    println!(\"2\");\n}\n");
        fs::remove_file(dir.join("README.md")).unwrap();
        fs::rename(dir.join("src/lib.rs"), dir.join("src/library.rs")).unwrap();
        write(dir.join("new/empty"), "");
    });
    assert!(!patch.await.contains("rename"), "renames are for display only");
}

#[tokio::test]
async fn a_change_of_the_same_length_within_the_same_second_is_seen() {
    // Size, times and inode are as before: only content tells.
    let fixture = base();
    let patch = fixture.agree(|dir| {
        let path = dir.join("src/lib.rs");
        let modified = path.metadata().unwrap().modified().unwrap();
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut file, b"pub fn two() {}\n").unwrap();
        file.set_modified(modified).unwrap();
    });
    assert!(patch.await.contains("+pub fn two() {}"));
}

#[tokio::test]
async fn modes_change_alone_and_together_with_content() {
    let fixture = base();
    let patch = fixture.agree(|dir| {
        chmod(dir.join("run.sh"), 0o644);
        chmod(dir.join("src/lib.rs"), 0o755);
        chmod(dir.join("src/main.rs"), 0o600);
        write(dir.join("empty"), "no more\n");
        chmod(dir.join("empty"), 0o711);
    });
    let patch = patch.await;
    assert!(patch.contains("old mode 100755\nnew mode 100644"));
    assert!(!patch.contains("main.rs"), "git knows one bit of a mode");
}

#[tokio::test]
async fn everything_goes() {
    base()
        .agree(|dir| {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.file_name() != Some(OsStr::new(".git")) {
                    fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).unwrap();
                }
            }
        })
        .await;
}

#[tokio::test]
async fn changed_files_are_listed_by_what_happened() {
    for mode in modes() {
        let fixture = base();
        let workspace = fixture.workspace(mode).await;
        let dir = workspace.files();
        write(dir.join("new"), "x\n");
        write(dir.join("empty"), "no more\n");
        fs::remove_file(dir.join("data.bin")).unwrap();
        fs::rename(dir.join("src/main.rs"), dir.join("src/entry.rs")).unwrap();
        let lists = patch::file_lists(&workspace, &fixture.commit.base_oid).await.unwrap();
        let list = |path: &str| vec![path.to_owned()];
        let expected = FileLists {
            added: list("new"),
            modified: list("empty"),
            deleted: list("data.bin"),
            renamed: list("src/entry.rs"),
        };
        assert_eq!(lists, expected, "{mode:?}");
        // What was listed does not stand in the way of the patch.
        let patch =
            patch::compute(&workspace, &fixture.commit.base_oid, 1 << 30, &Masker::default()).await.unwrap();
        assert_eq!(patch.stat.files, 5);
        crate::workspace::discard(workspace.scratch(), &fixture.trash).unwrap();
    }
}

#[tokio::test]
async fn pipes_where_git_reads_by_itself_hold_nobody_up() {
    let fixture = base();
    for mode in modes() {
        let patch = fixture.patch(mode, |dir| {
            write(dir.join("sub/new.txt"), "new\n");
            write(dir.join("README.md"), "changed\n");
            fs::remove_file(dir.join(".gitignore")).unwrap();
            let pipes = ["", "src", "sub"].map(|folder| {
                [".gitignore", ".gitattributes", ".gitmodules"].map(|name| dir.join(folder).join(name))
            });
            let made = std::process::Command::new("mkfifo").args(pipes.as_flattened()).status().unwrap();
            assert!(made.success());
        });
        let patch = tokio::time::timeout(std::time::Duration::from_secs(60), patch).await;
        let patch = patch.expect("git does not wait for a writer");
        assert_eq!((patch.stat.files, patch.left_out.len()), (2, 9), "{}", shown(&patch.bytes));
    }
}

#[tokio::test]
async fn links_where_git_reads_by_itself_are_not_followed() {
    let endless = |dir: &Path| {
        write(dir.join("new.log"), "not ignored any more\n");
        write(dir.join("README.md"), "changed\n");
        fs::remove_file(dir.join(".gitignore")).unwrap();
        for name in [".gitignore", ".gitattributes"] {
            symlink("/dev/zero", dir.join(name)).unwrap();
        }
    };
    let patch = base().agree(endless).await;
    assert!(patch.contains("+not ignored any more"));
}
