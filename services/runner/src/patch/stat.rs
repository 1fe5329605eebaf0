//! How large a patch is, read off the patch itself.
//!
//! Owns the counting. Saves a second `git diff`, which would compare every file again. Invariant: a line counts only
//! inside a hunk, whose header says how many lines it has, so that content which looks like a header counts as content.

use events::job::DiffStat;

/// Counts a patch that `git diff` wrote.
pub(super) fn of(patch: &[u8]) -> DiffStat {
    let mut stat = DiffStat::default();
    // Lines of the current hunk that are still to come, of the old and of the new file.
    let (mut old, mut new) = (0u64, 0u64);
    let mut header: &[u8] = b"";
    for line in patch.split(|byte| *byte == b'\n') {
        if old == 0 && new == 0 {
            if line.starts_with(b"diff --git ") {
                // A file that becomes a link is taken away and put back: two parts, one file.
                stat.files += u32::from(line != header);
                header = line;
            } else if let Some(lengths) = hunk(line) {
                (old, new) = lengths;
            }
            continue;
        }
        match line.first() {
            Some(b'+') => (new, stat.insertions) = (new.saturating_sub(1), stat.insertions + 1),
            Some(b'-') => (old, stat.deletions) = (old.saturating_sub(1), stat.deletions + 1),
            // "\ No newline at end of file" belongs to the line before it.
            Some(b'\\') => {}
            _ => (old, new) = (old.saturating_sub(1), new.saturating_sub(1)),
        }
    }
    stat
}

/// The lengths in `@@ -start,length +start,length @@`. A length of 1 is left out.
fn hunk(line: &[u8]) -> Option<(u64, u64)> {
    let ranges = std::str::from_utf8(line.strip_prefix(b"@@ -")?.split(|byte| *byte == b'@').next()?).ok()?;
    let (old, new) = ranges.trim_end().split_once(" +")?;
    Some((length(old)?, length(new)?))
}

fn length(range: &str) -> Option<u64> {
    range.split_once(',').map_or(Some(1), |(_, length)| length.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_looks_like_a_header_is_content() {
        let patch = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@ fn x() @@\n-diff --git a/y b/y\n+@@ -1 +1 @@\n\
            +++ b/x\n keep\n\\ No newline at end of file\ndiff --git a/z b/z\nGIT binary patch\nliteral 1\nIcmZ\n";
        assert_eq!(of(patch), DiffStat { files: 2, insertions: 2, deletions: 1 });
        assert_eq!(of(b""), DiffStat::default());
    }
}
