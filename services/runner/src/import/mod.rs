//! Importing an image from a file into the engine of a host that reaches no registry.
//!
//! Owns the way of the bytes. Invariant: the same file gives an image of the same id on every host, so that an execution
//! whose images are pinned finds it on each.

mod archive;
mod root;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio_util::io::ReaderStream;

use crate::sandbox::{Loader, is_image_name};
use archive::{Archive, Layout};
use root::Root;

/// How many bytes are read at once.
const READ_BYTES: usize = 256 * 1024;

/// What to import, and where.
#[derive(Clone, Debug)]
pub struct Import {
    /// The archive; absent: the standard input.
    pub file: Option<PathBuf>,
    /// The image's name, with a tag or without; absent: those that the archive says.
    pub name: Option<String>,
    /// The container engine; absent: `DOCKER_HOST`, else the default socket.
    pub docker_host: Option<String>,
}

/// An image that the engine has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// What steps call it; absent: it has no name.
    pub name: Option<String>,
    /// Its id, which is the digest of its configuration.
    pub id: String,
    /// Its size.
    pub bytes: u64,
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The file is read.
    Reading,
    /// The engine takes it.
    Loading,
}

/// Why a file is no image that can be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refused {}

fn refused(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Refused { message: message.into(), hint: hint.into() }.into()
}

/// Told of the bytes that were done in a stage, and of how many there are if that is known.
type Progress = Arc<dyn Fn(Stage, u64, Option<u64>) + Send + Sync>;

/// Imports the images of an archive, or makes one of a root filesystem.
///
/// # Errors
/// [`Refused`] for what the user can mend; else what the engine or the disk says.
pub async fn import(
    options: Import,
    progress: impl Fn(Stage, u64, Option<u64>) + Send + Sync + 'static,
) -> Result<Vec<Imported>> {
    if let Some(name) = options.name.as_deref().filter(|name| !is_image_name(name) || name.contains('@')) {
        return Err(refused(
            format!("`{name}` is not a name for an image"),
            "Write it in lower case with a tag or without, such as `tool:1` or `registry.example.com/team/tool:1`.",
        ));
    }
    let loader = Loader::connect(options.docker_host.clone()).await?;
    let progress: Progress = Arc::new(progress);
    let told = Arc::clone(&progress);
    let file = options.file.clone();
    let archive = tokio::task::spawn_blocking(move || archive::open(file.as_deref(), &*told)).await??;
    match archive.layout {
        Layout::Saved { images } => {
            if let (Some(_), true) = (&options.name, images != 1) {
                return Err(refused(
                    format!("the archive holds {images} images, which cannot all have one name"),
                    "Leave --name out: they keep their own names.",
                ));
            }
            let loaded = loader.load(sent(archive, &progress)).await?;
            finish(&loader, loaded, options.name).await
        }
        Layout::Root => {
            let name = options.name.ok_or_else(|| {
                refused(
                    "a root filesystem has no name of its own",
                    "Say with --name what steps will call the image, such as `--name tool:1`. If it is to be an archive of \
                     images, write it with `docker save`.",
                )
            })?;
            let (architecture, of) = (loader.architecture().await?, name.clone());
            let made = move || Root::of(&archive, &architecture, &of).map(|root| (archive, root));
            let (archive, root) = tokio::task::spawn_blocking(made).await??;
            let (head, tail) = (stream::iter([Ok(root.head)]), stream::iter([Ok(root.tail)]));
            loader.load(head.chain(sent(archive, &progress)).chain(tail)).await?;
            finish(&loader, vec![name], None).await
        }
    }
}

/// The bytes of an archive on their way to the engine.
fn sent(archive: Archive, progress: &Progress) -> impl Stream<Item = io::Result<Bytes>> + Send + use<> {
    let (progress, all) = (Arc::clone(progress), archive.bytes);
    let file = tokio::fs::File::from_std(archive.file);
    let mut done = 0;
    ReaderStream::with_capacity(file, READ_BYTES).inspect(move |read| {
        done += read.as_ref().map_or(0, Bytes::len) as u64;
        progress(Stage::Loading, done, Some(all));
    })
}

async fn finish(loader: &Loader, loaded: Vec<String>, name: Option<String>) -> Result<Vec<Imported>> {
    let mut images = Vec::with_capacity(loaded.len());
    for reference in loaded {
        let (id, bytes) = loader.look(&reference).await?;
        let own = Some(reference).filter(|reference| *reference != id);
        images.push(Imported { name: own, id, bytes });
    }
    if let Some(name) = name {
        let (id, bytes) = images.first().map(|image| (image.id.clone(), image.bytes)).context(
            "the engine took the archive and does not say which image was in it: look at `docker image ls`",
        )?;
        loader.tag(&id, &name).await?;
        images.retain(|image| image.name.is_some());
        images.push(Imported { name: Some(name), id, bytes });
    }
    Ok(images)
}
