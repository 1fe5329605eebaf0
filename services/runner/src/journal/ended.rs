//! The attempts that ended last.
//!
//! Owns their file: one name a line, the newest last. Invariant: it holds no more than twice as many names as are
//! remembered, and a name that was half written is as if it had never been.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How many are remembered: far more than the scheduler can have forgotten to have sent.
const REMEMBERED: usize = 1_000;

/// The names of ended attempts.
pub(super) struct Ended {
    path: PathBuf,
    list: Mutex<List>,
}

struct List {
    names: VecDeque<String>,
    file: File,
    /// How many names the file holds.
    written: usize,
}

impl Ended {
    /// Reads the names in a runner's folder.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let path = root.join("ended.txt");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut names: VecDeque<String> = whole.lines().map(str::to_owned).collect();
        names.drain(..names.len().saturating_sub(REMEMBERED));
        let file = rewrite(&path, &names)?;
        let list = Mutex::new(List { written: names.len(), names, file });
        Ok(Self { path, list })
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.list.lock().unwrap_or_else(PoisonError::into_inner).names.iter().any(|known| known == name)
    }

    /// Remembers one more, and forgets the oldest.
    pub(super) fn add(&self, name: String) -> io::Result<()> {
        let list = &mut *self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{name}\n");
        list.names.push_back(name);
        if list.names.len() > REMEMBERED {
            list.names.pop_front();
        }
        if list.written >= 2 * REMEMBERED {
            list.file = rewrite(&self.path, &list.names)?;
            list.written = list.names.len();
            return Ok(());
        }
        list.written += 1;
        super::append(&list.file, line.as_bytes())
    }
}

/// Writes the file anew, and opens it at its end.
fn rewrite(path: &Path, names: &VecDeque<String>) -> io::Result<File> {
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    let next = path.with_extension("next");
    std::fs::write(&next, text)?;
    std::fs::rename(&next, path)?;
    File::options().append(true).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    #[test]
    fn the_memory_is_bounded_also_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let ended = Ended::open(dir.path()).unwrap();
        for number in 0..5 * REMEMBERED {
            ended.add(number.to_string()).unwrap();
        }
        let check = |ended: &Ended| {
            assert!(!ended.contains(&(4 * REMEMBERED - 1).to_string()));
            assert!(ended.contains(&(4 * REMEMBERED).to_string()));
            assert!(std::fs::read_to_string(&ended.path).unwrap().lines().count() <= 2 * REMEMBERED);
        };
        check(&ended);
        drop(ended);
        check(&Ended::open(dir.path()).unwrap());
    }

    #[test]
    fn half_a_name_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let ended = Ended::open(dir.path()).unwrap();
        ended.add("one".to_owned()).unwrap();
        ended.add("two".to_owned()).unwrap();
        File::options().write(true).open(&ended.path).unwrap().set_len(6).unwrap();
        let ended = Ended::open(dir.path()).unwrap();
        ended.add("three".to_owned()).unwrap();
        let ended = Ended::open(dir.path()).unwrap();
        assert_eq!(
            ["one", "two", "tw", "twthree", "three"].map(|name| ended.contains(name)),
            [true, false, false, false, true]
        );
    }
}
