//! The files of actions: taken in, checked, stored; and looked into when an action is saved.
//!
//! Owns the limits on what is sent, and the order: everything is read and checked before anything is stored. Until then
//! it stands in a file without a name, which is gone with the process. Invariant: whatever stands under the kind `files`
//! was taken by these checks, because nobody else may store it.

use std::fs::File;
use std::future::Future;
use std::io::{BufReader, Seek as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use archive::{Contents, Limits};
use axum::body::Bytes;
use broker::{BlobError, Broker};
use events::Rejection;
use events::blob::{BlobKind, BlobRef, Sha256};
use events::rejection::Code;
use futures::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256 as Hasher};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::Semaphore;

use crate::fault::Fault;

/// How many uploads are taken at once; others wait. Each takes the room of an archive on disk.
const PLACES: usize = 4;

/// How long one may wait for a place, and how long the broker may take to store.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a client may send nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// Takes and gives the files of actions. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    broker: Broker,
    limits: Limits,
    places: Arc<Semaphore>,
}

impl Files {
    pub(crate) fn new(broker: Broker, limit_bytes: u64) -> Self {
        Self { broker, limits: Limits::of(limit_bytes), places: Arc::new(Semaphore::new(PLACES)) }
    }

    /// How much may be sent.
    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes an archive in, under the digest that its sender gives it. Taking it again does nothing.
    pub(crate) async fn take<E>(
        &self,
        sha256: Sha256,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<BlobRef, Fault> {
        let busy = || Fault::new(Code::Busy, "too many files are being sent", "Try again in a moment.");
        let place = tokio::time::timeout(PATIENCE, self.places.acquire()).await;
        let _place = place.map_err(|_| busy())?.map_err(|_| busy())?;
        let (file, blob) = self.receive(body).await?;
        if blob.sha256 != sha256 {
            let message = format!("the bytes that were sent have the digest {}, not {sha256}", blob.sha256);
            return Err(invalid(message));
        }
        // Nothing at all needs no chunk to be there.
        if blob.size > 0 && in_time(self.broker.has_blob(&blob)).await? {
            return Ok(blob);
        }
        let file = self.check(file, Vec::new()).await?.0;
        in_time(self.broker.put_blob_from(&blob, tokio::fs::File::from_std(file))).await?;
        Ok(blob)
    }

    /// Writes what is sent into a file without a name.
    async fn receive<E>(
        &self,
        mut body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(File, BlobRef), Fault> {
        let mut file = unnamed().await?;
        let (mut hasher, mut size) = (Hasher::new(), 0);
        let cut = || invalid("the files did not arrive whole: the connection ended or stood still");
        while let Some(part) = tokio::time::timeout(SILENCE, body.next()).await.map_err(|_| cut())? {
            let part = part.map_err(|_| cut())?;
            size += part.len() as u64;
            self.admit(size)?;
            hasher.update(&part);
            file.write_all(&part).await.map_err(Fault::ours)?;
        }
        file.flush().await.map_err(Fault::ours)?;
        let sha256 = Sha256::from_bytes(&hasher.finalize().into());
        Ok((file.into_std().await, BlobRef { kind: BlobKind::Files, sha256, size }))
    }

    /// Whether so many bytes may be sent.
    pub(crate) fn admit(&self, bytes: u64) -> Result<(), Fault> {
        if bytes <= self.limits.packed_bytes {
            return Ok(());
        }
        let message = format!("the files have more than {} bytes packed", self.limits.packed_bytes);
        let hint = "Mount less, or start the gateway with a higher `--files-limit`.";
        Err(Fault::new(Code::FilesTooLarge, message, hint))
    }

    async fn check(&self, file: File, wanted: Vec<String>) -> Result<(File, Contents), Fault> {
        let limits = self.limits;
        let checked = tokio::task::spawn_blocking(move || {
            let mut reader = BufReader::new(&file);
            reader.rewind().map_err(archive::Error::Archive)?;
            let wanted: Vec<&Path> = wanted.iter().map(Path::new).collect();
            let contents = archive::check(reader, &limits, &wanted)?;
            Ok((file, contents))
        });
        checked.await.map_err(Fault::ours)?.map_err(|error| match error {
            archive::Error::Refused(rejection) => rejection.into(),
            other => Fault::ours(other),
        })
    }

    /// What a stored archive has of these paths.
    pub(crate) async fn look(&self, blob: &BlobRef, wanted: Vec<String>) -> Result<Contents, Fault> {
        if blob.kind != BlobKind::Files {
            return Err(Fault::invalid("the blob is none of files", "Send the files first."));
        }
        self.admit(blob.size)?;
        let mut file = unnamed().await?;
        let read = async {
            match self.broker.get_blob_to(blob, &mut file).await {
                Err(BlobError::Missing(_)) => Err(missing(&blob.sha256)),
                Err(BlobError::Corrupt(_)) => Err(invalid(format!(
                    "what is stored as {} is not {} bytes long, or damaged",
                    blob.sha256, blob.size
                ))),
                other => Ok(other?),
            }
        };
        in_time(read).await?;
        Ok(self.check(file.into_std().await, wanted).await?.1)
    }
}

/// A file that nobody else finds, and that is gone with the process.
async fn unnamed() -> Result<tokio::fs::File, Fault> {
    let file = tokio::task::spawn_blocking(tempfile::tempfile).await.map_err(Fault::ours)?;
    Ok(tokio::fs::File::from_std(file.map_err(Fault::ours)?))
}

/// The broker is waited for, but not for ever.
async fn in_time<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, Fault>
where
    Fault: From<E>,
{
    let late = || Fault::broker_unavailable("the broker does not store or give the files");
    Ok(tokio::time::timeout(PATIENCE, work).await.map_err(|_| late())??)
}

fn invalid(message: impl Into<String>) -> Fault {
    Fault::new(Code::InvalidFiles, message, "Send the files again; the digest is that of the whole archive.")
}

fn missing(sha256: &Sha256) -> Fault {
    let message = format!("the server does not have the files {sha256} that the definition mounts");
    Rejection::new(Code::FilesMissing, message, "Send them first, with `PUT /files/{sha256}`.").into()
}
