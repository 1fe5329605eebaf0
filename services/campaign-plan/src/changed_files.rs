//! The files that a patch touches, and where in it each of them stands, read from its headers.
//!
//! Owns the reading of headers, in memory for one line whatever the patch holds, and the refusal of a patch that would
//! write beside the files of a repository: whoever applies it trusts the plan. Invariant: a line of content never counts
//! as a header: those of a hunk are counted, as its own header says, and a binary piece has no spaces.

use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use events::path;
use spec::FileChanges;
use tokio::io::AsyncWrite;

/// No path is longer; what is, is content.
const LINE_BYTES: usize = 64 * 1024;

/// Collects the paths of the files that a patch touches while the patch is written to it.
#[derive(Debug, Default)]
pub(crate) struct ChangedFiles {
    line: Vec<u8>,
    /// How many lines of the old and of the new file the hunk still has.
    hunk: (u64, u64),
    /// The file that is being read.
    file: Option<(Vec<u8>, Kind)>,
    /// Where it begins, and how many lines it adds and takes away so far.
    start: u64,
    lines: (u64, u64),
    /// Where the line begins, and how much of it was taken.
    at: u64,
    length: u64,
    touched: Touched,
    /// Why nobody may apply it.
    refusal: Option<String>,
}

/// What a patch touches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// The files by what happened to them, each list sorted.
    pub(crate) changes: FileChanges,
    /// The files in the order of the patch: the sections of it, one behind the other.
    pub(crate) sections: Vec<Section>,
}

/// One file's part of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// The file.
    pub(crate) path: String,
    /// Its bytes of the patch.
    pub(crate) bytes: Range<u64>,
    /// The lines that it adds.
    pub(crate) insertions: u64,
    /// The lines that it takes away.
    pub(crate) deletions: u64,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Modified,
    Added,
    Deleted,
    Renamed,
}

impl ChangedFiles {
    /// What the patch touches.
    ///
    /// # Errors
    /// Why it must not be applied.
    pub(crate) fn finish(mut self) -> Result<Touched, String> {
        self.end_line();
        self.at += std::mem::take(&mut self.length);
        self.end_file();
        if let Some(refusal) = self.refusal {
            return Err(refusal);
        }
        let FileChanges { modified, added, deleted, renamed } = &mut self.touched.changes;
        for list in [modified, added, deleted, renamed] {
            list.sort_unstable();
        }
        Ok(self.touched)
    }

    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.length += part.len() as u64;
            if ends {
                self.end_line();
                self.at += std::mem::take(&mut self.length);
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        match (&mut self.hunk, line.first()) {
            ((0, 0), _) => self.header(&line),
            ((_, new), Some(b'+')) => {
                *new = new.saturating_sub(1);
                self.lines.0 += 1;
            }
            ((old, _), Some(b'-')) => {
                *old = old.saturating_sub(1);
                self.lines.1 += 1;
            }
            // It belongs to the line before it.
            (_, Some(b'\\')) => {}
            ((old, new), _) => (*old, *new) = (old.saturating_sub(1), new.saturating_sub(1)),
        }
        self.line = line;
        self.line.clear();
    }

    fn header(&mut self, line: &[u8]) {
        if let Some(names) = line.strip_prefix(b"diff --git ") {
            self.end_file();
            self.start = self.at;
            self.file = new_name(names).map(|name| (name, Kind::Modified));
            if let Some((name, _)) = &self.file {
                self.refusal = self.refusal.take().or_else(|| refusal(name));
            }
        } else if let Some(lengths) = hunk(line) {
            self.hunk = lengths;
        } else if let Some(name) = named(line) {
            self.refusal = self.refusal.take().or_else(|| refusal(&name));
            if line.starts_with(b"rename to ") {
                self.file = Some((name, Kind::Renamed));
            }
        } else if let Some((_, kind)) = &mut self.file {
            if line.starts_with(b"new file mode ") {
                *kind = Kind::Added;
            } else if line.starts_with(b"deleted file mode ") {
                *kind = Kind::Deleted;
            }
        }
    }

