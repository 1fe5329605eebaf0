//! A nats-server that an earlier process of ours left running when it was killed.
//!
//! Owns waiting for its end: two servers on one folder would ruin the streams. It ends only a server whose command line
//! names this very folder.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::failure::Complaint;

/// How long it may take to end: it writes what it has in memory.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until no server works in the folder.
pub(super) async fn await_end(folder: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut told = false;
    while let Some(pid) = running(folder) {
        if !told {
            tracing::warn!(
                pid = pid.as_raw_nonzero().get(),
                "a nats-server of an earlier start still runs, ending it"
            );
            // It may be on its way out already, in which case it is none the worse.
            let _ = kill_process(pid, Signal::TERM);
            told = true;
        }
        if start.elapsed() >= PATIENCE {
            let hint = format!("end it with `kill {}`, then start again", pid.as_raw_nonzero());
            let message =
                format!("nats-server (process {}) still works in {}", pid.as_raw_nonzero(), folder.display());
            return Err(Complaint::new(message, hint).into());
        }
        // It is nobody's child any more, so nobody is told when it ends.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// A server that has this folder's configuration on its command line.
fn running(folder: &Path) -> Option<Pid> {
    let configuration = folder.join("nats.conf");
    // A server names a file by its pid; only an orderly end removes it.
    let files =
        std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let pids = files.filter_map(|name| {
        let pid: i32 = name.strip_prefix("nats-server_")?.strip_suffix(".ports")?.parse().ok()?;
        Some((Pid::from_raw(pid)?, pid))
    });
    let mut ours = pids.filter(|(pid, number)| {
        let command = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        let names_it = command
            .split(|byte| *byte == 0)
            .any(|argument| argument == configuration.as_os_str().as_encoded_bytes());
        names_it && test_kill_process(*pid).is_ok()
    });
    ours.next().map(|(pid, _)| pid)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;

    use super::*;

    #[tokio::test]
    async fn only_a_server_of_this_very_folder_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("nats.conf");
        // A shell that waits for a word that never comes stands for a server: a signal ends it. Like a server it writes its
        // file itself: whoever has only been spawned may have no command line yet, which is set last.
        let start = |configuration: &Path| {
            let mut command = std::process::Command::new("sh");
            let script = ": >\"$2/nats-server_$$.ports\"; echo ready; read word";
            command.args(["-c", script, "sh"]).arg(configuration).arg(folder.path());
            let mut server = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut said = String::new();
            BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
            assert_eq!(said, "ready\n");
            server
        };
        let mut ours = start(&configuration);
        let mut other = start(Path::new("/elsewhere/nats.conf"));
        let stdin = ours.stdin.take();
        assert_eq!(
            running(folder.path()).map(|pid| pid.as_raw_nonzero().get().cast_unsigned()),
            Some(ours.id())
        );
        let reaper = std::thread::spawn(move || ours.wait());
        await_end(folder.path()).await.unwrap();
        reaper.join().unwrap().unwrap();
        drop(stdin);
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
