//! Blobs: bytes of any size, named by their digest.
//!
//! Owns the way into chunks and back. The last chunk is written after all others are stored, so that a blob is there when
//! its last chunk is; a reader checks the digest of the whole.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;
use events::blob::{BlobKind, BlobRef, CHUNK_BYTES, Sha256};
use events::subject;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256 as Hasher};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::Broker;
use crate::append::ReadError;
use crate::publish::PublishError;
use crate::streams::{BLOBS, CACHE};

/// How many chunks may be under way at once: 8 MiB.
const IN_FLIGHT: usize = 16;

/// Why a blob cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A chunk is not there.
    #[error("the {} blob {} is not there: it was thrown away, or its stream was restored without it", .0.kind.token(), .0.sha256)]
    Missing(BlobRef),
    /// The bytes are not the ones that were named.
    #[error("the {} blob {} is damaged: its bytes have another digest", .0.kind.token(), .0.sha256)]
    Corrupt(BlobRef),
    /// The broker does not answer.
    #[error("the broker cannot read blobs")]
    Read(#[from] ReadError),
    /// The broker does not take it.
    #[error("the broker cannot store blobs")]
    Publish(#[from] PublishError),
    /// A file cannot be read or written.
    #[error("a file of a blob cannot be read or written")]
    Io(#[from] std::io::Error),
    /// A document is not what it should be.
    #[error("a document cannot be read or written as JSON")]
    Json(#[from] serde_json::Error),
}

fn digest(hasher: Hasher) -> Sha256 {
    Sha256::from_bytes(&hasher.finalize().into())
}

impl Broker {
    /// Stores bytes. Storing them again does nothing.
    ///
    /// # Errors
    /// When the broker does not take them.
    pub async fn put_blob(&self, kind: BlobKind, bytes: &[u8]) -> Result<BlobRef, BlobError> {
        let blob = BlobRef { kind, sha256: digest(Hasher::new_with_prefix(bytes)), size: bytes.len() as u64 };
        if self.has_blob(&blob).await? {
            return Ok(blob);
        }
        let chunks = bytes.chunks(CHUNK_BYTES).map(Bytes::copy_from_slice).map(Ok);
        self.put_chunks(&blob, stream::iter(chunks)).await?;
        Ok(blob)
    }

    /// Stores a file in bounded memory: it is read twice, first for its digest. Storing it again does nothing.
    ///
    /// # Errors
    /// When the file cannot be read or changes meanwhile, or the broker does not take it.
    pub async fn put_blob_file(&self, kind: BlobKind, path: &Path) -> Result<BlobRef, BlobError> {
        let blob = describe(kind, path).await?;
        if self.has_blob(&blob).await? {
            return Ok(blob);
        }
        self.put_blob_from(&blob, tokio::fs::File::open(path).await?).await?;
        Ok(blob)
    }

    /// Stores an open file in bounded memory, under a name that was made from it before. Storing it again does nothing.
    ///
    /// # Errors
    /// When the file cannot be read or is not what the name says, or the broker does not take it.
    pub async fn put_blob_from(&self, blob: &BlobRef, mut file: tokio::fs::File) -> Result<(), BlobError> {
        file.rewind().await?;
        let mut hasher = Hasher::new();
        let chunks = stream::try_unfold((file, &mut hasher), |(mut file, hasher)| async move {
            let chunk = read_chunk(&mut file).await?;
            hasher.update(&chunk);
            Ok::<_, BlobError>((!chunk.is_empty()).then_some((chunk, (file, hasher))))
        });
        // Boxed, so that the future of this function can be spawned.
        self.put_chunks(blob, chunks.boxed()).await?;
        // A file that changed between the two readings is stored under a name that is not its own.
        if digest(hasher) == blob.sha256 { Ok(()) } else { Err(BlobError::Corrupt(blob.clone())) }
    }

    async fn put_chunks(
        &self,
        blob: &BlobRef,
        chunks: impl Stream<Item = Result<Bytes, BlobError>>,
    ) -> Result<(), BlobError> {
        let last = blob.chunks().saturating_sub(1);
        let mut numbered =
            std::pin::pin!(chunks.zip(stream::iter(0..)).map(|(chunk, number)| Ok((number, chunk?))));
        let others = numbered.as_mut().take(usize::try_from(last).unwrap_or(usize::MAX));
        others
            .try_for_each_concurrent(IN_FLIGHT, |(number, chunk)| self.put_chunk(blob, number, chunk))
            .await?;
        match numbered.try_next().await? {
            Some((number, chunk)) => self.put_chunk(blob, number, chunk).await,
            None => Ok(()),
        }
    }

    async fn put_chunk(&self, blob: &BlobRef, number: u64, bytes: Bytes) -> Result<(), BlobError> {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Expected-Last-Subject-Sequence", "0");
        // Whoever reads by the name alone writes by it, too: the broker works out the shelf.
        let name = match (self.is_runner, blob.kind) {
            (true, BlobKind::Result) => subject::blob_chunk_by_name(blob, number),
            _ => subject::blob_chunk(blob, number),
        };
        match self.publish_surely(&name, headers, bytes).await {
            // Content decides the name: what stands there is this chunk, or the reader's check says that it is not.
            Ok(_) | Err(PublishError::Occupied(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a blob is there. Reads its last chunk: whoever may read blobs has no cheaper question to ask, for a direct
    /// get leaves out a message's headers or nothing.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn has_blob(&self, blob: &BlobRef) -> Result<bool, BlobError> {
        match blob.chunks() {
            0 => Ok(true),
            // A runner reads no patch, its own neither: it stores it once more, and the broker keeps the one that is there.
            _ if self.is_runner && blob.kind == BlobKind::Patch => Ok(false),
            chunks => Ok(self.chunk(blob, chunks - 1).await?.is_some()),
        }
    }

    async fn chunk(&self, blob: &BlobRef, number: u64) -> Result<Option<Bytes>, BlobError> {
        let name = match self.is_runner {
            true => subject::blob_chunk_by_name(blob, number),
            false => subject::blob_chunk(blob, number),
        };
        let message = self.get_last(stream_of(blob.kind), &name).await?;
        Ok(message.map(|message| message.payload))
    }

    /// Reads a blob into memory and checks it.
    ///
    /// # Errors
    /// When a chunk is missing or the bytes are not the ones that were named.
    pub async fn get_blob(&self, blob: &BlobRef) -> Result<Vec<u8>, BlobError> {
        let mut bytes =
            Vec::with_capacity(usize::try_from(blob.size).unwrap_or_default().min(64 * CHUNK_BYTES));
        self.get_blob_to(blob, &mut bytes).await?;
        Ok(bytes)
    }

    /// Reads a blob in bounded memory and checks it at the end: what was written is to be trusted only after `Ok`.
    ///
    /// # Errors
    /// When a chunk is missing, the bytes are not the ones that were named, or the writer fails.
    pub async fn get_blob_to(
        &self,
        blob: &BlobRef,
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), BlobError> {
        let mut chunks =
            stream::iter(0..blob.chunks()).map(|number| self.chunk(blob, number)).buffered(IN_FLIGHT);
        let (mut hasher, mut size) = (Hasher::new(), 0);
        while let Some(chunk) = chunks.try_next().await? {
            let chunk = chunk.ok_or_else(|| BlobError::Missing(blob.clone()))?;
            hasher.update(&chunk);
            size += chunk.len() as u64;
            to.write_all(&chunk).await?;
        }
        to.flush().await?;
        if digest(hasher) == blob.sha256 && size == blob.size {
            Ok(())
        } else {
            Err(BlobError::Corrupt(blob.clone()))
        }
    }

    /// Reads a part of a blob into memory. It is not checked: only the whole has a digest.
    ///
    /// # Errors
    /// When a chunk is missing or shorter than it has to be; a range behind the blob's end is such a case.
    pub(crate) async fn read_blob_range(
        &self,
        blob: &BlobRef,
        range: Range<u64>,
    ) -> Result<Vec<u8>, BlobError> {
        if range.end > blob.size {
            return Err(BlobError::Corrupt(blob.clone()));
        }
        let size = CHUNK_BYTES as u64;
        let numbers = range.start / size..range.end.div_ceil(size);
        let mut chunks = stream::iter(numbers)
            .map(|number| async move { Ok::<_, BlobError>((number, self.chunk(blob, number).await?)) })
            .buffered(IN_FLIGHT);
        let mut bytes = Vec::new();
        while let Some((number, chunk)) = chunks.try_next().await? {
            let chunk = chunk.ok_or_else(|| BlobError::Missing(blob.clone()))?;
            let within = |at: u64| usize::try_from(at.saturating_sub(number * size)).unwrap_or(usize::MAX);
            let part = within(range.start)..within(range.end).min(CHUNK_BYTES);
            bytes.extend_from_slice(chunk.get(part).ok_or_else(|| BlobError::Corrupt(blob.clone()))?);
        }
        Ok(bytes)
    }

    /// Stores a document.
    ///
    /// # Errors
    /// When it cannot be written as JSON, or the broker does not take it.
    pub async fn put_document(
        &self,
        kind: BlobKind,
        document: &impl Serialize,
    ) -> Result<BlobRef, BlobError> {
        self.put_blob(kind, &serde_json::to_vec(document)?).await
    }

    /// Reads a document.
    ///
    /// # Errors
    /// As [`Self::get_blob`], and when it is not what it should be.
    pub async fn get_document<T: DeserializeOwned>(&self, blob: &BlobRef) -> Result<T, BlobError> {
        Ok(serde_json::from_slice(&self.get_blob(blob).await?)?)
    }
}

/// Where a kind of blob is kept.
const fn stream_of(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Result => CACHE,
        _ => BLOBS,
    }
}

async fn describe(kind: BlobKind, path: &Path) -> Result<BlobRef, BlobError> {
    let mut file = tokio::fs::File::open(path).await?;
    let (mut hasher, mut size) = (Hasher::new(), 0);
    loop {
        let chunk = read_chunk(&mut file).await?;
        if chunk.is_empty() {
            return Ok(BlobRef { kind, sha256: digest(hasher), size });
        }
        hasher.update(&chunk);
        size += chunk.len() as u64;
    }
}

/// Reads a whole chunk, or what is left of the file.
async fn read_chunk(file: &mut tokio::fs::File) -> std::io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    file.take(CHUNK_BYTES as u64).read_to_end(&mut chunk).await?;
    Ok(chunk.into())
}
