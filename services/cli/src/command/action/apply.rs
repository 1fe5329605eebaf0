//! `patchwave action apply` and `upload`: a definition and its files, without running anything.

use clap::Args;
use serde_json::json;

use crate::command::run::{self, Display, Parcel};
use crate::data_dir::DataDirOption;
use crate::output;

/// Options of both.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Print JSON, one document
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    parcel: Parcel,
}

/// Makes a definition the newest of its action.
pub(super) async fn apply(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.parcel.client(data)?;
    let applied = run::apply(&client, &options.parcel, &Display::lines(options.json)).await?;
    if options.json { output::json(&applied) } else { Ok(()) }
}

/// Sends what a definition mounts.
pub(super) async fn upload(options: Options, data: &DataDirOption) -> anyhow::Result<()> {
    let client = options.parcel.client(data)?;
    let sent = options.parcel.send_files(&client, &Display::lines(options.json)).await?;
    match sent {
        None if options.json => output::json(&json!({ "files": null })),
        None => {
            eprintln!(
                "the definition mounts no files, or is not valid: `patchwave action apply` says what is wrong with it"
            );
            Ok(())
        }
        Some(blob) if options.json => {
            output::json(&json!({ "files": { "sha256": blob.sha256, "size": blob.size } }))
        }
        Some(blob) => output::line(&format!("{} {}", blob.sha256, blob.size)),
    }
}
