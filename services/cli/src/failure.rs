//! What a command says when it cannot do what it was asked for.
//!
//! Owns the two kinds of failure and the one place where they are printed. Invariant: a failure is printed once, and one
//! that the user can mend says how.

use std::fmt;
use std::process::ExitCode;

use events::Rejection;
use owo_colors::{OwoColorize as _, Stream};

use crate::terminal::inert;

/// The exit code where a part went well: some jobs succeeded and some did not, or some repositories could not be reached.
pub(crate) const PARTIALLY_FAILED: u8 = 2;

/// The exit code of whoever was interrupted, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Something the user can mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The server's stable name for it, if it comes from there.
    pub(crate) code: Option<String>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do; may be empty.
    pub(crate) hint: String,
    /// What the server has to say beside it, already laid out: the diagnostics of a definition.
    pub(crate) details: Vec<String>,
}

impl Complaint {
    /// Says what is wrong and what to do.
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code: None, message: message.into(), hint: hint.into(), details: Vec::new() }
    }
}

impl From<Rejection> for Complaint {
    fn from(rejection: Rejection) -> Self {
        Self { code: Some(rejection.code.to_string()), ..Self::new(rejection.message, rejection.hint) }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Complaint {}

/// Whoever read our output reads no more: the end, and nothing to complain about.
#[derive(Debug)]
pub(crate) struct OutputClosed;

/// The failure was written to the log already.
#[derive(Debug)]
pub(crate) struct Logged;

impl fmt::Display for OutputClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the output was closed")
    }
}

impl fmt::Display for Logged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("see the log")
    }
}

impl std::error::Error for OutputClosed {}
impl std::error::Error for Logged {}

/// Prints a failure and says how the process ends.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if error.is::<OutputClosed>() {
        return ExitCode::SUCCESS;
    }
    if !error.is::<Logged>() {
        eprintln!("{}", rendered(error));
    }
    ExitCode::FAILURE
}

/// A failure as text: the message, what it comes from, what to do.
fn rendered(error: &anyhow::Error) -> String {
    // A complaint may be what was said about a fault, or what a fault came from.
    let complaint = error
        .downcast_ref::<Complaint>()
        .or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<Complaint>()));
    if let Some(Complaint { code, message, hint, details }) = complaint {
        let code = code.as_ref().map(|code| format!("[{}]", inert(code))).unwrap_or_default();
        // A message that repeats the diagnostics would show each of them twice.
        let repeats = details.first().is_some_and(|detail| message.contains(detail.as_str()));
        let message = if repeats { "the definition cannot be used" } else { message };
        let mut text = format!("{}: {}", title(&format!("error{code}")), lines(message));
        for detail in details {
            text.push_str("\n\n");
            text.push_str(&coloured_diagnostic(detail));
        }
        if !hint.is_empty() {
            let separator = if details.is_empty() { "\n" } else { "\n\n" };
            let label = "hint".if_supports_color(Stream::Stderr, |text| text.cyan()).to_string();
            text.push_str(&format!("{separator}{label}: {}", lines(hint)));
        }
        return text;
    }
    let mut text = format!("{}: {}", title("error"), lines(&error.to_string()));
    for cause in error.chain().skip(1) {
        text.push_str(&format!("\n  because: {}", lines(&cause.to_string())));
    }
    text
}

fn title(text: &str) -> String {
    let style = owo_colors::Style::new().red().bold();
    text.if_supports_color(Stream::Stderr, |text| text.style(style)).to_string()
}

/// Text of several lines, each of them inert.
fn lines(text: &str) -> String {
    text.lines().map(inert).collect::<Vec<_>>().join("\n")
}

/// A diagnostic as the server laid it out, with colours where the terminal has them.
pub(crate) fn coloured_diagnostic(rendered: &str) -> String {
    rendered.lines().map(|line| coloured_line(&inert(line))).collect::<Vec<_>>().join("\n")
}

fn coloured_line(line: &str) -> String {
    let style = owo_colors::Style::new();
    let trimmed = line.trim_start();
    let style = match line.split(['[', ':']).next() {
        Some("error") => style.red().bold(),
        Some("warning") => style.yellow().bold(),
        _ if trimmed.starts_with("= hint") => style.cyan(),
        _ if trimmed.starts_with("-->") => style.blue(),
        _ if trimmed.starts_with("| ") && trimmed.contains('^') => style.red(),
        _ => return line.to_owned(),
    };
    line.if_supports_color(Stream::Stderr, |text| text.style(style)).to_string()
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn plain(error: anyhow::Error) -> String {
        owo_colors::with_override(false, || rendered(&error))
    }

    #[test]
    fn a_complaint_says_what_is_wrong_and_what_to_do() {
        let error =
            Complaint { code: Some("not-found".into()), ..Complaint::new("no such job", "look it up") };
        let error = anyhow::Error::from(error).context("the job");
        assert_eq!(plain(error), "error[not-found]: no such job\nhint: look it up");
    }

    #[test]
    fn what_is_said_about_a_fault_is_shown_in_its_place() {
        let fault = anyhow::Error::from(std::io::Error::other("connection refused"));
        let error = fault.context(Complaint::new("nobody answers", "start it"));
        assert_eq!(plain(error), "error: nobody answers\nhint: start it");
    }

    #[test]
    fn a_diagnostic_is_shown_once() {
        let details = vec!["error[x]: y\n --> f:1:1".to_owned()];
        let complaint = Complaint { details, ..Complaint::new("error[x]: y\n --> f:1:1", "mend it") };
        let shown = "error: the definition cannot be used\n\nerror[x]: y\n --> f:1:1\n\nhint: mend it";
        assert_eq!(plain(complaint.into()), shown);
    }

    #[test]
    fn a_fault_shows_its_chain_once() {
        let error: anyhow::Result<()> = Err(std::io::Error::other("disk on fire")).context("the snapshot");
        assert_eq!(plain(error.unwrap_err()), "error: the snapshot\n  because: disk on fire");
    }

    #[test]
    fn what_comes_from_outside_cannot_steer_the_terminal() {
        let error = Complaint::new("no \u{1b}]0;owned\u{7}such", "a\u{1b}[2Jb");
        assert_eq!(plain(error.into()), "error: no such\nhint: ab");
    }
}
