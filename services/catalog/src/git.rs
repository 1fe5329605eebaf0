//! Git with a closed configuration.
//!
//! Owns how a git process is started and ended: which repository it may use, which settings and transports, and for how
//! long. Never asks anybody for anything. Invariant: no process of git outlives the call that started it.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use events::location::Remote;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// What every process is told, over whatever a repository says.
const SETTINGS: &[&str] = &[
    "core.alternateRefsCommand=",
    "core.attributesFile=/dev/null",
    // A graph may know of parents that a shallow pack leaves out.
    "core.commitGraph=false",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.quotePath=true",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    // Small fetches become packs too: one file instead of many.
    "fetch.unpackLimit=1",
    "gc.auto=0",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
    "maintenance.auto=false",
    // Several repositories are worked on at once instead.
    "pack.threads=1",
    "protocol.version=2",
    "submodule.recurse=false",
];

/// What the processes inherit: how to find programs, and how this machine reaches others.
const INHERITED: &[&str] = &[
    "PATH",
    "SSH_AUTH_SOCK",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "all_proxy",
];

/// No question about a password or a host's key, and no waiting for a host that does not answer.
const SSH: &str = "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15 -oServerAliveCountMax=4";

/// The most that is kept of what a process prints: the references of a very large repository.
const OUTPUT_LIMIT: u64 = 256 * 1024 * 1024;

/// The most that is kept of what a process complains about.
const COMPLAINT_LIMIT: u64 = 16 * 1024;

/// How a git process ended.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit was 0 and in time.
    pub(crate) success: bool,
    pub(crate) stdout: Vec<u8>,
    /// What it said was wrong, shortened; in our words if it took too long.
    pub(crate) complaint: String,
}

impl Output {
    /// Whether it failed for want of something that this machine lacks for now.
    pub(crate) fn lacks_resources(&self) -> bool {
        const SIGNS: &[&str] = &[
            "No space left on device",
            "Disk quota exceeded",
            "Read-only file system",
            "Too many open files",
            "Cannot allocate memory",
            "Out of memory",
            "Resource temporarily unavailable",
            "Input/output error",
        ];
        SIGNS.iter().any(|sign| self.complaint.contains(sign))
    }
}

/// A process that reads a repository on this machine and speaks to nobody.
pub(crate) fn local(git_dir: &Path, subcommand: &str) -> Command {
    let mut command = closed();
    // Said outright, the folder's owner does not matter; nothing in a repository's settings runs a program here.
    command.env("GIT_DIR", git_dir).env("GIT_ALLOW_PROTOCOL", "none").arg(subcommand);
    command
}

/// A process that speaks to one host in one way.
pub(crate) fn remote(remote: &Remote, git_dir: Option<&Path>, subcommand: &str) -> Command {
    let mut command = closed();
    let protocols = if remote.scheme == "http" { "http:https" } else { remote.scheme };
    command.env("GIT_DIR", git_dir.unwrap_or(Path::new("/dev/null")));
    command.env("GIT_ALLOW_PROTOCOL", protocols).env("GIT_SSH_COMMAND", SSH).arg(subcommand);
    command
}

fn closed() -> Command {
    let mut command = Command::new("git");
    command.env_clear().current_dir("/").process_group(0).kill_on_drop(true);
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    for (name, value) in [
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_GRAFT_FILE", "/dev/null"),
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_NO_REPLACE_OBJECTS", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
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

/// Checks that there is a git to run.
///
/// # Errors
/// When there is none.
pub(crate) async fn check() -> Result<()> {
    let mut command = closed();
    command.arg("version");
    let output = run(command, Io::default(), Duration::from_secs(60)).await;
    let output = output.context("the catalog needs git on this machine: install the package `git`")?;
    if !output.success {
        bail!("the catalog needs git on this machine, and it does not run: {}", output.complaint);
    }
    Ok(())
}

/// What goes into a process and where its output goes.
#[derive(Default)]
pub(crate) struct Io<'a> {
    pub(crate) stdin: &'a [u8],
    /// Instead of memory.
    pub(crate) stdout: Option<File>,
}

/// Runs a process to its end, or ends it when it takes too long.
///
/// # Errors
/// When it cannot be started.
pub(crate) async fn run(mut command: Command, io: Io<'_>, patience: Duration) -> Result<Output> {
    command.stdin(if io.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(io.stdout.map_or_else(Stdio::piped, Stdio::from)).stderr(Stdio::piped());
    let mut child = command.spawn().context("git cannot be started")?;
    let mut group = Group(child.id());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut pipe) = stdin {
            // A process that ends early closes its end; its exit code says why.
            let _ = pipe.write_all(io.stdin).await;
        }
    };
    let all =
        async { tokio::join!(child.wait(), feed, read(stdout, OUTPUT_LIMIT), read(stderr, COMPLAINT_LIMIT)) };
    let Ok((status, (), stdout, stderr)) = tokio::time::timeout(patience, all).await else {
        let complaint = format!("no answer within {} seconds", patience.as_secs());
        return Ok(Output { success: false, stdout: Vec::new(), complaint });
    };
    group.0 = None;
    let status = status.context("git cannot be waited for")?;
    let mut complaint = shorten(&stderr);
    if complaint.is_empty() && !status.success() {
        complaint = format!("git ended with {status}");
    }
    Ok(Output { success: status.success(), stdout, complaint })
}

/// Reads to the end and keeps the beginning.
async fn read(pipe: Option<impl AsyncRead + Unpin>, limit: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut pipe) = pipe else { return kept };
    // A pipe that breaks ends the reading; the exit code says whether that was wrong.
    let _ = (&mut pipe).take(limit).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    kept
}

/// A process and those that it started. All end when this is dropped before it is emptied.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        // A group that has ended already is what was wanted.
        let _ = id.map(|id| kill_process_group(id, Signal::KILL));
    }
}

/// The part of git's complaint that somebody can act on: what it calls fatal, on one line and not too long.
fn shorten(stderr: &[u8]) -> String {
    const NOISE: &[&str] =
        &["Please make sure you have", "and the repository exists", "Could not read from remote repository"];
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches("fatal: ").trim_start_matches("error: ").trim())
        .filter(|line| !line.is_empty() && !NOISE.iter().any(|noise| line.starts_with(noise)))
        .collect();
    // The last words are usually the reason, with the ones before them as its details.
    let last = &lines[lines.len().saturating_sub(3)..];
    last.join("; ").chars().filter(|c| !c.is_control()).take(400).collect()
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn a_complaint_is_short_and_on_one_line() {
        let ssh = b"ssh: Could not resolve hostname x.invalid: Name or service not known\r\nfatal: Could not read from \
            remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n";
        assert_eq!(shorten(ssh), "ssh: Could not resolve hostname x.invalid: Name or service not known");
        assert_eq!(shorten(b"fatal: bad\x1b[31m\n"), "bad[31m");
        assert_eq!(shorten("x".repeat(10_000).as_bytes()).len(), 400);
        assert_eq!(shorten(b"\xff\n"), "\u{fffd}");
    }
}
