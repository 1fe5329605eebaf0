//! What is in a file: bytes, names, line endings and what attributes make of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::{base, write};
use crate::fixture::{Fixture, modes, shown};

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
