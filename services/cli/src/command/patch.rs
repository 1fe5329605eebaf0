//! Patches on standard output: byte by byte into a pipe, and readable on a terminal.
//!
//! Owns how a patch is shown. Invariant: on a terminal nothing in it is more than text.

use std::io::IsTerminal as _;

use owo_colors::{OwoColorize as _, Stream, Style};

use crate::output;
use crate::terminal::inert;

/// Prints a patch.
pub(super) fn print(patch: &[u8]) -> anyhow::Result<()> {
    if std::io::stdout().is_terminal() { output::line(&readable(patch)) } else { output::bytes(patch) }
}

/// A patch for a terminal: inert, and coloured where there are colours.
fn readable(patch: &[u8]) -> String {
    let text = String::from_utf8_lossy(patch);
    text.lines()
        .map(|line| coloured(&line.split('\t').map(inert).collect::<Vec<_>>().join("\t")))
        .collect::<Vec<_>>()
        .join("\n")
}

fn coloured(line: &str) -> String {
    let style = match line.as_bytes().first() {
        _ if line.starts_with("diff --git ") || line.starts_with("--- ") || line.starts_with("+++ ") => {
            Style::new().bold()
        }
        Some(b'+') => Style::new().green(),
        Some(b'-') => Style::new().red(),
        Some(b'@') => Style::new().cyan(),
        _ => return line.to_owned(),
    };
    line.if_supports_color(Stream::Stdout, |text| text.style(style)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_cannot_steer_the_terminal() {
        let shown = owo_colors::with_override(false, || readable(b"+\ta\x1b]0;x\x07b\n-c\xff\n"));
        assert_eq!(shown, "+\tab\n-c\u{fffd}");
    }
}
