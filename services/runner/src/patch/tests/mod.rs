//! Patches against git itself: the same changes in a plain checkout must give the same bytes.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

mod random;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::FileLists;
use crate::fixture::{Fixture, git, modes, shown};
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
async fn binary_files_are_made_and_changed() {
    let noise = |seed: u64| {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        (0..70_000).map(|_| next()).collect::<Vec<u8>>()
    };
    let fixture = base();
    let patch = fixture.agree(|dir| {
        write(dir.join("noise"), noise(7));
        write(dir.join("data.bin"), [0, 9, 9, 9]);
    });
    assert!(patch.await.contains("GIT binary patch"));
}

#[tokio::test]
async fn names_are_bytes() {
    let fixture = base();
    let patch = fixture.agree(|dir| {
        for name in
            [&b"caf\xe9"[..], b"two words", b" lead", b"new\nline", b"tab\there", b"quo\"te", b"-rf", b"a:b"]
        {
            write(dir.join(OsStr::from_bytes(name)), "x\n");
        }
        write(dir.join("dir with space/\u{1f980}"), "crab\n");
        write(dir.join("back\\slash"), "x\n");
    });
    assert!(patch.await.contains("new\\nline"));
}

#[tokio::test]
async fn line_endings_without_attributes_are_content() {
    let fixture = Fixture::new(|dir| {
        write(dir.join("dos.txt"), "one\r\ntwo\r\n");
        write(dir.join("unix.txt"), "one\ntwo\n");
    });
    let patch = fixture.agree(|dir| {
        write(dir.join("dos.txt"), "one\r\nthree\r\n");
        write(dir.join("unix.txt"), "one\r\ntwo\r\n");
        write(dir.join("mixed.txt"), "a\r\nb\n");
    });
    assert!(patch.await.contains("+three\r\n"));
}

#[tokio::test]
async fn line_endings_follow_the_attributes() {
    let fixture = Fixture::new(|dir| {
        write(dir.join(".gitattributes"), "*.txt text\n*.bat text eol=crlf\n*.dat -text\n*.auto text=auto\n");
        write(dir.join("a.txt"), "one\ntwo\n");
        write(dir.join("run.bat"), "echo 1\r\n");
        write(dir.join("x.dat"), "a\r\n");
        write(dir.join("y.auto"), "a\n");
    });
    let patch = fixture.agree(|dir| {
        assert_eq!(
            fs::read(dir.join("run.bat")).unwrap(),
            b"echo 1\r\n",
            "checked out as the attributes say"
        );
        write(dir.join("a.txt"), "one\r\nthree\r\n");
        write(dir.join("run.bat"), "echo 2\r\n");
        write(dir.join("x.dat"), "a\r\nb\r\n");
        write(dir.join("y.auto"), "a\r\nb\r\n");
        write(dir.join("new.txt"), "only\r\n");
    });
    assert!(patch.await.contains("+three\n"));
}

#[tokio::test]
async fn attributes_that_a_step_changes_apply_to_what_it_writes() {
    let fixture = Fixture::new(|dir| write(dir.join("other.txt"), "crlf\r\n"));
    let change = |dir: &Path| {
        write(dir.join(".gitattributes"), "*.txt text\nsecret -diff\n");
        write(dir.join("other.txt"), "crlf\r\nmore\r\n");
        write(dir.join("secret"), "text\n");
    };
    fixture.agree(change).await;
    // In a plain checkout it depends on the second of the checkout whether git looks at a file that nobody wrote.
    let fixture = Fixture::new(|dir| {
        write(dir.join("other.txt"), "crlf\r\n");
        write(dir.join("untouched.txt"), "crlf\r\n");
    });
    for mode in modes() {
        let patch = fixture.patch(mode, change).await;
        assert!(!shown(&patch.bytes).contains("untouched.txt"), "{mode:?}");
        assert_eq!(patch.stat.files, 3);
    }
}