    fn end_file(&mut self) {
        let Some((name, kind)) = self.file.take() else { return };
        let path = String::from_utf8_lossy(&name).into_owned();
        let (insertions, deletions) = std::mem::take(&mut self.lines);
        let bytes = self.start..self.at;
        self.touched.sections.push(Section { path: path.clone(), bytes, insertions, deletions });
        let changes = &mut self.touched.changes;
        match kind {
            Kind::Modified => changes.modified.push(path),
            Kind::Added => changes.added.push(path),
            Kind::Deleted => changes.deleted.push(path),
            Kind::Renamed => changes.renamed.push(path),
        }
    }
}

/// The words for a path that leads out.
fn refusal(name: &[u8]) -> Option<String> {
    let why = path::leads_out(name)?;
    let shown: String = String::from_utf8_lossy(name).escape_debug().take(200).collect();
    Some(format!("its patch is refused because of the path `{shown}`: {why}"))
}

/// The path that a line of a header names, as `git apply` reads it.
fn named(line: &[u8]) -> Option<Vec<u8>> {
    let whole = [&b"rename from "[..], b"rename to ", b"copy from ", b"copy to "];
    if let Some(name) = whole.iter().find_map(|start| line.strip_prefix(*start)) {
        return Some(unquote(name));
    }
    let name = line.strip_prefix(b"--- ").or_else(|| line.strip_prefix(b"+++ "))?;
    // What stands after a tab is a time.
    let name = unquote(name.split(|byte| *byte == b'\t').next().unwrap_or_default());
    if name == b"/dev/null" {
        return None;
    }
    // The first part is `a` or `b`. A name without one leads nowhere, and is refused as empty.
    let start = name.iter().position(|byte| *byte == b'/').map_or(name.len(), |slash| slash + 1);
    Some(name[start..].to_vec())
}

/// How many lines of the old and of the new file follow `@@ -start,length +start,length @@`. A length of 1 is left out.
fn hunk(line: &[u8]) -> Option<(u64, u64)> {
    let ranges = line.strip_prefix(b"@@ -")?.split(|byte| *byte == b'@').next()?;
    let (old, new) = std::str::from_utf8(ranges).ok()?.trim_end().split_once(" +")?;
    let length = |range: &str| range.split_once(',').map_or(Some(1), |(_, length)| length.parse().ok());
    Some((length(old)?, length(new)?))
}

/// The name in `a/NAME b/NAME`, either of which may be quoted; none where the two differ, because then other lines say
/// them again.
fn new_name(names: &[u8]) -> Option<Vec<u8>> {
    let (old, new) = if names.ends_with(b"\"") {
        let start = names.windows(4).rposition(|window| window == b" \"b/")?;
        (&names[..start], &names[start + 1..])
    } else {
        let half = names.len().checked_sub(1)? / 2;
        (&names[..half], names.get(half + 1..)?)
    };
    let (old, new) = (unquote(old), unquote(new));
    let (old, new) = (old.strip_prefix(b"a/")?, new.strip_prefix(b"b/")?);
    (old == new).then(|| new.to_vec())
}

/// Reads a name as git writes it: in quotes and with escapes where it holds unusual bytes.
fn unquote(name: &[u8]) -> Vec<u8> {
    let Some(inner) = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) else {
        return name.to_vec();
    };
    let (mut bytes, mut rest) = (Vec::with_capacity(inner.len()), inner);
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'\\' {
            bytes.push(first);
            continue;
        }
        let octal = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &rest[3..];
        } else if let Some((&escape, behind)) = rest.split_first() {
            rest = behind;
            bytes.push(match escape {
                b'a' => 7,
                b'b' => 8,
                b't' => b'\t',
                b'n' => b'\n',
                b'v' => 11,
                b'f' => 12,
                b'r' => b'\r',
                other => other,
            });
        }
    }
    bytes
}

