//! Git's own files in a workspace: what is ignored, repositories inside, and a `.git` that a step wrote in.

use std::fs;

use super::{base, chmod, write};
use crate::fixture::{Fixture, git, modes, shown};

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
