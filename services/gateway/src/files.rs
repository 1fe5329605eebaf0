//! The files of actions: taken in, checked, stored; looked into when an action is saved, and listed.
//!
//! Owns the limits on what is sent, and the order: everything is read and checked before anything is stored. Until then
//! it stands in a file without a name, which is gone with the process. Invariant: whatever stands under the kind `files`
//! was taken by these checks, because nobody else may store it.

use std::collections::HashMap;
use std::fs::File;
use std::future::Future;
use std::io::{self, BufReader, Seek as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use archive::{Contents, Limits, Listed};
use axum::body::Bytes;
use broker::{BlobError, Broker};
use events::Rejection;
use events::blob::{BlobKind, BlobRef, Sha256};
use events::rejection::Code;
use futures::{Stream, StreamExt as _, stream};
use sha2::{Digest as _, Sha256 as Hasher};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::fault::Fault;

/// How many uploads are taken at once; others wait. Each takes the room of an archive on disk.
const PLACES: usize = 4;

/// How long one may wait for a place, and how long the broker may take to store.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a client may send nothing.
const SILENCE: Duration = Duration::from_secs(30);

/// How many archives are looked into at once for those who want to know; others wait.
const READERS: usize = 4;

/// How many counts are kept.
const KEPT: usize = 1_000;

/// How much of a list goes out at once.
const PART_BYTES: usize = 64 * 1024;

/// Takes and gives the files of actions. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    broker: Broker,
    limits: Limits,
    places: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    /// What was counted before: a digest names the same bytes for ever.
    counted: Arc<Mutex<HashMap<Sha256, Counted>>>,
}

/// How much an archive holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// How many files and links.
    pub(crate) files: u64,
    /// How many bytes the files have.
    pub(crate) bytes: u64,
}

impl Files {
    pub(crate) fn new(broker: Broker, limit_bytes: u64) -> Self {
        Self {
            broker,
            limits: Limits::of(limit_bytes),
            places: Arc::new(Semaphore::new(PLACES)),
            readers: Arc::new(Semaphore::new(READERS)),
            counted: Arc::default(),
        }
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
            let mut reader = rewound(file)?;
            let wanted: Vec<&Path> = wanted.iter().map(Path::new).collect();
            let contents = archive::check(&mut reader, &limits, &wanted)?;
            Ok((reader.into_inner(), contents))
        });
        checked.await.map_err(Fault::ours)?.map_err(unreadable)
    }

    /// What a stored archive has of these paths.
    pub(crate) async fn look(&self, blob: &BlobRef, wanted: Vec<String>) -> Result<Contents, Fault> {
        if blob.kind != BlobKind::Files {
            return Err(Fault::invalid("the blob is none of files", "Send the files first."));
        }
        self.admit(blob.size)?;
        let file = self.fetch(blob).await?;
        Ok(self.check(file, wanted).await?.1)
    }

    /// How much a stored archive holds.
    pub(crate) async fn count(&self, blob: &BlobRef) -> Result<Counted, Fault> {
        let known = || self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counted) = known().get(&blob.sha256) {
            return Ok(*counted);
        }
        let _reader = self.reader().await?;
        let (file, limits) = (self.fetch(blob).await?, taken(blob));
        let read = tokio::task::spawn_blocking(move || archive::list(rewound(file)?, &limits, |_| Ok(())));
        let Contents { files, bytes, .. } = read.await.map_err(Fault::ours)?.map_err(unreadable)?;
        let counted = Counted { files, bytes };
        let mut known = known();
        if known.len() >= KEPT {
            known.clear();
        }
        known.insert(blob.sha256.clone(), counted);
        Ok(counted)
    }

    /// What a stored archive holds: a JSON document a line for each entry, in the order of their paths.
    pub(crate) async fn list(
        &self,
        blob: &BlobRef,
    ) -> Result<impl Stream<Item = Result<Bytes, Fault>> + Send + use<>, Fault> {
        let reader = self.reader().await?;
        let (file, limits) = (self.fetch(blob).await?, taken(blob));
        let (to, mut parts) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let _reader = reader;
            let mut lines = Lines { part: Vec::new(), to: &to };
            let listed =
                rewound(file).and_then(|file| archive::list(file, &limits, |entry| lines.add(&entry)));
            let end = listed.and_then(|_| lines.send());
            if let Err(error) = end {
                // Whoever is not there any more does not miss it.
                let _ = to.blocking_send(Err(unreadable(error)));
            }
        });
        Ok(stream::poll_fn(move |context| parts.poll_recv(context)))
    }

    async fn reader(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let busy =
            || Fault::new(Code::Busy, "too many files are being looked into", "Try again in a moment.");
        let reader = tokio::time::timeout(PATIENCE, self.readers.clone().acquire_owned()).await;
        reader.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// Brings a stored archive into a file without a name.
    async fn fetch(&self, blob: &BlobRef) -> Result<File, Fault> {
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
        Ok(file.into_std().await)
    }
}

/// Lines on their way to whoever reads them.
struct Lines<'a> {
    part: Vec<u8>,
    to: &'a mpsc::Sender<Result<Bytes, Fault>>,
}

impl Lines<'_> {
    fn add(&mut self, entry: &Listed) -> Result<(), archive::Error> {
        // JSON holds text alone: of a name that is none, what can be shown is shown.
        let path = entry.path.to_string_lossy();
        let line = serde_json::json!({ "path": path, "kind": entry.kind.as_str(), "bytes": entry.bytes });
        self.part.extend_from_slice(line.to_string().as_bytes());
        self.part.push(b'\n');
        if self.part.len() < PART_BYTES { Ok(()) } else { self.send() }
    }

    fn send(&mut self) -> Result<(), archive::Error> {
        let part = std::mem::take(&mut self.part);
        let gone = |_| archive::Error::Archive(io::Error::from(io::ErrorKind::BrokenPipe));
        self.to.blocking_send(Ok(part.into())).map_err(gone)
    }
}

/// What a stored archive may cost: it was bounded when it was taken, and a lower limit since does not hide it.
fn taken(blob: &BlobRef) -> Limits {
    Limits { packed_bytes: blob.size, unpacked_bytes: u64::MAX, ..Limits::of(0) }
}

fn rewound(mut file: File) -> Result<BufReader<File>, archive::Error> {
    file.rewind().map_err(archive::Error::Archive)?;
    Ok(BufReader::new(file))
}

fn unreadable(error: archive::Error) -> Fault {
    match error {
        archive::Error::Refused(rejection) => rejection.into(),
        other => Fault::ours(other),
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
