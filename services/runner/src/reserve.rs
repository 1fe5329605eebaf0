//! The reserve: how much disk and memory must be free before a job is taken.
//!
//! Owns the thresholds and the look at what is free. Invariant: once something is short it is so until a quarter more
//! than the threshold is free, so that a runner at the edge does not change its mind with every look.

use std::path::Path;

use anyhow::{Context as _, Result};

/// How much must be free before a job is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Bytes at the runner's folder; 0: any.
    pub disk_bytes: u64,
    /// Bytes of memory; 0: any.
    pub memory_bytes: u64,
}

impl Default for Reserve {
    fn default() -> Self {
        Self { disk_bytes: 1024 * MIB, memory_bytes: 256 * MIB }
    }
}

const MIB: u64 = 1024 * 1024;

/// What is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    pub(crate) disk_bytes: u64,
    /// Absent where the kernel does not say.
    pub(crate) memory_bytes: Option<u64>,
}

/// What was short at the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Short {
    disk: bool,
    memory: bool,
}

impl Short {
    /// Takes a look in; returns in words what is short.
    pub(crate) fn look(&mut self, reserve: &Reserve, free: &Free, folder: &Path) -> Option<String> {
        self.disk = is_short(self.disk, reserve.disk_bytes, free.disk_bytes);
        let memory = free.memory_bytes.unwrap_or(u64::MAX);
        self.memory = is_short(self.memory, reserve.memory_bytes, memory);
        let words = |what: &str, free: u64, reserve: u64| {
            format!("{what} is short: {} MiB are free, {} MiB are wanted", free / MIB, reserve / MIB)
        };
        let disk = self.disk.then(|| {
            let at = format!("the disk of {}", folder.display());
            words(&at, free.disk_bytes, reserve.disk_bytes)
        });
        let memory = self.memory.then(|| words("memory", memory, reserve.memory_bytes));
        match (disk, memory) {
            (Some(disk), Some(memory)) => Some(format!("{disk}; {memory}")),
            (disk, memory) => disk.or(memory),
        }
    }
}

const fn is_short(was: bool, reserve: u64, free: u64) -> bool {
    let enough = if was { reserve.saturating_add(reserve / 4) } else { reserve };
    free < enough
}

/// What is free now.
pub(crate) fn free(folder: &Path) -> Result<Free> {
    let space = rustix::fs::statvfs(folder).context("the runner's folder cannot be looked at")?;
    let disk_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_bytes = [available(&meminfo), left_in_group()].into_iter().flatten().min();
    Ok(Free { disk_bytes, memory_bytes })
}

/// What the kernel says could be given to new processes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What is left below the limit of the control group that the runner is in, which its jobs need not be in.
fn left_in_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let folder = Path::new("/sys/fs/cgroup").join(own);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    left(&read("memory.max")?, &read("memory.current")?, &read("memory.stat")?)
}

/// The kernel takes pages of files back before it refuses anything.
fn left(max: &str, current: &str, stat: &str) -> Option<u64> {
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let files = files.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0);
    Some(max.saturating_sub(current.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    const RESERVE: Reserve = Reserve { disk_bytes: 1000 * MIB, memory_bytes: 200 * MIB };

    fn free_mib(disk: u64, memory: u64) -> Free {
        Free { disk_bytes: disk * MIB, memory_bytes: Some(memory * MIB) }
    }

    #[test]
    fn what_is_short_stays_so_until_there_is_a_quarter_more() {
        let mut short = Short::default();
        let mut look = |disk, memory| short.look(&RESERVE, &free_mib(disk, memory), Path::new("/r"));
        assert_eq!(look(1000, 200), None);
        assert_eq!(look(999, 200).unwrap(), "the disk of /r is short: 999 MiB are free, 1000 MiB are wanted");
        assert!(look(1249, 200).is_some(), "hardly more than before");
        assert_eq!(look(1250, 200), None);
        assert_eq!(look(1000, 200), None, "the threshold is the old one again");
        assert_eq!(look(1000, 199).unwrap(), "memory is short: 199 MiB are free, 200 MiB are wanted");
        assert!(look(900, 249).unwrap().contains("/r is short") && look(2000, 249).is_some());
        assert_eq!(look(2000, 250), None);
    }

    #[test]
    fn nothing_is_short_where_nothing_is_wanted_or_known() {
        let any = Reserve { disk_bytes: 0, memory_bytes: 0 };
        assert_eq!(Short::default().look(&any, &free_mib(0, 0), Path::new("/r")), None);
        let unknown = Free { disk_bytes: u64::MAX, memory_bytes: None };
        assert_eq!(Short::default().look(&RESERVE, &unknown, Path::new("/r")), None);
    }

    #[test]
    fn the_kernel_is_understood() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:    2048 kB\n"), Some(2048 * 1024));
        assert_eq!(available("MemTotal: 9 kB\n"), None);
        assert_eq!(left("max\n", "5\n", ""), None, "no limit");
        assert_eq!(left("100\n", "90\n", "anon 60\ninactive_file 30\n"), Some(40));
        assert_eq!(left("100\n", "130\n", ""), Some(0));
        let free = free(Path::new("/")).unwrap();
        assert!(free.disk_bytes > 0 && free.memory_bytes.is_some_and(|bytes| bytes > 0), "{free:?}");
    }
}