impl AsyncWrite for ChangedFiles {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.get_mut().take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    const PATCH: &str = "diff --git a/a b/c b/a b/c\nindex 1..2 100644\n--- a/a b/c\n+++ b/a b/c\n@@ -1 +1,2 @@\n-x\n\
        +diff --git a/no b/no\n+new file mode 1\n\
        diff --git a/new b/new\nnew file mode 100644\nindex 0..2\n\
        diff --git \"a/\\303\\274 \\\"q\\\"\" \"b/\\303\\274 \\\"q\\\"\"\ndeleted file mode 100644\n\
        diff --git a/old b/moved\nsimilarity index 90%\nrename from old\nrename to moved\n\
        diff --git a/bin b/bin\nindex 3..4\nGIT binary patch\nliteral 3\nKcmZQzU|?i`00IC2\n\nliteral 0\nHcmV?d00001\n\n";

    #[test]
    fn each_file_is_listed_by_what_became_of_it_however_the_patch_is_cut() {
        for cut in [1, 7, PATCH.len()] {
            let mut files = ChangedFiles::default();
            PATCH.as_bytes().chunks(cut).for_each(|piece| files.take(piece));
            let Touched { changes, sections } = files.finish().unwrap();
            let parts =
                sections.iter().map(|section| (section.path.as_str(), section.insertions, section.deletions));
            let expected =
                [("a b/c", 2, 1), ("new", 0, 0), ("ü \"q\"", 0, 0), ("moved", 0, 0), ("bin", 0, 0)];
            assert!(parts.eq(expected), "{sections:?}");
            let whole: String = sections
                .iter()
                .map(|section| &PATCH[section.bytes.start as usize..section.bytes.end as usize])
                .inspect(|part| assert!(part.starts_with("diff --git ")))
                .collect();
            assert_eq!(whole, PATCH);
            assert_eq!(changes.modified, ["a b/c", "bin"]);
            assert_eq!(changes.added, ["new"]);
            assert_eq!(changes.deleted, ["ü \"q\""]);
            assert_eq!(changes.renamed, ["moved"]);
        }
    }

    fn read(patch: &str) -> Result<FileChanges, String> {
        let mut files = ChangedFiles::default();
        files.take(patch.as_bytes());
        files.finish().map(|touched| touched.changes)
    }

    #[test]
    fn a_patch_that_writes_beside_the_files_is_refused() {
        for headers in [
            "diff --git a/../x b/../x\nnew file mode 100644\n",
            "diff --git a/.git/hooks/post-checkout b/.git/hooks/post-checkout\nnew file mode 100755\n",
            "diff --git \"a/sub/.g\\342\\200\\214it/x\" \"b/sub/.g\\342\\200\\214it/x\"\n",
            "diff --git a//etc/passwd b//etc/passwd\n",
            "diff --git a/x b/x\n--- a/x\n+++ b/../../x\n",
            "diff --git a/x b/x\n--- a/.git/config\n+++ b/x\n",
            "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n--- /dev/null\n+++ b//etc/cron.d/x\t2026-01-01\n",
            "--- x\n+++ x\n",
            "diff --git a/x b/y\nsimilarity index 100%\nrename from x\nrename to /y\n",
            "diff --git a/x b/y\nsimilarity index 100%\ncopy from ../x\ncopy to y\n",
        ] {
            let refusal = read(headers).unwrap_err();
            assert!(refusal.contains("is refused because of the path"), "{headers}: {refusal}");
        }
    }

    #[test]
    fn content_may_look_like_anything() {
        let changes = read(
            "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,3 @@ fn f() @@\n--- a/../x\n+++ b/.git/y\n+diff --git a/../z b/../z\n \n\
             diff --git a/no b/no\ndeleted file mode 100644\n--- a/no\n+++ /dev/null\n@@ -1 +0,0 @@\n--- a/../x\n\\ No newline at end of file\n",
        );
        let changes = changes.unwrap();
        assert_eq!((changes.modified, changes.deleted), (vec!["x".to_owned()], vec!["no".to_owned()]));
    }
}
