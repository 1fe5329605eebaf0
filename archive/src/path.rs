//! Paths and links in an archive.
//!
//! Owns what may be a name and where a link may lead. Pure. Invariant: whoever follows links inside an unpacked archive,
//! from any path in it, never leaves it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

/// The longest path in bytes: with the folder that it is unpacked into it stays below what a system takes.
pub(crate) const MAX_PATH: usize = 1_024;

/// The longest name in bytes.
const MAX_NAME: usize = 255;

/// A path in an archive, by its names. Ordered as a folder before all that is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<Vec<u8>>);

impl EntryPath {
    /// Reads a path; the error says what is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > MAX_PATH {
            return Err("its path is longer than 1,024 bytes");
        }
        if bytes.starts_with(b"/") {
            return Err("its path is absolute");
        }
        let names = bytes.split(|byte| *byte == b'/').map(|name| match name {
            b"" => Err("its path has an empty name"),
            b"." | b".." => Err("its path has `.` or `..` in it"),
            _ if name.len() > MAX_NAME => Err("a name in its path is longer than 255 bytes"),
            _ if name.contains(&0) => Err("its path has a NUL in it"),
            _ => Ok(name.to_vec()),
        });
        names.collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn parent(&self) -> &[Vec<u8>] {
        self.0.split_last().map_or(&[], |(_, parent)| parent)
    }

    pub(crate) fn names(&self) -> &[Vec<u8>] {
        &self.0
    }

    pub(crate) fn to_path(&self) -> PathBuf {
        self.0.iter().map(|name| OsStr::from_bytes(name)).collect()
    }

    /// For messages: with nothing in it that a terminal acts on.
    pub(crate) fn shown(&self) -> String {
        shown(&self.0.join(&b'/'))
    }
}

/// Any path for a message.
pub(crate) fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path).escape_debug().to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Why a link may not lead there, if it may not. `..` may only stand at the beginning: there it steps through real folders,
/// while behind a name it could step out of wherever another link leads.
pub(crate) fn link_problem(link: &EntryPath, target: &[u8]) -> Option<&'static str> {
    if target.is_empty() || target.len() > MAX_PATH || target.contains(&0) {
        return Some("a link to nothing that could be a path");
    }
    if target.starts_with(b"/") {
        return Some("a link to an absolute path, which means something else in a container");
    }
    let names: Vec<&[u8]> =
        target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).collect();
    let up = names.iter().take_while(|name| **name == b"..").count();
    if up > link.parent().len() {
        return Some("a link that leads out of the folder");
    }
    names[up..].contains(&&b".."[..]).then_some("a link with `..` behind a name")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn a_path_stays_below() {
        for good in ["a", "a/b", ".hidden", "a/..b", "a\n", "…", "-x"] {
            assert_eq!(EntryPath::parse(good.as_bytes()).unwrap().to_path(), PathBuf::from(good));
        }
        let (long_name, long_path) = ("n".repeat(256), "n/".repeat(600));
        for bad in ["", "/a", "a//b", "a/", ".", "a/./b", "..", "a/../b", "a\0", &long_name, &long_path] {
            assert!(EntryPath::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_folder_stands_before_what_is_in_it() {
        let mut paths =
            ["a-b", "a/b", "a", "a.b", "a/b/c"].map(|path| EntryPath::parse(path.as_bytes()).unwrap());
        paths.sort();
        assert_eq!(paths.map(|path| path.shown()), ["a", "a/b", "a/b/c", "a-b", "a.b"]);
    }

    #[test]
    fn a_link_stays_inside() {
        let link = EntryPath::parse(b"one/two/link").unwrap();
        for good in ["x", "./x", "../x", "../../x/y", "../..", "missing/file", "x//y"] {
            assert_eq!(link_problem(&link, good.as_bytes()), None, "{good}");
        }
        for bad in ["", "/etc/passwd", "../../../x", "./../../../x", "x/../y", "../x/..", "a\0"] {
            assert!(link_problem(&link, bad.as_bytes()).is_some(), "{bad:?}");
        }
    }
}
