//! `mount`: files from beside the definition in a step's container.
//!
//! Owns what a path beside the definition may be, and the places in a container where nothing may be mounted. Never looks
//! at a file: whoever knows the files says of each mount whether it can be.

use super::step;
use super::walk::{Shape, Walk};
use crate::definition::Mount;
use crate::diagnostic::{Code, Problem, shown};
use crate::document::Node;
use crate::template::Template;

pub(super) const MOUNT: Shape = Shape {
    what: "an item of `mount`",
    keys: &["path", "mountpoint"],
    elsewhere: &[
        ("source", "the path beside this file is called `path`"),
        ("target", "the place in the container is called `mountpoint`"),
    ],
};

/// The most mounts of a step: an engine takes its time for each.
const MAX_MOUNTS: usize = 100;

/// Where a container has what a mount would hide, and what that is.
const RESERVED: [(&str, &str); 5] = [
    ("/work", "the repository, and what is mounted there would be part of the change"),
    ("/.patchwave", "the steps' scripts"),
    ("/proc", "the kernel's own files"),
    ("/sys", "the kernel's own files"),
    ("/dev", "the devices"),
];

/// Reads `mount`; `files` are the texts that the step finds as well.
pub(super) fn mounts(walk: &mut Walk<'_>, node: &Node, files: &[(String, Template)]) -> Vec<Mount> {
    let items = walk.list(node, "mount").unwrap_or_default();
    if items.len() > MAX_MOUNTS {
        let message = format!("there are {} mounts, {MAX_MOUNTS} are the most", items.len());
        walk.problem(
            Problem::new(Code::TooLarge, node.anchor(), message).hint("mount a folder that holds them"),
        );
        return Vec::new();
    }
    let mut mounts: Vec<Mount> = Vec::new();
    for item in items {
        let Some((mount, place)) = mount(walk, item) else { continue };
        let others = mounts.iter().map(|other| other.mountpoint.as_str());
        let taken = others
            .chain(files.iter().map(|(path, _)| path.as_str()))
            .find(|other| overlaps(other, &mount.mountpoint));
        if let Some(other) = taken {
            let message =
                format!("`{}` meets `{}`, which is there already", shown(&mount.mountpoint), shown(other));
            walk.problem(
                Problem::new(Code::DuplicateKey, place, message)
                    .hint("what is mounted is read-only, so that nothing can be put into it: choose places beside each other"),
            );
        } else {
            mounts.push(mount);
        }
    }
    mounts
}

fn mount(walk: &mut Walk<'_>, item: &Node) -> Option<(Mount, std::ops::Range<usize>)> {
    let fields = walk.map(item, &MOUNT)?;
    let path_node = walk.required(&fields, "path");
    let path = path_node.and_then(|node| path(walk, node));
    let place = walk.required(&fields, "mountpoint").map(Node::anchor);
    let mountpoint = fields.get("mountpoint").and_then(|node| mountpoint(walk, node));
    let mount = Mount { path: path?, mountpoint: mountpoint? };
    if let (Some(node), Some(refusal)) = (path_node, walk.refusal(&mount)) {
        walk.problem(Problem::new(Code::MissingFile, node.anchor(), refusal.message).hint(refusal.hint));
        return None;
    }
    Some((mount, place?))
}

/// A path below the definition's folder, without what changes nothing in it.
fn path(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let path = walk.filled(node, "path")?;
    let mut names: Vec<&str> = Vec::new();
    let mut leads_out = false;
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => leads_out |= names.pop().is_none(),
            name => names.push(name),
        }
    }
    let message = match () {
        () if path.starts_with('/') => format!("`{}` is an absolute path", shown(path)),
        () if leads_out => format!("`{}` leads out of the folder of this file", shown(path)),
        () if path.contains(|c: char| c.is_control()) => {
            format!("`{}` holds control characters", shown(path))
        }
        () => return Some(names.join("/")),
    };
    walk.problem(
        Problem::new(Code::InvalidValue, node.anchor(), message)
            .hint("write the path of a file or folder beside this file, for example `scripts/fix.sh`"),
    );
    None
}

fn mountpoint(walk: &mut Walk<'_>, node: &Node) -> Option<String> {
    let text = walk.filled(node, "mountpoint")?;
    let mountpoint = step::absolute(walk, text, node.anchor())?;
    let Some((place, what)) = RESERVED.iter().find(|(place, _)| is_below(&mountpoint, place)) else {
        return Some(mountpoint);
    };
    let message = format!("nothing can be mounted at `{}`: `{place}` has {what}", shown(&mountpoint));
    walk.problem(
        Problem::new(Code::InvalidValue, node.anchor(), message)
            .hint("choose a place of its own, for example `/scripts`"),
    );
    None
}

fn overlaps(one: &str, other: &str) -> bool {
    is_below(one, other) || is_below(other, one)
}

/// Whether a path is another, or in it.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
