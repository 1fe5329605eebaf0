//! Patches: whatever a step does to the files, the plan holds what git would say.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use crate::world::git::Repository;
use crate::world::{World, oracle, script_definition};

/// One script for all: each repository brings its own case along.
const SCRIPT: &str = "sh case.sh";

fn cases(world: &World) -> Vec<Repository> {
    let case =
        |name: &str, script: &str| world.repository(name).file("case.sh", script).file("kept", "kept\n");
    let text = "one\ntwo\nthree\nfour\nfive\nsix\n";
    vec![
        case("added", "mkdir -p a/b; echo new >a/b/c").commit(),
        case("deleted", "rm -r old").file("old/file", text).commit(),
        case("renamed", "mv from to").file("from", text).commit(),
        case("mode", "chmod 755 tool; chmod 644 plain").file("tool", "x").file("plain", "y").executable("plain").commit(),
        case("link-made", "ln -s kept link").commit(),
        case("link-replaced", "rm link file; ln -s other link; ln -s kept file; rm back; echo text >back")
            .file("file", "x")
            .symlink("link", "kept")
            .symlink("back", "kept")
            .commit(),
        case("link-removed", "rm link").symlink("link", "kept").commit(),
        case("binary", r"printf '\000\001\377\n\000' >blob; printf 'a\000c' >old").file("old", b"a\0b".as_slice()).commit(),
        case("empty-file", ": >empty; : >full").file("full", text).commit(),
        case("folder-to-file", "rm -r folder; echo file >folder").file("folder/a", "a").file("folder/b/c", "c").commit(),
        case("file-to-folder", "rm file; mkdir file; echo in >file/in").file("file", text).commit(),
        case("folder-and-back", "rm -r folder; echo x >folder; rm folder; mkdir folder; echo new >folder/a").file("folder/a", "a\n").file("folder/b", "b\n").commit(),
        case("names", "mv 'with space' 'other space'; echo x >'quote\"d'; echo y >\"$(printf 'tab\\there')\"; echo z >>\"$(printf 'latin\\351')\"")
            .file("with space", text)
            .file(OsStr::from_bytes(b"latin\xe9"), "e\n")
            .commit(),
        case("line-ends", r"printf 'a\r\nb\r\n' >crlf; printf 'no end' >no-end; printf 'x\r\n' >>mixed").file("mixed", "a\nb\r\n").file("no-end", "a\n").commit(),
        case("attributes", r"printf 'a\r\nb\n' >text.txt; printf 'a\r\n' >bin.dat").file(".gitattributes", "*.txt text eol=lf\n*.dat -text\n").commit(),
        case("ignored", "echo x >new.log; mkdir target; echo y >target/out; echo z >>old.log; echo w >new.txt")
            .file(".gitignore", "*.log\ntarget/\n")
            .file("old.log", "kept although ignored\n")
            .commit(),
        case("touched-only", "cat kept >copy; mv copy kept; touch case.sh").commit(),
        many(case("many", "for n in 1 2 3; do echo changed >dir7/file$n; done; rm dir9/file5; echo new >dir3/new")),
    ]
}

/// 20,000 files.
fn many(repository: Repository) -> Repository {
    let mut repository = repository;
    for folder in 0..100 {
        for file in 0..200 {
            repository = repository.file(format!("dir{folder}/file{file}"), format!("{folder} {file}\n"));
        }
    }
    repository.commit()
}

#[test]
fn every_patch_is_what_git_says_of_a_plain_checkout() {
    let world = World::up();
    let repositories = cases(&world);
    let all: Vec<&Repository> = repositories.iter().collect();
    let expected = oracle::run(world.folder(), &all, SCRIPT);

    let run = world.run_script(SCRIPT, &all).expect(0);
    let patches = world.export(&run.plan());

    for (repository, outcome) in all.iter().zip(&expected) {
        let name = repository.name();
        assert_eq!(outcome.code, 0, "{name}");
        let Some(file) = patches.get(&name) else {
            assert!(outcome.patch.is_empty(), "{name} is not in the plan");
            continue;
        };
        let patch = std::fs::read(file).unwrap();
        assert!(
            patch == outcome.patch,
            "{name}:\n{}\n--- expected\n{}",
            String::from_utf8_lossy(&patch),
            String::from_utf8_lossy(&outcome.patch)
        );
        repository.apply(file);
        assert_eq!(repository.tree(), outcome.tree, "{name}");
    }
    assert!(!patches.contains_key("touched-only"));
    world.end();
}

#[test]
fn what_a_step_does_to_git_is_neither_read_nor_run() {
    let world = World::up();
    let repository = world.repository("victim").file("a", "1\n").commit();
    let proof = world.folder().join("proof");
    std::fs::create_dir(&proof).unwrap();
    let script = format!(
        r#"echo 2 >a
mkdir -p .git/hooks sub/.git/hooks
printf '[core]\n\tfsmonitor = touch {proof}/fsmonitor\n\thooksPath = hooks\n\tattributesFile = /work/attributes\n[filter "evil"]\n\tclean = touch {proof}/filter\n' >.git/config
cp .git/config sub/.git/config
echo '* filter=evil diff=evil' >.gitattributes
echo '#!/bin/sh' >.git/hooks/post-index-change; chmod +x .git/hooks/post-index-change
echo 'ref: refs/heads/elsewhere' >.git/HEAD; echo 'ref: refs/heads/x' >sub/.git/HEAD
rm -rf .git/index .git/objects; ln -s / .git/objects
echo new >sub/file"#,
        proof = proof.display()
    );
    let run = world.run_script(&script, &[&repository]).expect(0);
    let patch = world.ok(&["plan", "diff", &run.plan()]);
    for part in ["+2", "diff --git a/.gitattributes", "diff --git a/a b/a", "diff --git a/sub/file"] {
        assert!(patch.contains(part), "{part} is not in:\n{patch}");
    }
    assert!(!patch.contains("fsmonitor") && !patch.contains(".git/"), "{patch}");
    assert_eq!(std::fs::read_dir(&proof).unwrap().count(), 0, "the host ran what a step wrote");
    world.end();
}

#[test]
fn a_step_that_removes_git_still_gives_its_patch() {
    let world = World::up();
    let repository = world.repository("plain").file("a", "1\n").commit();
    let definition = script_definition("removed", "echo 2 >a; rm -rf .git");
    let run = world.run(&world.definition("removed.batch.yaml", &definition), &[&repository]).expect(0);
    assert!(world.ok(&["plan", "diff", &run.plan()]).contains("+2"));
    world.end();
}
