//! Paths inside a repository, and those that only look like one.
//!
//! Pure. Owns what a path in a patch may be. Rules: git's own `verify_path` with `core.protectHFS` and `core.protectNTFS`
//! on, so that a patch never writes into the repository of whoever applies it, nor beside it, on any file system.

/// Code points that HFS+ ignores in names; from git's `next_hfs_char`.
const IGNORED_BY_HFS: &[std::ops::RangeInclusive<char>] =
    &['\u{200c}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{206a}'..='\u{206f}', '\u{feff}'..='\u{feff}'];

/// Why a path leads out of the files of a repository; none if it does not. Components are separated by `/`.
pub fn leads_out(path: &[u8]) -> Option<&'static str> {
    path.split(|byte| *byte == b'/').find_map(|component| match component {
        b"" => Some("it is absolute, or has an empty part"),
        b"." | b".." => Some("it has a part that is `.` or `..`"),
        _ if component.contains(&0) => Some("it has a zero byte"),
        _ => names_git_dir(component).then_some("it leads into a repository's own folder"),
    })
}

/// Whether one component of a path is, or could elsewhere be read as, a repository's folder.
pub fn names_git_dir(component: &[u8]) -> bool {
    // NTFS takes a backslash for a separator.
    component.split(|byte| *byte == b'\\').any(|part| on_ntfs(part) || on_hfs(part))
}

/// NTFS ignores case, spaces and dots at the end, knows a short name, and ends a name at a colon.
fn on_ntfs(part: &[u8]) -> bool {
    let name = part.split(|byte| *byte == b':').next().unwrap_or_default();
    let kept = name.iter().rposition(|byte| !matches!(byte, b' ' | b'.')).map_or(0, |last| last + 1);
    let name = &name[..kept];
    name.eq_ignore_ascii_case(b".git") || name.eq_ignore_ascii_case(b"git~1")
}

fn on_hfs(part: &[u8]) -> bool {
    std::str::from_utf8(part).is_ok_and(|text| {
        let seen: String =
            text.chars().filter(|c| !IGNORED_BY_HFS.iter().any(|range| range.contains(c))).collect();
        seen.eq_ignore_ascii_case(".git")
    })
}

#[cfg(test)]
mod tests {
    use super::{leads_out, names_git_dir};

    #[test]
    fn only_what_is_inside_stays_inside() {
        for path in ["a", "a/b", ".gitignore", "..a/b..", "a b/\n", "-rf"] {
            assert_eq!(leads_out(path.as_bytes()), None, "{path:?}");
        }
        for path in
            ["", "/a", "a//b", "a/", "../a", "a/../b", "a/..", "./a", ".git/config", "a/.GIT/hooks/x", "a\0b"]
        {
            assert!(leads_out(path.as_bytes()).is_some(), "{path:?}");
        }
    }

    #[test]
    fn every_spelling_of_the_folder_is_known() {
        for bad in [
            ".git",
            ".GIT",
            ".gIt",
            "git~1",
            "GIT~1",
            ".git ",
            ".git. .",
            ".git::$INDEX",
            ".g\u{200c}it",
            "a\\.git",
        ] {
            assert!(names_git_dir(bad.as_bytes()), "{bad:?}");
        }
        for good in
            [".gitignore", ".gitattributes", ".github", "git", "git~2", ".git2", "x.git", "...", " ", ""]
        {
            assert!(!names_git_dir(good.as_bytes()), "{good:?}");
        }
        assert!(!names_git_dir(b".gi\xfft"));
    }
}
