//! Why the sandbox could not do it, told apart by who can mend it.
//!
//! Owns the reading of the engine's errors. Never retries. Invariant: what only the user can mend never costs another
//! attempt, and what another attempt could mend is never told to the user as theirs.

use std::io;

use anyhow::anyhow;
use bollard::errors::Error;
use events::job::{Failure, FailureKind};

/// Why the sandbox could not do it.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The job asks for what cannot be: it fails.
    User(Failure),
    /// The engine is away or cannot go on: the attempt is abandoned, and another one may do better.
    Engine(anyhow::Error),
    /// A registry does not answer: another attempt may do better, and other jobs on this runner know nothing of it.
    Registry(Failure),
}

impl Trouble {
    /// Makes a failure that is an image's.
    pub(super) fn image(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::user(FailureKind::Image, message, hint)
    }

    /// Makes a failure that the user can mend. Which step it belongs to is not known here.
    pub(super) fn user(kind: FailureKind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let (message, hint) = (message.into(), hint.into());
        Self::User(Failure { kind, step: None, exit_code: None, limit: None, message, hint })
    }
}

/// The engine's answer, if it gave one: its status and what it said.
pub(super) fn answer(error: &Error) -> Option<(u16, &str)> {
    match error {
        Error::DockerResponseServerError { status_code, message } => Some((*status_code, message)),
        _ => None,
    }
}

/// Whether the engine answered with this status.
pub(super) fn is(error: &Error, status: u16) -> bool {
    answer(error).is_some_and(|(found, _)| found == status)
}

/// Says what failed, and what to do where the engine did not answer at all.
pub(super) fn explain(address: &str, doing: &str, error: Error) -> anyhow::Error {
    let advice = advice(address, &error);
    let error = anyhow::Error::new(error);
    match advice {
        Some(advice) => error.context(advice).context(format!("cannot {doing}")),
        None => error.context(format!("cannot {doing}")),
    }
}

/// What to do about an engine that does not answer; none if it did.
fn advice(address: &str, error: &Error) -> Option<String> {
    if matches!(error, Error::SocketNotFoundError(_)) {
        return Some(absent(address));
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = match error {
        // It passes its cause's words on as its own, and so leaves the cause itself out of the chain.
        Error::IOError { err } => Some(err),
        error => Some(error),
    };
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(match error.kind() {
                io::ErrorKind::PermissionDenied => denied(address),
                _ => absent(address),
            });
        }
        source = error.source();
    }
    match error {
        Error::RequestTimeoutError => Some(format!(
            "the container engine at {address} accepts connections and does not answer: look at its log \
             (`journalctl -u docker`) and at the load of its host"
        )),
        Error::HyperLegacyError { .. } | Error::HyperResponseError { .. } => Some(absent(address)),
        _ => None,
    }
}

fn absent(address: &str) -> String {
    format!(
        "no container engine answers at {address}: start it (`systemctl start docker`), or name another one with \
         --docker-host or DOCKER_HOST"
    )
}

fn denied(address: &str) -> String {
    format!(
        "permission to use the container engine at {address} was denied: run as root, or put the user into the \
         engine's group (`usermod -aG docker USER`) and log in again"
    )
}

/// Reads why a container could not be created or started: an image may lack its program, a repository the folder.
pub(super) fn startup(address: &str, doing: &str, error: Error) -> Trouble {
    let Some((status, message)) = answer(&error) else {
        return Trouble::Engine(explain(address, doing, error));
    };
    let said = brief(message);
    if message.contains("no space left on device") {
        Trouble::Engine(explain(address, doing, error))
    } else if message.contains("chdir to cwd") || message.contains("container init: mkdir") {
        Trouble::user(
            FailureKind::Workspace,
            format!("the folder to work in cannot be entered: {said}"),
            "Is there such a folder in the repository, and is it not a file?",
        )
    } else if let Some(place) = no_place(message) {
        Trouble::image(
            format!("nothing can be put at `{place}` in the container"),
            "Give the step's `files` and `cacheDirs` other paths: none in /proc or /sys, and none below a file of the image.",
        )
    } else if message.contains("exec format error") {
        Trouble::image(
            format!("the image's program is for another processor: {said}"),
            "Use an image that was built for the runner's processor.",
        )
    } else if message.eq_ignore_ascii_case("no command specified") {
        Trouble::image(
            "the image says no program to run",
            "Give the step a command, or use an image that has an entrypoint.",
        )
    } else if status == 400 && (message.contains("exec: ") || message.contains("executable file not found")) {
        Trouble::image(
            format!("the image lacks the program to run: {said}"),
            "Use an image that has it, or name another program.",
        )
    } else {
        Trouble::Engine(explain(address, doing, error))
    }
}

