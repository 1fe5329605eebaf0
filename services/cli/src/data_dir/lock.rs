//! The lock of the data directory: one broker to one folder.
//!
//! Owns the file `lock`, which the kernel unlocks however its holder ends. The pid in it is for people alone.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::fs::{FlockOperation, flock};

use super::DataDir;
use crate::failure::Complaint;

/// How long the end of a killed process may take to let go of the lock.
const MOMENT: Duration = Duration::from_secs(1);

/// The lock, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says who holds it.
    pub(crate) fn take(data: &DataDir) -> anyhow::Result<Self> {
        let path = data.path().join("lock");
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| data.unusable(&error))?;
        if let Err(error) = try_for_a_moment(&file) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(error).with_context(|| format!("{} cannot be locked", path.display()));
            }
            let mut holder = String::new();
            // Who holds it is a courtesy: without it the message is still right.
            let _ = file.read_to_string(&mut holder);
            return Err(held(data, holder.trim()).into());
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { _file: file })
    }
}

/// Whoever was killed a moment ago may still hold it.
fn try_for_a_moment(file: &File) -> rustix::io::Result<()> {
    let start = Instant::now();
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if start.elapsed() < MOMENT => std::thread::sleep(MOMENT / 20),
            done => return done,
        }
    }
}

fn held(data: &DataDir, holder: &str) -> Complaint {
    let holder = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
    Complaint::new(
        format!("{holder} already runs a Patchwave with the data directory {}", data.path().display()),
        "use the one that runs, stop it first, or give another folder with --data-dir",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir { path: folder.path().to_owned() };
        let first = Lock::take(&data).unwrap();
        let second = Lock::take(&data).unwrap_err().to_string();
        assert!(second.contains(&format!("process {}", std::process::id())), "{second}");
        drop(first);
        Lock::take(&data).unwrap();
    }
}
