//! Limits: how much of each thing an attempt may use here.
//!
//! Owns what holds where a definition says nothing, and how far one may go that says something. Never measures anything.
//! Invariant: every attempt has every limit, and none is above the site's.

use events::job::{Failure, FailureKind, Limit, LimitName};
use spec::OnLogLimit;

/// How much of each thing an attempt may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Memory of all processes together; there is no swap beyond it.
    pub(crate) memory_bytes: u64,
    /// Thousandths of a processor; absent: as much as others leave.
    pub(crate) cpu_millis: Option<u32>,
    /// Processes and threads at once.
    pub(crate) pids: u32,
    /// What is written into the workspace.
    pub(crate) workspace_bytes: u64,
    /// Files and folders that are made or changed in the workspace.
    pub(crate) workspace_files: u64,
    /// What is written elsewhere.
    pub(crate) image_bytes: u64,
    /// What the log takes.
    pub(crate) log: LogLimits,
}

/// What a log takes from the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogLimits {
    /// All together.
    pub(crate) bytes: u64,
    /// One line.
    pub(crate) line_bytes: u64,
    /// What becomes of the attempt when the log is full.
    pub(crate) when_full: OnLogLimit,
}

/// What holds where neither the definition nor the site says otherwise. Enough for the builds and tests of large
/// repositories, and little enough that a job that runs away is stopped before a usual disk is full.
const MEMORY: u64 = 4 << 30;
const PIDS: u32 = 4096;
const WORKSPACE: u64 = 10 << 30;
const FILES: u64 = 1_000_000;
const IMAGE: u64 = 10 << 30;
const LOG: u64 = 100 << 20;
const LINE: u64 = 16 << 20;

/// What a site says: what holds where a definition says nothing, and how far it may go. Where a site says nothing of a
/// maximum, a definition may ask for anything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    /// What holds where a definition says nothing.
    pub(crate) default: spec::Limits,
    /// The most that a definition may ask for.
    pub(crate) max: spec::Limits,
    /// How many jobs run at once, which share the machine's memory.
    pub(crate) slots: u32,
}

/// The machine that containers run on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    /// All of its memory.
    pub(crate) memory_bytes: u64,
    /// Its processors.
    pub(crate) cpus: u32,
}

impl Machine {
    /// One of which nothing is known: no limit follows from it.
    pub(crate) const UNKNOWN: Self = Self { memory_bytes: u64::MAX, cpus: u32::MAX };
}

impl Site {
    /// What holds for a definition, and in words what it asks for that the site does not allow.
    pub(crate) fn limits(&self, wanted: &spec::Limits, machine: Machine) -> (Limits, Vec<String>) {
        let (default, max) = (&self.default, &self.max);
        let mut lowered = Vec::new();
        let mut within = |name: &str, wanted: Option<u64>, most: Option<u64>, otherwise: u64| {
            let most = most.unwrap_or(u64::MAX);
            if let Some(wanted) = wanted.filter(|wanted| *wanted > most) {
                lowered.push(format!("limits.{name} is {most} and not {wanted}: more is not allowed here"));
            }
            wanted.unwrap_or(otherwise).min(most)
        };
        let cpu_most = [max.cpu_millis, Some(machine.cpus.saturating_mul(1000))].into_iter().flatten().min();
        let cpu = wanted.cpu_millis.or(default.cpu_millis).or(max.cpu_millis);
        let cpu_millis = cpu.map(|cpu| within("cpu", Some(cpu.into()), cpu_most.map(u64::from), cpu.into()));
        let pids = within(
            "pids",
            wanted.pids.map(u64::from),
            max.pids.map(u64::from),
            default.pids.unwrap_or(PIDS).into(),
        );
        let memory = default.memory_bytes.unwrap_or_else(|| self.share_of(machine));
        let limits = Limits {
            memory_bytes: within("memory", wanted.memory_bytes, max.memory_bytes, memory),
            cpu_millis: cpu_millis.and_then(|millis| u32::try_from(millis).ok()),
            pids: u32::try_from(pids).unwrap_or(u32::MAX),
            workspace_bytes: within(
                "workspaceBytes",
                wanted.workspace_bytes,
                max.workspace_bytes,
                default.workspace_bytes.unwrap_or(WORKSPACE),
            ),
            workspace_files: within(
                "workspaceFiles",
                wanted.workspace_files,
                max.workspace_files,
                default.workspace_files.unwrap_or(FILES),
            ),
            image_bytes: within(
                "imageBytes",
                wanted.image_bytes,
                max.image_bytes,
                default.image_bytes.unwrap_or(IMAGE),
            ),
            log: LogLimits {
                bytes: within("logBytes", wanted.log_bytes, max.log_bytes, default.log_bytes.unwrap_or(LOG)),
                line_bytes: within(
                    "logLineBytes",
                    wanted.log_line_bytes,
                    max.log_line_bytes,
                    default.log_line_bytes.unwrap_or(LINE),
                ),
                when_full: wanted.on_log_limit.or(default.on_log_limit).unwrap_or(OnLogLimit::Continue),
            },
        };
        (limits, lowered)
    }

