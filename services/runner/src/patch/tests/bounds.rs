//! Bounds: what cannot be in a patch, is too much for one, or must not cost more than was touched.

use std::fs;

use super::{base, write};
use crate::fixture::{Fixture, modes};
use crate::mask::Masker;
use crate::patch;

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
        let error = patch::compute(&workspace, &fixture.commit.base_oid, 1 << 30, &Masker::default())
            .await
            .unwrap_err();
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
    let error =
        patch::compute(&workspace, &fixture.commit.base_oid, 20_000, &Masker::default()).await.unwrap_err();
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
