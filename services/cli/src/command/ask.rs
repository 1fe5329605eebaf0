//! Asking for what nobody may see.
//!
//! Owns the way of a password or a token into the program: a prompt that shows nothing, or one line of the standard input.
//! Never an argument, which everybody on the machine could read.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::Context as _;
use broker::sealing::Plain;

use crate::failure::Complaint;

/// Asks once.
pub(super) fn hidden(what: &str) -> anyhow::Result<Plain> {
    if std::io::stdin().is_terminal() {
        let terminal = console::Term::stderr();
        terminal.write_str(&format!("{what} (it is not shown): ")).context("asking")?;
        return Ok(Plain::new(terminal.read_secure_line().context("reading the answer")?));
    }
    line(what)
}

/// Asks for something new: twice, where a slip would not be seen.
pub(super) fn chosen(what: &str) -> anyhow::Result<Plain> {
    let first = hidden(what)?;
    if std::io::stdin().is_terminal() && hidden(&format!("{what}, again"))? != first {
        return Err(Complaint::new("the two are not the same", "try again").into());
    }
    Ok(first)
}

/// Asks for something that may be shown.
pub(super) fn open(what: &str) -> anyhow::Result<String> {
    let terminal = console::Term::stderr();
    terminal.write_str(&format!("{what}: ")).context("asking")?;
    Ok(line(what)?.reveal().to_owned())
}

/// One line of the standard input.
pub(super) fn line(what: &str) -> anyhow::Result<Plain> {
    let mut text = String::new();
    std::io::stdin().lock().read_line(&mut text).context("the standard input cannot be read")?;
    let text = Plain::new(text);
    let answer = text.reveal().trim_end_matches(['\r', '\n']);
    if answer.is_empty() {
        let hint = "write it to the standard input, or answer on a terminal";
        return Err(Complaint::new(format!("there is no {what}"), hint).into());
    }
    Ok(Plain::new(answer.to_owned()))
}
