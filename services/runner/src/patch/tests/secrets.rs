//! A patch holds no secret, wherever in it one could stand.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::write;
use crate::fixture::{Fixture, modes};
use crate::mask::Masker;
use crate::patch;

/// As a value that git and others encode: not ASCII alone, and with bytes that mean something in a URL.
const VALUE: &str = "s3cret/\u{e4}+value";

fn masker() -> Masker {
    Masker::new([("TOKEN", VALUE)]).unwrap()
}

async fn compute(
    mode: crate::workspace::Mode,
    change: impl FnOnce(&Path),
) -> Result<patch::Patch, patch::Error> {
    let fixture = Fixture::new(|dir| {
        write(dir.join("README.md"), "# Fixture\n");
        write(dir.join("known"), format!("one\ntwo {VALUE}\nthree\n"));
        write(dir.join(".gitignore"), "*.log\n");
    });
    let workspace = fixture.workspace(mode).await;
    change(&workspace.files());
    let patch = patch::compute(&workspace, &fixture.commit.base_oid, 1 << 30, &masker()).await;
    crate::workspace::discard(workspace.scratch(), &fixture.trash).unwrap();
    patch
}

/// Where the change is refused.
async fn refused(mode: crate::workspace::Mode, change: impl FnOnce(&Path)) -> String {
    match compute(mode, change).await {
        Err(patch::Error::Secret { name, path }) => {
            assert_eq!(name, "TOKEN");
            assert!(!path.contains(VALUE), "{path}");
            path
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_secret_in_a_patch_is_refused_in_any_form_and_place() {
    for mode in modes() {
        let new = |content: Vec<u8>| move |dir: &Path| write(dir.join("sub/new"), content);
        let base64 = data_encoding::BASE64.encode(format!("user:{VALUE}").as_bytes());
        for content in [
            VALUE.as_bytes().to_vec(),
            format!("key: \"{VALUE}\"\n").into_bytes(),
            base64.into_bytes(),
            hex::encode_upper(VALUE).into_bytes(),
            b"s3cret%2F%C3%A4%2Bvalue".to_vec(),
            b"{\"key\": \"s3cret\\/\\u00e4+value\"}".to_vec(),
            // Binary: the patch has it compressed.
            [&[0, 255, 0], VALUE.as_bytes(), &[0; 4000]].concat(),
            // Over the border of two reads.
            [&vec![b'x'; 64 * 1024 - 5], VALUE.as_bytes()].concat(),
        ] {
            assert_eq!(refused(mode, new(content)).await, "sub/new", "{mode:?}");
        }
        assert_eq!(refused(mode, |dir| write(dir.join("README.md"), VALUE)).await, "README.md", "{mode:?}");
        assert_eq!(
            refused(mode, |dir| symlink(format!("/{VALUE}"), dir.join("new-link")).unwrap()).await,
            "new-link"
        );
        let named = format!("a {}", hex::encode(VALUE));
        assert_eq!(refused(mode, |dir| write(dir.join(named), "x")).await, "a ***", "{mode:?}");
    }
}

#[tokio::test]
async fn a_secret_that_goes_or_stands_beside_a_change_is_in_the_patch_too() {
    for mode in modes() {
        assert_eq!(
            refused(mode, |dir| fs::remove_file(dir.join("known")).unwrap()).await,
            "known",
            "{mode:?}"
        );
        assert_eq!(refused(mode, |dir| write(dir.join("known"), "one\nthree\n")).await, "known", "{mode:?}");
    }
}

#[tokio::test]
async fn what_is_not_in_the_patch_is_no_reason() {
    for mode in modes() {
        let change = |dir: &Path| {
            write(dir.join("debug.log"), VALUE);
            write(dir.join(".git/config"), VALUE);
            write(dir.join("README.md"), "# Fixture of s3cret things\n");
        };
        let patch = compute(mode, change).await.unwrap();
        assert_eq!(patch.stat.files, 1, "{mode:?}");
    }
}
