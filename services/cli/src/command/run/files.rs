//! The files that a definition mounts: chosen and packed here, sent where the server lacks them.
//!
//! Owns what a person is told about them. Only what a mount names leaves this machine. The archive stands in a file without
//! a name, which is gone with the process.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use archive::{Choice, Limits, Packed};
use events::blob::BlobRef;
use futures::stream;
use serde::Deserialize;
use spec::{Beside, Diagnostics, Refusal, Source};

use super::definition::{Definition, Given};
use super::display::{Display, Transfer};
use crate::client::Client;
use crate::failure::Complaint;
use crate::terminal::inert;

/// How much is read at once.
const PIECE: usize = 256 * 1024;

/// Packed files, ready to be sent.
pub(super) struct Files {
    packed: Packed,
    archive: Arc<File>,
}

/// What the server takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Accepted {
    packed_bytes: u64,
    unpacked_bytes: u64,
    entries: u64,
}

impl Files {
    /// Packs what the definition mounts; none if it mounts nothing, or is one that the server will refuse.
    pub(super) async fn pack(
        client: &Client,
        file: &Path,
        (definition, given): (&Definition, &Given),
        display: &Display,
    ) -> anyhow::Result<Option<Self>> {
        let given = given.to_spec();
        let source = source(definition, &given);
        let Ok(parsed) = spec::parse(&source) else { return Ok(None) };
        let wanted: Vec<PathBuf> =
            parsed.definition.mounts().map(|mount| PathBuf::from(&mount.path)).collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        let folder = folder(file)?;
        let limits = limits(client).await?;
        let choose = move || {
            let wanted: Vec<&Path> = wanted.iter().map(PathBuf::as_path).collect();
            Choice::of(&folder, &wanted, &limits)
        };
        let choice = tokio::task::spawn_blocking(choose).await?.map_err(complain)?;
        refuse(&source, &choice)?;
        for left_out in choice.left_out() {
            display.say(&format!("left out: {}: {}", inert(&left_out.path), left_out.why));
        }
        let (count, size) = (choice.files(), choice.size());
        let pack = move || {
            let archive = tempfile::tempfile()
                .context("the files cannot be packed in the folder for temporary files")?;
            let packed = choice.pack(&limits, std::io::BufWriter::new(&archive)).map_err(complain)?;
            Ok::<_, anyhow::Error>(Self { packed, archive: Arc::new(archive) })
        };
        let files = tokio::task::spawn_blocking(pack).await??;
        let noun = if count == 1 { "file" } else { "files" };
        display.say(&format!("mounts {count} {noun}, {size} ({} packed)", files.packed.size));
        Ok(Some(files))
    }

    /// The archive's name.
    pub(super) const fn blob(&self) -> &BlobRef {
        &self.packed.blob
    }

    /// Sends the archive.
    pub(super) async fn send(&self, client: &Client, display: &Display) -> anyhow::Result<()> {
        let BlobRef { sha256, size, .. } = self.blob();
        let transfer = display.transfer(*size);
        client.put(&["files", sha256.as_str()], *size, || self.body(&transfer)).await?;
        transfer.finish();
        display.say(&format!("sent {}", self.packed.size));
        Ok(())
    }

    /// The archive from its start, read piece by piece wherever another reading of it stands.
    fn body(&self, transfer: &Transfer) -> reqwest::Body {
        transfer.restart();
        let pieces = stream::try_unfold(
            (Arc::clone(&self.archive), transfer.clone(), 0),
            |(archive, transfer, offset)| async move {
                let file = Arc::clone(&archive);
                let read = move || {
                    let mut piece = vec![0; PIECE];
                    let length = file.read_at(&mut piece, offset)?;
                    piece.truncate(length);
                    Ok::<_, std::io::Error>(piece)
                };
                let piece = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
                transfer.add(piece.len() as u64);
                let next = offset + piece.len() as u64;
                Ok::<_, std::io::Error>((!piece.is_empty()).then_some((piece, (archive, transfer, next))))
            },
        );
        reqwest::Body::wrap_stream(pieces)
    }
}

/// Says what is wrong with a definition of which only the files are sent.
pub(super) fn check(definition: &Definition, given: &Given) -> Result<(), Complaint> {
    spec::parse(&source(definition, &given.to_spec())).map(drop).map_err(|found| invalid(&found))
}

fn source<'a>(definition: &'a Definition, given: &'a spec::Given) -> Source<'a> {
    Source {
        file_name: &definition.file_name,
        text: &definition.source,
        given,
        command_image: spec::DEFAULT_COMMAND_IMAGE,
    }
}

/// The folder of the definition.
fn folder(file: &Path) -> anyhow::Result<PathBuf> {
    if file == Path::new("-") {
        let hint = "write it to a file beside what it mounts, and name that file";
        return Err(Complaint::new("a definition from standard input cannot mount files", hint).into());
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    parent.canonicalize().with_context(|| format!("cannot find the folder of {}", file.display()))
}

async fn limits(client: &Client) -> anyhow::Result<Limits> {
    let answer = client.get(&["files"], &[]).await?;
    let accepted: Accepted = answer.json().await.context("the server does not say how much it takes")?;
    let Accepted { packed_bytes, unpacked_bytes, entries } = accepted;
    Ok(Limits { packed_bytes, unpacked_bytes, entries })
}

/// Says at its line what cannot be mounted.
fn refuse(source: &Source<'_>, choice: &Choice) -> Result<(), Complaint> {
    let refusal = |mount: &spec::Mount| {
        let refusal = choice.refusal(Path::new(&mount.path))?.clone();
        Some(Refusal { message: refusal.message, hint: refusal.hint })
    };
    let beside = Beside { mount: &refusal, ..Beside::default() };
    spec::parse_beside(source, &beside).map(drop).map_err(|found| invalid(&found))
}

fn invalid(found: &Diagnostics) -> Complaint {
    Complaint {
        code: Some("invalid-definition".to_owned()),
        details: found.as_slice().iter().map(ToString::to_string).collect(),
        ..Complaint::new("the definition cannot be used", "mend what is marked; nothing was sent")
    }
}

fn complain(error: archive::Error) -> anyhow::Error {
    match error {
        archive::Error::Refused(rejection) => Complaint::from(rejection).into(),
        other => other.into(),
    }
}
