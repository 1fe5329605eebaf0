//! `patchwave plan export`: one file for each changeset, as `git apply` reads it.
//!
//! Owns the folder that is written to. A file is there whole or not at all, and nothing that is not ours is replaced
//! unless it is wanted.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ::gateway::patch_names;
use anyhow::Context as _;
use clap::Args;
use events::id::PlanId;
use serde_json::json;

use super::Plan;
use crate::client::{Client, ServerOption};
use crate::data_dir::DataDirOption;
use crate::failure::Complaint;
use crate::output;
use crate::terminal::inert;

/// Options of `patchwave plan export`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// The plan's id
    plan: PlanId,

    /// The folder to write to; made if it is not there
    folder: PathBuf,

    /// Write into a folder that holds other files, and replace those of the same names
    #[arg(long)]
    force: bool,

    /// Print JSON, one document for each file
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerOption,
}

/// A file that is not complete yet is named so.
const PARTIAL: &str = ".partial";

/// Runs it.
pub(super) async fn run(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let client = Client::new(&options.server, data)?;
    let plan = Plan::read(&client, options.plan, None).await?;
    let specs = &plan.changeset_specs.nodes;
    let names = patch_names(specs.iter().map(|spec| (spec.repository.as_str(), spec.branch())));
    prepare(&options.folder, &names, options.force)?;
    for (spec, name) in specs.iter().zip(&names) {
        let patch = spec.patch(&client, options.plan).await?;
        let path = options.folder.join(name);
        write(&path, &patch).with_context(|| format!("{} cannot be written", path.display()))?;
        if options.json {
            let path = std::path::absolute(&path)?;
            output::json(&json!({
                "file": path.to_string_lossy(), "repository": spec.repository, "branch": spec.branch(),
                "position": spec.position,
            }))?;
        } else {
            output::line(&inert(&path.to_string_lossy()))?;
        }
    }
    if specs.is_empty() {
        eprintln!("the plan has no changesets: there is nothing to write");
    }
    Ok(())
}

/// Makes the folder, or sees to it that it holds nothing but what an export of the same plan wrote.
fn prepare(folder: &Path, names: &[String], force: bool) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        Complaint::new(
            format!("{} cannot be used: {error}", folder.display()),
            "give a folder that you may write to",
        )
    })?;
    if force {
        return Ok(());
    }
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    for entry in entries {
        let name = entry.with_context(|| format!("{} cannot be read", folder.display()))?.file_name();
        let name = name.to_string_lossy();
        let ours = name.strip_suffix(PARTIAL).and_then(|name| name.strip_prefix('.')).unwrap_or(&name);
        if !names.iter().any(|known| known == ours) {
            let message = format!("{} holds other files, {} for one", folder.display(), inert(&name));
            let hint = "give a folder that is empty or not there, or write into this one with --force";
            return Err(Complaint::new(message, hint).into());
        }
    }
    Ok(())
}

/// Writes a file in one step: a link that stands there is replaced, never followed.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}{PARTIAL}"));
    match std::fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::create_new(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("new/folder");
        let names = ["a.patch".to_owned()];
        prepare(&to, &names, false).unwrap();
        write(&to.join("a.patch"), b"one").unwrap();
        std::fs::write(to.join(".a.patch.partial"), "half").unwrap();
        prepare(&to, &names, false).expect("the same export again");
        write(&to.join("a.patch"), b"two").unwrap();
        assert_eq!(std::fs::read(to.join("a.patch")).unwrap(), b"two");

        std::fs::write(to.join("mine"), "").unwrap();
        let refused = prepare(&to, &names, false).unwrap_err().to_string();
        assert!(refused.contains("mine"), "{refused}");
        prepare(&to, &names, true).unwrap();
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        std::fs::write(&target, "keep").unwrap();
        let link = folder.path().join("a.patch");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(".a.patch.partial")).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "keep");
        assert_eq!(std::fs::read_to_string(&link).unwrap(), "new");
    }
}
