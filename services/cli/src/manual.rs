//! `patchwave completions` and `man`: the command line, written down for shells and for `man`.
//!
//! Owns nothing: everything is made from the definition of the command line itself.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;

use crate::output;

/// Options of `patchwave completions`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Options of `patchwave man`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Pages {
    /// Write a page for each command into this folder, in place of the first page to standard output
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Prints what a shell needs to complete commands and options.
pub(crate) fn completions(options: &Completions, mut command: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "patchwave", &mut script);
    output::bytes(&script)
}

/// Prints the manual's first page, or writes all of it.
pub(crate) fn pages(options: &Pages, command: Command) -> anyhow::Result<()> {
    let Some(folder) = &options.to else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        return output::bytes(&page);
    };
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(command, folder));
    written.with_context(|| format!("the manual cannot be written to {}", folder.display()))?;
    eprintln!("`man -l {}` shows the first page", folder.join("patchwave.1").display());
    Ok(())
}