#[tokio::test]
async fn new_files_that_are_ignored_stay_out() {
    let fixture = Fixture::new(|dir| {
        write(dir.join(".gitignore"), "*.log\n/build/\n!keep.log\ntracked-ignored\n");
        write(dir.join("sub/.gitignore"), "local\n");
        write(dir.join("src/x"), "x\n");
        write(dir.join("kept/file"), "x\n");
        write(dir.join("tracked-ignored"), "x\n");
        git(dir, &["add", "-f", "tracked-ignored"]);
    });
    let patch = fixture.agree(|dir| {
        write(dir.join("a.log"), "out\n");
        write(dir.join("keep.log"), "in\n");
        write(dir.join("build/out.o"), "out\n");
        write(dir.join("sub/local"), "out\n");
        write(dir.join("sub/global"), "in\n");
        write(dir.join("tracked-ignored"), "changed\n");
        write(dir.join("kept/.gitignore"), "generated\n");
        write(dir.join("kept/generated"), "out\n");
    });
    let patch = patch.await;
    assert!(!patch.contains("out.o") && patch.contains("keep.log") && patch.contains("+changed"));
}

#[tokio::test]
async fn a_repository_inside_is_files_without_its_git_folder() {
    let fixture = base();
    for mode in modes() {
        let patch = fixture
            .patch(mode, |dir| {
                write(dir.join("vendor/lib/code.c"), "int x;\n");
                git(&dir.join("vendor/lib"), &["init", "-q"]);
                write(dir.join("vendor/lib/.git/hooks/post-index-change"), "#!/bin/sh\ntouch /tmp/owned\n");
                write(dir.join("sly/.GIT/config"), "[core]\n");
                write(dir.join("sly/git~1"), "x\n");
            })
            .await;
        assert!(shown(&patch.bytes).starts_with("diff --git a/vendor/lib/code.c b/vendor/lib/code.c\n"));
        assert_eq!(patch.stat.files, 1);
        let mut left_out: Vec<_> = patch.left_out.iter().map(|left| left.path.to_str().unwrap()).collect();
        left_out.sort_unstable();
        assert_eq!(left_out, ["sly/.GIT", "sly/git~1"]);
    }
}

#[tokio::test]
async fn a_submodule_stays_as_it_is_until_it_is_removed() {
    let fixture = Fixture::new(|dir| {
        write(dir.join("file"), "x\n");
        let oid = "a".repeat(40);
        git(dir, &["update-index", "--add", "--cacheinfo", &format!("160000,{oid},sub")]);
        fs::create_dir(dir.join("sub")).unwrap();
    });
    assert_eq!(fixture.agree(|dir| write(dir.join("sub/inside"), "x\n")).await, "");
    let patch = fixture.agree(|dir| fs::remove_dir(dir.join("sub")).unwrap()).await;
    assert!(patch.contains("deleted file mode 160000"));
    let patch = fixture.agree(|dir| {
        fs::remove_dir(dir.join("sub")).unwrap();
        write(dir.join("sub"), "a file\n");
    });
    assert!(patch.await.contains("+a file"));
}

#[tokio::test]
async fn a_step_that_tampers_with_git_changes_nothing_for_the_host() {
    let fixture = base();
    let owned = fixture.dir.path().join("owned");
    let script = format!("#!/bin/sh\ntouch {}\ncat\n", owned.display());
    let expected = fixture.oracle(|dir| write(dir.join("README.md"), "changed\n")).0;
    for mode in modes() {
        let patch = fixture
            .patch(mode, |dir| {
                write(dir.join("README.md"), "changed\n");
                write(dir.join(".git/evil"), &script);
                chmod(dir.join(".git/evil"), 0o755);
                for hook in ["pre-commit", "post-index-change", "post-checkout"] {
                    write(dir.join(".git/hooks").join(hook), &script);
                    chmod(dir.join(".git/hooks").join(hook), 0o755);
                }
                let evil = dir.join(".git/evil");
                for key in ["core.fsmonitor", "filter.evil.clean", "diff.evil.textconv", "diff.external"] {
                    git(dir, &["config", key, evil.to_str().unwrap()]);
                }
                write(dir.join(".git/info/attributes"), "* filter=evil diff=evil\n");
                write(dir.join(".git/info/exclude"), "*\n");
                write(dir.join(".git/objects/info/alternates"), "/nowhere\n");
                write(dir.join(".git/HEAD"), "ref: refs/heads/elsewhere\n");
                fs::remove_file(dir.join(".git/index")).unwrap();
            })
            .await;
        assert_eq!(shown(&patch.bytes), shown(&expected), "{mode:?}");
        assert!(!owned.exists());
        // The attributes in the tree name drivers that only the closed configuration could define.
        let patch = fixture
            .patch(mode, |dir| {
                write(dir.join(".gitattributes"), "* filter=evil diff=evil merge=evil\n");
                write(dir.join("README.md"), "changed\n");
            })
            .await;
        assert!(shown(&patch.bytes).contains("+changed"));
        assert!(!owned.exists());
    }
}

