//! The cache on real git and a real file system.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::fixture::{Fixture, git, shown};

fn fixture() -> Fixture {
    Fixture::new(|dir| fs::write(dir.join("file"), "content\n").unwrap())
}

fn reopened(fixture: &Fixture, limit_bytes: u64) -> TreeCache {
    let folders = FolderCache::open(fixture.dir.path().join("cache"), limit_bytes, fixture.trash.clone());
    TreeCache::over(Arc::new(folders.unwrap()))
}

fn another(fixture: &Fixture, repository: &str) -> Commit {
    Commit { repository: repository.to_owned(), ..fixture.commit.clone() }
}

async fn no_fetch(_: PathBuf) -> Result<()> {
    anyhow::bail!("it should be there already")
}

async fn fetch(fixture: &Fixture, to: PathBuf) -> Result<()> {
    fs::copy(&fixture.pack, to)?;
    Ok(())
}

#[tokio::test]
async fn many_who_ask_at_once_share_one_preparation() {
    let fixture = fixture();
    let fetched = AtomicU32::new(0);
    let ask = || {
        fixture.cache.get(&fixture.commit, |to| {
            fetched.fetch_add(1, Ordering::Relaxed);
            fetch(&fixture, to)
        })
    };
    let trees = futures::future::try_join_all((0..8).map(|_| ask())).await.unwrap();
    assert_eq!(fetched.load(Ordering::Relaxed), 1);
    assert!(trees.iter().all(|tree| tree.files() == trees[0].files()));
    assert_eq!(fs::read_to_string(trees[0].files().join("file")).unwrap(), "content\n");
}

#[tokio::test]
async fn a_failed_preparation_leaves_nothing_and_can_be_tried_again() {
    let fixture = fixture();
    let cut = |to: PathBuf| async {
        let pack = fs::read(&fixture.pack)?;
        fs::write(to, &pack[..pack.len() - 30])?;
        Ok(())
    };
    let error = fixture.cache.get(&fixture.commit, cut).await.err().unwrap();
    assert!(format!("{error:#}").contains("packfile is damaged"), "{error:#}");
    assert_eq!(fs::read_dir(fixture.dir.path().join("cache")).unwrap().count(), 0);
    fixture.cache.get(&fixture.commit, |to| fetch(&fixture, to)).await.unwrap();
}

#[tokio::test]
async fn a_pack_of_another_commit_is_refused() {
    let (fixture, other) = (fixture(), Fixture::new(|dir| fs::write(dir.join("other"), "x").unwrap()));
    let error = fixture.cache.get(&fixture.commit, |to| fetch(&other, to)).await.err().unwrap();
    assert!(format!("{error:#}").contains("lacks the commit"), "{error:#}");
}

#[tokio::test]
async fn steps_find_a_clean_repository_on_the_base_branch() {
    let fixture = fixture();
    let files = fixture.tree().await.files();
    assert_eq!(shown(&git(&files, &["status", "--porcelain", "--branch"])), "## main\n");
    assert_eq!(shown(&git(&files, &["diff-index", "HEAD"])), "", "also for those who do not refresh first");
    let head = shown(&git(&files, &["rev-parse", "HEAD"]));
    assert_eq!(head.trim(), fixture.commit.base_oid.as_str());
    assert_eq!(shown(&git(&files, &["log", "--format=%s"])), "base\n");
}

#[tokio::test]
async fn trees_outlive_the_process_but_not_the_boot() {
    let fixture = fixture();
    let files = fixture.tree().await.files();
    fs::create_dir(fixture.dir.path().join("cache/new-unfinished")).unwrap();
    let cache = reopened(&fixture, u64::MAX);
    assert_eq!(cache.get(&fixture.commit, no_fetch).await.unwrap().files(), files);
    assert!(!fixture.dir.path().join("cache/new-unfinished").exists());

    let complete = files.parent().unwrap().join("complete");
    let text = fs::read_to_string(&complete).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&complete, text.replace(boot.trim(), "the boot before")).unwrap();
    assert!(reopened(&fixture, u64::MAX).get(&fixture.commit, no_fetch).await.is_err());
}

#[tokio::test]
async fn the_least_recently_used_makes_room_unless_it_is_held() {
    let fixture = fixture();
    let one = fixture.tree().await.0.bytes();
    let cache = reopened(&fixture, 2 * one + one / 2);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| another(&fixture, name));
    let get = |commit: &Commit| {
        let commit = commit.clone();
        let (cache, fixture) = (&cache, &fixture);
        async move { cache.get(&commit, |to| fetch(fixture, to)).await.unwrap() }
    };
    let held = get(&a).await;
    get(&b).await;
    get(&c).await;
    assert!(held.files().exists(), "used longest ago, but somebody works on it");
    assert!(cache.get(&b, no_fetch).await.is_err(), "it made room");
    assert!(cache.get(&c, no_fetch).await.is_ok());
    drop(held);
    get(&d).await;
    assert!(cache.get(&a, no_fetch).await.is_err());
    assert!(cache.get(&c, no_fetch).await.is_ok());
}

#[tokio::test]
async fn a_repository_of_sha256_objects_is_checked_out() {
    let fixture = Fixture::with_format("sha256", |dir| fs::write(dir.join("file"), "content\n").unwrap());
    assert_eq!(fixture.commit.base_oid.as_str().len(), 64);
    let patch = fixture.agree(|dir| fs::write(dir.join("file"), "changed\n").unwrap()).await;
    assert!(patch.contains("+changed"));
}

#[tokio::test]
async fn a_tree_of_one_folder_has_its_files_and_what_git_reads_above() {
    let mut fixture = Fixture::new(|dir| {
        for file in [
            "a/b c/in",
            "a/bc/out",
            "a/.gitignore",
            "a/b c/.gitignore",
            ".gitattributes",
            "root",
            "a/b c/[x]/in",
        ] {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if file == "a/.gitignore" { "*.log\n" } else { "\n" }).unwrap();
        }
    });
    let all = fixture.tree().await.files();
    fixture.commit.only = Some("a/b c".to_owned());
    let files = fixture.tree().await.files();
    assert_ne!(files, all);
    let mut there = shown(&git(&files, &["ls-files", "-t"])).lines().map(str::to_owned).collect::<Vec<_>>();
    there.retain(|line| line.starts_with("H "));
    assert_eq!(
        there,
        ["H .gitattributes", "H a/.gitignore", "H a/b c/.gitignore", "H a/b c/[x]/in", "H a/b c/in"]
    );
    assert_eq!(shown(&git(&files, &["status", "--porcelain"])), "", "what is not there is not missing");
    assert!(files.join("a/b c/in").exists() && !files.join("a/bc").exists() && !files.join("root").exists());

    let change = |dir: &std::path::Path| {
        fs::write(dir.join("a/b c/in"), "changed\n").unwrap();
        fs::write(dir.join("a/b c/new"), "new\n").unwrap();
        fs::write(dir.join("a/b c/x.log"), "ignored\n").unwrap();
        fs::write(dir.join("root"), "written without having been there\n").unwrap();
    };
    for mode in crate::fixture::modes() {
        let patch = fixture.patch(mode, change).await;
        assert_eq!(shown(&patch.bytes), shown(&fixture.oracle(change).0), "{mode:?}");
    }

    fixture.commit.only = Some("a/b c/[x]".to_owned());
    let files = fixture.tree().await.files();
    assert!(files.join("a/b c/[x]/in").exists() && !files.join("a/b c/in").exists());
}
