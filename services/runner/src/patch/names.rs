//! Names that some system takes for `.git`.
//!
//! Owns one question and its answer. Rules: git's own `verify_path` with `core.protectHFS` and `core.protectNTFS` on,
//! so that a patch never writes into the repository of whoever applies it, on any file system.

/// Code points that HFS+ ignores in names; from git's `next_hfs_char`.
const IGNORED_BY_HFS: &[std::ops::RangeInclusive<char>] =
    &['\u{200c}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{206a}'..='\u{206f}', '\u{feff}'..='\u{feff}'];

/// Whether one component of a path is, or could elsewhere be read as, a repository's folder.
pub(super) fn names_git_dir(component: &[u8]) -> bool {
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
    use super::names_git_dir;

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
