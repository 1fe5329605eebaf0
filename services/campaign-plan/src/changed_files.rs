//! The files that a patch touches, read from its headers.
//!
//! Owns the reading of `diff --git` headers, in memory for one line whatever the patch holds. A line of content never
//! looks like a header: it begins with a space, a sign or a backslash, and a binary piece has no spaces.

use std::pin::Pin;
use std::task::{Context, Poll};

use spec::FileChanges;
use tokio::io::AsyncWrite;

/// No path is longer; what is, is content.
const LINE_BYTES: usize = 64 * 1024;

/// Collects the paths of the files that a patch touches while the patch is written to it.
#[derive(Debug, Default)]
pub(crate) struct ChangedFiles {
    line: Vec<u8>,
    /// The file whose headers are being read.
    file: Option<(String, Kind)>,
    changes: FileChanges,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Modified,
    Added,
    Deleted,
    Renamed,
}

impl ChangedFiles {
    /// What the patch touches, each list sorted.
    pub(crate) fn finish(mut self) -> FileChanges {
        self.end_line();
        self.end_file();
        let FileChanges { mut modified, mut added, mut deleted, mut renamed } = self.changes;
        for list in [&mut modified, &mut added, &mut deleted, &mut renamed] {
            list.sort_unstable();
        }
        FileChanges { modified, added, deleted, renamed }
    }

    fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = part.strip_suffix(b"\n").map_or((part, false), |text| (text, true));
            let room = LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if let Some(names) = line.strip_prefix(b"diff --git ") {
            self.end_file();
            self.file = new_name(names).map(|name| (name, Kind::Modified));
        } else if let Some((name, kind)) = &mut self.file {
            if line.starts_with(b"new file mode ") {
                *kind = Kind::Added;
            } else if line.starts_with(b"deleted file mode ") {
                *kind = Kind::Deleted;
            } else if let Some(to) = line.strip_prefix(b"rename to ") {
                *name = unquote(to);
                *kind = Kind::Renamed;
            }
        }
        self.line = line;
        self.line.clear();
    }

    fn end_file(&mut self) {
        let Some((name, kind)) = self.file.take() else { return };
        match kind {
            Kind::Modified => self.changes.modified.push(name),
            Kind::Added => self.changes.added.push(name),
            Kind::Deleted => self.changes.deleted.push(name),
            Kind::Renamed => self.changes.renamed.push(name),
        }
    }
}

/// The name in `a/NAME b/NAME`, either of which may be quoted. Both are the same unless the file was renamed, and a
/// rename says its names again.
fn new_name(names: &[u8]) -> Option<String> {
    if names.ends_with(b"\"") {
        let start = names.windows(4).rposition(|window| window == b" \"b/")?;
        return Some(unquote(&names[start + 1..]).split_off(2));
    }
    let half = names.len().checked_sub(1)? / 2;
    names.get(half + 3..).map(|name| String::from_utf8_lossy(name).into_owned())
}

/// Reads a name as git writes it: in quotes and with escapes where it holds unusual bytes.
fn unquote(name: &[u8]) -> String {
    let Some(inner) = name.strip_prefix(b"\"").and_then(|name| name.strip_suffix(b"\"")) else {
        return String::from_utf8_lossy(name).into_owned();
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
    String::from_utf8_lossy(&bytes).into_owned()
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
            let changes = files.finish();
            assert_eq!(changes.modified, ["a b/c", "bin"]);
            assert_eq!(changes.added, ["new"]);
            assert_eq!(changes.deleted, ["ü \"q\""]);
            assert_eq!(changes.renamed, ["moved"]);
        }
    }
}