/// The path in the container at which nothing can be mounted, if that is what is wrong.
fn no_place(message: &str) -> Option<&str> {
    let (place, why) = message.split_once(" to rootfs at \"")?.1.split_once('"')?;
    let users = ["cannot be mounted because", "not a directory", "read-only file system"];
    users.iter().any(|word| why.contains(word)).then_some(place)
}

/// The part of the engine's words that a person wants: the last links of the chain, not which layer called which.
pub(super) fn brief(message: &str) -> &str {
    let message = message.trim().trim_end_matches(": unknown");
    ["exec: ", "chdir to cwd", "mkdir "]
        .iter()
        .find_map(|word| message.find(word))
        .map_or(message, |at| &message[at..])
}

/// Makes the trouble of an engine that broke off in the middle.
pub(super) fn cut(address: &str, doing: &str) -> Trouble {
    Trouble::Engine(anyhow!("{}", absent(address)).context(format!("the engine broke off: cannot {doing}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic, reason = "a panic is the test's failure")]

    use super::*;

    fn refused(status_code: u16, message: &str) -> Trouble {
        let message = message.to_owned();
        startup("unix:///x", "start", Error::DockerResponseServerError { status_code, message })
    }

    #[test]
    fn what_the_user_can_mend_is_told_apart_by_the_engines_words() {
        let missing = "failed to create shim: OCI runtime create failed: container_linux.go:380: starting container \
             process caused: exec: \"frobnicate\": executable file not found in $PATH: unknown";
        for (status, message, kind) in [
            (400, missing, Some(FailureKind::Image)),
            (500, "OCI runtime create failed: exec /bin/x: exec format error", Some(FailureKind::Image)),
            (
                400,
                "chdir to cwd (\"/work/a\") set in config.json failed: not a directory",
                Some(FailureKind::Workspace),
            ),
            (400, "container init: mkdir /work/a: not a directory: unknown", Some(FailureKind::Workspace)),
            (400, "No command specified", Some(FailureKind::Image)),
            (
                400,
                "error mounting \"/a\" to rootfs at \"/proc/x\": \"/b/proc/x\" cannot be mounted because it is inside /proc",
                Some(FailureKind::Image),
            ),
            (400, "error mounting \"/a\" to rootfs at \"/x\": stat /a: no such file or directory", None),
            (400, "exec: write /run/x: no space left on device", None),
            (500, "driver failed", None),
        ] {
            match (refused(status, message), kind) {
                (Trouble::User(failure), Some(kind)) => assert_eq!(failure.kind, kind, "{message}"),
                (Trouble::Engine(_), None) => {}
                (trouble, _) => panic!("{message}: {trouble:?}"),
            }
        }
    }

    #[test]
    fn an_engine_that_is_away_and_one_that_refuses_ask_for_different_things() {
        let io = |kind| Error::IOError { err: io::Error::from(kind) };
        let text = |error| format!("{:#}", explain("unix:///x", "ask", error));
        assert!(text(io(io::ErrorKind::ConnectionRefused)).contains("systemctl start docker"));
        assert!(text(io(io::ErrorKind::PermissionDenied)).contains("usermod"));
        assert!(text(Error::RequestTimeoutError).contains("does not answer"));
    }
}
