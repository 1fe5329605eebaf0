//! Remains: what is there that a job or a runner could have left behind.

use std::collections::BTreeSet;
use std::process::Command;

use crate::world::{World, wait_for};

/// Looks for what is left.
pub(super) struct Remains;

/// What the streams hold while nothing happens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Quiet {
    /// The consumers of each stream.
    consumers: Vec<usize>,
}

/// The streams with consumers, or with messages that go away.
const STREAMS: [&str; 5] = ["EVENTS", "WORK", "REPORTS", "LOGS", "BEATS"];

impl Remains {
    /// The containers, volumes and networks of the engine.
    pub(super) fn of_engine() -> BTreeSet<String> {
        let listed = |arguments: &[&str]| {
            let output = Command::new("docker").args(arguments).output().expect("docker runs");
            assert!(output.status.success(), "docker {arguments:?}");
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .map(|id| format!("{} {id}", arguments[0]))
                .collect()
        };
        let all: [Vec<String>; 3] = [
            listed(&["ps", "--all", "--quiet", "--no-trunc"]),
            listed(&["volume", "ls", "--quiet"]),
            listed(&["network", "ls", "--quiet", "--no-trunc"]),
        ];
        all.into_iter().flatten().collect()
    }

    /// What the streams hold before the first job.
    pub(super) fn of_world(world: &World) -> Quiet {
        wait_for("each runner's queues", || world.stream("WORK").1 >= 2 * super::RUNNERS.len());
        Quiet { consumers: Self::consumers(world) }
    }

    fn consumers(world: &World) -> Vec<usize> {
        STREAMS.iter().map(|name| world.stream(name).1).collect()
    }

    /// Waits until no work and no live log is left, and no consumer more than at the start.
    pub(super) fn wait_for_quiet(world: &World, quiet: &Quiet) {
        wait_for("the queues of work to be empty", || world.stream("WORK").0 == 0);
        wait_for("all logs to be sealed", || world.stream("LOGS").0 == 0);
        // Those that somebody left behind are given up after a while.
        wait_for("left consumers to go away", || {
            Self::consumers(world).iter().zip(&quiet.consumers).all(|(now, before)| now <= before)
        });
    }

    /// Checks that no attempt has a file left on a runner.
    pub(super) fn assert_no_files(world: &World, runners: &[&str]) {
        for runner in runners {
            let folder = world.data().join(format!("runner-{runner}"));
            for below in ["attempts", "trash"] {
                let folder = folder.join(below);
                let is_empty =
                    || std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_none());
                wait_for(&format!("{} to be empty", folder.display()), is_empty);
            }
        }
    }
}