    /// The memory of a job that asks for none: on a small machine less, so that all jobs together leave it a quarter.
    fn share_of(&self, machine: Machine) -> u64 {
        let share = machine.memory_bytes / 4 * 3 / u64::from(self.slots.max(1));
        MEMORY.min(share.max(64 << 20))
    }
}

impl LogLimits {
    /// What holds for a log that only the runner still writes to.
    pub(crate) const OWN: Self = Self { bytes: LOG, line_bytes: LINE, when_full: OnLogLimit::Continue };
}

/// The failure of an attempt that reached a limit.
pub(crate) fn reached(name: LimitName, value: u64) -> Failure {
    let limit = Limit { name, value };
    let (kind, message, hint) = match name {
        LimitName::Memory => (
            FailureKind::OutOfMemory,
            format!("out of memory: the job may have {limit}"),
            "Raise `patchwave.limits.memory` in the definition, or let the step take less at once.",
        ),
        LimitName::WorkspaceBytes => (
            FailureKind::Limit,
            format!("the steps may write {limit} into the workspace, and wrote more"),
            "Let them write less, or raise `patchwave.limits.workspaceBytes` in the definition.",
        ),
        LimitName::WorkspaceFiles => (
            FailureKind::Limit,
            format!("the steps may make and change {limit} in the workspace, and did more"),
            "Let them make fewer, or raise `patchwave.limits.workspaceFiles` in the definition.",
        ),
        LimitName::ImageBytes => (
            FailureKind::Limit,
            format!("the steps may write {limit} outside of the workspace, and wrote more"),
            "Let them write less, or raise `patchwave.limits.imageBytes` in the definition.",
        ),
        LimitName::LogBytes => (
            FailureKind::Limit,
            format!("the steps may print {limit}, and printed more"),
            "Let them print less, or raise `patchwave.limits.logBytes`; with `onLogLimit: continue` the job goes on.",
        ),
        LimitName::Timeout | LimitName::StepTimeout => (
            FailureKind::Limit,
            format!("the limit of {limit} was reached"),
            "Raise the limit in the definition.",
        ),
    };
    Failure { kind, step: None, exit_code: None, limit: Some(limit), message, hint: hint.to_owned() }
}

/// The same, with the step that ran.
pub(crate) fn at(step: Option<u32>, failure: Failure) -> Failure {
    match step {
        Some(number) => Failure { step, message: format!("step {number}: {}", failure.message), ..failure },
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine { memory_bytes: 32 << 30, cpus: 8 };

    #[test]
    fn a_job_that_says_nothing_has_every_limit() {
        let (limits, lowered) =
            Site { slots: 4, ..Site::default() }.limits(&spec::Limits::default(), MACHINE);
        assert_eq!((limits.memory_bytes, limits.cpu_millis, limits.pids), (MEMORY, None, PIDS));
        assert_eq!((limits.workspace_bytes, limits.workspace_files), (WORKSPACE, FILES));
        assert_eq!((limits.image_bytes, limits.log), (IMAGE, LogLimits::OWN));
        assert!(lowered.is_empty());
    }

    #[test]
    fn all_jobs_together_leave_a_small_machine_a_quarter() {
        let small = Machine { memory_bytes: 4 << 30, cpus: 2 };
        let (limits, _) = Site { slots: 2, ..Site::default() }.limits(&spec::Limits::default(), small);
        assert_eq!(limits.memory_bytes, 3 << 29);
    }

    #[test]
    fn a_definition_goes_as_far_as_the_site_allows() {
        let site = Site {
            default: spec::Limits { pids: Some(100), log_bytes: Some(5 << 20), ..spec::Limits::default() },
            max: spec::Limits {
                memory_bytes: Some(8 << 30),
                log_bytes: Some(1 << 20),
                cpu_millis: Some(2000),
                ..spec::Limits::default()
            },
            slots: 1,
        };
        let wanted = spec::Limits {
            memory_bytes: Some(16 << 30),
            pids: Some(5000),
            workspace_files: Some(7),
            on_log_limit: Some(OnLogLimit::Fail),
            ..spec::Limits::default()
        };
        let (limits, lowered) = site.limits(&wanted, MACHINE);
        assert_eq!((limits.memory_bytes, limits.pids, limits.workspace_files), (8 << 30, 5000, 7));
        // A maximum is below what would hold otherwise: nobody asked for more, so nobody is told.
        assert_eq!((limits.log.bytes, limits.log.when_full), (1 << 20, OnLogLimit::Fail));
        assert_eq!(limits.cpu_millis, Some(2000));
        assert_eq!(lowered, ["limits.memory is 8589934592 and not 17179869184: more is not allowed here"]);
    }

    #[test]
    fn nobody_gets_more_processors_than_there_are() {
        let wanted = spec::Limits { cpu_millis: Some(64_000), ..spec::Limits::default() };
        let (limits, lowered) = Site { slots: 1, ..Site::default() }.limits(&wanted, MACHINE);
        assert_eq!(limits.cpu_millis, Some(8000));
        assert_eq!(lowered.len(), 1);
    }
}
