//! Git on the host, with a closed configuration.
//!
//! Owns how a git process is started: which repository it may use, which settings it sees and nothing else. Never runs
//! inside a folder that git would search for a repository by itself, and never speaks to a network. Invariant: no file
//! that a step wrote decides which program runs; settings come from this module and from the pristine repository alone.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What every git process is told, over whatever a repository says.
const SETTINGS: &[&str] = &[
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.excludesFile=/dev/null",
    "core.fileMode=true",
    "core.fsmonitor=false",
    // What is written for a diff is thrown away with the attempt.
    "core.fsync=none",
    "core.hooksPath=/dev/null",
    "core.ignoreCase=false",
    // Names that other systems would read as `.git` are kept out by `patch`, with a word to the user; git would end
    // the whole command instead.
    "core.protectHFS=false",
    "core.protectNTFS=false",
    "core.quotePath=false",
    "core.safecrlf=false",
    "core.symlinks=true",
    "core.untrackedCache=false",
    "diff.mnemonicPrefix=false",
    "diff.noprefix=false",
    "gc.auto=0",
    "protocol.allow=never",
    "submodule.recurse=false",
];

/// A repository on this host that no step can write to.
#[derive(Clone, Debug)]
pub(crate) struct Git {
    git_dir: PathBuf,
}

/// How a git process ended.
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Git {
    /// The repository whose files are directly in `git_dir`.
    pub(crate) fn at(git_dir: impl Into<PathBuf>) -> Self {
        Self { git_dir: git_dir.into() }
    }

    /// Where the repository is.
    pub(crate) fn dir(&self) -> &Path {
        &self.git_dir
    }

    /// A git process on this repository.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = closed();
        command.env("GIT_DIR", &self.git_dir);
        command.arg(subcommand);
        command
    }

    /// The same with a work tree, in which the process also runs.
    pub(crate) fn command_in(&self, work_tree: &Path, subcommand: &str) -> Command {
        let mut command = self.command(subcommand);
        command.env("GIT_WORK_TREE", work_tree).current_dir(work_tree);
        command
    }
}

/// A git process that belongs to no repository yet.
fn closed() -> Command {
    let mut command = Command::new("git");
    command.env_clear().kill_on_drop(true);
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    for (name, value) in [
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("LC_ALL", "C"),
    ] {
        command.env(name, value);
    }
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    command
}

/// Whether the host has a git, and which.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn version() -> Result<String> {
    let mut command = closed();
    command.arg("version");
    let output = run(command, b"").await.context("git is needed on this host: install the package `git`")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs a process to its end, feeding it and reading it at the same time, whatever its exit code.
pub(crate) async fn run(mut command: Command, stdin: &[u8]) -> Result<Output> {
    let input = if stdin.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("git cannot be started")?;
    let pipe = child.stdin.take();
    let feed = async {
        if let Some(mut pipe) = pipe {
            // A process that ends early closes its end; its exit code says why.
            let _ = pipe.write_all(stdin).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output.context("git cannot be waited for")?;
    Ok(Output { status: output.status, stdout: output.stdout, stderr: output.stderr })
}

/// Runs a process that must end with 0, and returns what it printed.
pub(crate) async fn output(command: Command, stdin: &[u8]) -> Result<Vec<u8>> {
    let output = run(command, stdin).await?;
    if !output.status.success() {
        bail!("git ended with {}: {}", output.status, complaint(&output.stderr));
    }
    Ok(output.stdout)
}

/// The first part of what a process complained about: enough to act on, never a flood.
pub(crate) fn complaint(stderr: &[u8]) -> String {
    let shown = &stderr[..stderr.len().min(2_000)];
    String::from_utf8_lossy(shown).trim().to_owned()
}