#[tokio::test]
async fn a_git_folder_that_is_gone_or_a_file_is_no_matter() {
    for mode in modes() {
        let patch = base()
            .patch(mode, |dir| {
                fs::remove_dir_all(dir.join(".git")).unwrap();
                write(dir.join(".git"), "gitdir: /tmp\n");
                write(dir.join("new"), "x\n");
            })
            .await;
        assert_eq!(patch.stat.files, 1);
    }
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

#[tokio::test]
async fn what_git_cannot_hold_is_named_and_left_out() {
    for mode in modes() {
        let patch = base()
            .patch(mode, |dir| {
                let status = std::process::Command::new("mkfifo").arg(dir.join("pipe")).status().unwrap();
                assert!(status.success());
                std::os::unix::net::UnixListener::bind(dir.join("socket")).unwrap();
                fs::create_dir_all(dir.join("empty-folder/inside")).unwrap();
            })
            .await;
        assert_eq!(patch.bytes, b"");
        assert_eq!(patch.left_out.len(), 2, "{:?}", patch.left_out);
    }
}

#[tokio::test]
async fn a_folder_too_deep_for_a_path_is_the_jobs_fault() {
    for mode in modes() {
        let fixture = base();
        let workspace = fixture.workspace(mode).await;
        let script = "for i in $(seq 30); do mkdir $1 && cd -P $1 || exit 1; done";
        let status = std::process::Command::new("sh")
            .args(["-c", script, "sh", &"x".repeat(200)])
            .current_dir(workspace.files())
            .status();
        assert!(status.unwrap().success());
        let error = patch::compute(&workspace, &fixture.commit.base_oid, 1 << 30).await.unwrap_err();
        assert!(matches!(error, patch::Error::TooDeep(_)), "{error}");
        crate::workspace::discard(workspace.scratch(), &fixture.trash).unwrap();
        fixture.trash.empty().await.unwrap();
    }
}

#[tokio::test]
async fn a_patch_beyond_the_limit_is_refused() {
    let fixture = base();
    let workspace = fixture.workspace(modes()[0]).await;
    write(workspace.files().join("large"), "line\n".repeat(10_000));
    let error = patch::compute(&workspace, &fixture.commit.base_oid, 20_000).await.unwrap_err();
    assert!(matches!(error, patch::Error::TooLarge { limit_bytes: 20_000 }), "{error}");
    crate::workspace::discard(workspace.scratch(), &fixture.trash).unwrap();
}

#[tokio::test]
async fn twenty_thousand_files_cost_what_was_touched() {
    let fixture = Fixture::new(|dir| {
        for folder in 0..200 {
            for file in 0..100 {
                write(dir.join(format!("d{folder}/f{file}")), format!("{folder} {file}\n"));
            }
        }
    });
    fixture
        .agree(|dir| {
            for folder in (0..200).step_by(3) {
                write(dir.join(format!("d{folder}/f7")), "changed\n");
                fs::remove_file(dir.join(format!("d{folder}/f8"))).unwrap();
            }
            fs::remove_dir_all(dir.join("d77")).unwrap();
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
        let patch = patch::compute(&workspace, &fixture.commit.base_oid, 1 << 30).await.unwrap();
        assert_eq!(patch.stat.files, 5);
        crate::workspace::discard(workspace.scratch(), &fixture.trash).unwrap();
    }
}
