//! A source pack, taken apart as a runner does it.

use std::path::Path;

use events::ticket::Workspace;

use crate::repository::{Repository, git};
use crate::world::World;

/// Unpacks the workspace's source and checks that it is the commit, whole, and nothing else.
pub(crate) async fn check(world: &World, workspace: &Workspace, origin: &Repository) {
    let pack = world.gateway.get_blob(&workspace.source).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let oid = workspace.base_oid.as_str();
    let format = if oid.len() == 64 { "sha256" } else { "sha1" };
    git(dir.path(), &["init", "-q", "--bare", "--object-format", format, "."]);
    std::fs::write(dir.path().join("objects/pack/pack-source.pack"), &pack).unwrap();
    std::fs::write(dir.path().join("shallow"), format!("{oid}\n")).unwrap();
    git(dir.path(), &["index-pack", "--no-rev-index", "objects/pack/pack-source.pack"]);
    let list = ["ls-tree", "-r", "-t", "-z", "--full-tree", oid];
    assert_eq!(git(dir.path(), &list), git(&origin.path, &list));
    check_out(dir.path(), oid);
    let commits = git(dir.path(), &["cat-file", "--batch-all-objects", "--batch-check=%(objecttype)"]);
    let commits = String::from_utf8(commits).unwrap().lines().filter(|kind| *kind == "commit").count();
    assert_eq!(commits, 1, "the history stays where it is");
}

/// Every blob has to be there.
fn check_out(git_dir: &Path, oid: &str) {
    let files = tempfile::tempdir().unwrap();
    let (git_dir, work_tree) = (git_dir.to_str().unwrap(), files.path().to_str().unwrap());
    let args = [
        &format!("--git-dir={git_dir}"),
        &format!("--work-tree={work_tree}"),
        "read-tree",
        "--reset",
        "-u",
        oid,
    ];
    git(files.path(), &args.map(|arg: &str| arg));
}
