//! What kind of thing a path is: folders, links and files take each other's place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{base, write};
use crate::fixture::{Fixture, modes};

#[tokio::test]
async fn links_are_made_replaced_and_removed() {
    base()
        .agree(|dir| {
            symlink("/etc/passwd", dir.join("outside")).unwrap();
            symlink("nowhere", dir.join("src/dangling")).unwrap();
            fs::remove_file(dir.join("link")).unwrap();
            write(dir.join("link"), "a file now\n");
            fs::remove_file(dir.join("folder-link")).unwrap();
            fs::remove_file(dir.join("README.md")).unwrap();
            symlink("src/main.rs", dir.join("README.md")).unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_folder_becomes_a_link_and_a_link_a_folder() {
    let fixture = base();
    let patch = fixture.agree(|dir| {
        fs::remove_dir_all(dir.join("src")).unwrap();
        symlink("new-src", dir.join("src")).unwrap();
        write(dir.join("new-src/main.rs"), "moved\n");
        fs::remove_file(dir.join("folder-link")).unwrap();
        write(dir.join("folder-link/inside"), "x\n");
    });
    assert!(patch.await.contains("deleted file mode 100644"));
}

#[tokio::test]
async fn a_link_to_itself_becomes_a_folder_as_git_says_though_git_cannot_apply_it() {
    let fixture = Fixture::new(|dir| symlink("round", dir.join("round")).unwrap());
    let change = |dir: &Path| {
        fs::remove_file(dir.join("round")).unwrap();
        write(dir.join("round/a"), "x\n");
    };
    let (_, expected, stat) = fixture.plain_patch(change);
    for mode in modes() {
        let patch = fixture.patch(mode, change).await;
        assert_eq!((patch.bytes, patch.stat), (expected.clone(), stat), "{mode:?}");
    }
}

#[tokio::test]
async fn an_ignored_link_over_a_folder_still_removes_the_folder() {
    let fixture = base();
    let patch = fixture.agree(|dir| {
        write(dir.join(".gitignore"), "/src\n");
        fs::remove_dir_all(dir.join("src")).unwrap();
        symlink("/", dir.join("src")).unwrap();
    });
    assert!(patch.await.contains("--- a/src/main.rs\n+++ /dev/null"));
}

#[tokio::test]
async fn a_folder_becomes_a_file_and_a_file_a_folder() {
    base()
        .agree(|dir| {
            fs::remove_dir_all(dir.join("src/deep")).unwrap();
            write(dir.join("src/deep"), "a file\n");
            fs::remove_file(dir.join("data.bin")).unwrap();
            write(dir.join("data.bin/x"), "a folder\n");
        })
        .await;
}

#[tokio::test]
async fn a_folder_becomes_a_file_and_a_folder_again() {
    base()
        .agree(|dir| {
            fs::remove_dir_all(dir.join("src")).unwrap();
            write(dir.join("src"), "for a moment\n");
            fs::remove_file(dir.join("src")).unwrap();
            write(dir.join("src/lib.rs"), "pub fn one() {}\n");
            write(dir.join("src/other.rs"), "\n");
        })
        .await;
}

#[tokio::test]
async fn a_folder_that_was_made_again_hides_the_one_below() {
    let fixture = base();
    let patch = fixture.agree(|dir| {
        fs::remove_dir_all(dir.join("src")).unwrap();
        write(dir.join("src/main.rs"), "fn main() {}\n");
        write(dir.join("src/deep/new"), "\n");
        fs::create_dir(dir.join("src/deep/er")).unwrap();
    });
    assert!(patch.await.contains("--- a/src/deep/er/file\n+++ /dev/null"));
}

#[tokio::test]
async fn a_folder_moves_with_what_is_in_it() {
    base()
        .agree(|dir| {
            fs::rename(dir.join("src/deep"), dir.join("moved")).unwrap_or_else(|_| {
                // An overlay may refuse to rename a folder of the lower layer; `mv` then copies.
                fs::create_dir_all(dir.join("moved/er")).unwrap();
                fs::copy(dir.join("src/deep/er/file"), dir.join("moved/er/file")).unwrap();
                fs::remove_dir_all(dir.join("src/deep")).unwrap();
            });
        })
        .await;
}

#[tokio::test]
async fn hard_links_are_files_of_their_own() {
    base()
        .agree(|dir| {
            fs::hard_link(dir.join("src/main.rs"), dir.join("src/twin.rs")).unwrap();
            let mut file = fs::File::options().append(true).open(dir.join("src/twin.rs")).unwrap();
            std::io::Write::write_all(&mut file, b"// both\n").unwrap();
        })
        .await;
}
