//! Results: what steps came to, on the way to the step cache and back.
//!
//! Owns the form of a result, which only runners read and write: one line of JSON and the patch, compressed together. A
//! result that cannot be kept, read or applied costs a run of its steps and nothing else. Invariant: what stands in a
//! result was masked and searched for secrets as whatever leaves a runner is.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use broker::Broker;
use events::blob::{BlobKind, BlobRef};
use events::image::ImagePin;
use events::job::{DiffStat, Outputs};
use events::step_cache::StepResult;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The form. One that is not this is not read.
const FORM: u32 = 1;

/// How large what is kept may be, and how large what is read: larger patches are computed again.
const MOST_BYTES: u64 = 32 * 1024 * 1024;

/// How long storing one may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the steps up to one came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Done {
    /// What they changed.
    pub(super) patch: Vec<u8>,
    pub(super) said: Said,
}

/// The rest of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) form: u32,
    /// How large the patch is.
    pub(super) diff_stat: DiffStat,
    /// What they handed on.
    pub(super) outputs: Outputs,
    /// What the last one that ran wrote.
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Which of the two were cut short.
    pub(super) cut: Vec<String>,
}

/// Whether a patch may be small enough to be kept: before anybody copies it.
pub(super) fn has_room_for(patch: &[u8]) -> bool {
    patch.len() as u64 <= MOST_BYTES
}

impl Done {
    /// Writes it down; nothing if it is too large to be kept.
    fn encode(mut self) -> Result<Option<Vec<u8>>> {
        self.said.form = FORM;
        let mut head = serde_json::to_vec(&self.said)?;
        head.push(b'\n');
        if (head.len() + self.patch.len()) as u64 > MOST_BYTES {
            return Ok(None);
        }
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), zstd::DEFAULT_COMPRESSION_LEVEL)?;
        encoder.write_all(&head)?;
        encoder.write_all(&self.patch)?;
        Ok(Some(encoder.finish()?))
    }

    /// Reads what a runner wrote down, perhaps one that means harm.
    fn decode(bytes: &[u8]) -> Result<Self> {
        let decoder = zstd::stream::read::Decoder::new(bytes)?.take(MOST_BYTES + 1);
        let mut reader = std::io::BufReader::new(decoder);
        let (mut head, mut patch) = (Vec::new(), Vec::new());
        reader.read_until(b'\n', &mut head)?;
        reader.read_to_end(&mut patch)?;
        ensure!((head.len() + patch.len()) as u64 <= MOST_BYTES, "it is too large");
        let said: Said = serde_json::from_slice(&head).context("its head cannot be read")?;
        if said.form != FORM {
            bail!("another build wrote it, in the form {}", said.form);
        }
        Ok(Self { patch, said })
    }

    /// Fetches one.
    pub(super) async fn fetch(broker: &Broker, result: &BlobRef) -> Result<Self> {
        ensure!(result.size <= MOST_BYTES, "it is too large");
        Self::decode(&broker.get_blob(result).await?)
    }
}

/// The results of an attempt, by step.
#[derive(Default)]
pub(super) struct Results {
    kept: Mutex<BTreeMap<u32, Kept>>,
    /// What the attempt found that names of images mean.
    images: OnceLock<Vec<ImagePin>>,
}

enum Kept {
    /// On its way into the broker.
    Sent(JoinHandle<Option<BlobRef>>),
    /// The step did not run: nothing has changed since the one before it.
    Same,
    /// It is there.
    There(BlobRef),
}

impl Results {
    /// Notes what names of images mean that the ticket says nothing of.
    pub(super) fn ran_on(&self, images: Vec<ImagePin>) {
        // They are looked for once.
        let _ = self.images.set(images);
    }

    /// Notes what the steps came to that need not run.
    pub(super) fn begin_with(&self, step: u32, result: BlobRef) {
        self.put(step, Kept::There(result));
    }

    /// Stores what the steps up to this one came to, while others go on.
    pub(super) fn keep(&self, broker: &Broker, step: u32, done: Done) {
        let broker = broker.clone();
        let store = async move {
            let bytes = tokio::task::spawn_blocking(move || done.encode()).await??;
            Ok::<_, anyhow::Error>(match bytes {
                // Nobody waits for a cache that is not there.
                Some(bytes) => Some(timeout(PATIENCE, broker.put_blob(BlobKind::Result, &bytes)).await??),
                None => None,
            })
        };
        let sent = tokio::spawn(async move {
            store.await.unwrap_or_else(|error| {
                tracing::warn!(error = format!("{error:#}"), "what a step came to cannot be kept");
                None
            })
        });
        self.put(step, Kept::Sent(sent));
    }

    /// Notes that a step changed nothing, because it did not run.
    pub(super) fn pass_over(&self, step: u32) {
        self.put(step, Kept::Same);
    }

    /// All that were stored, once they are.
    pub(super) async fn stored(&self) -> Vec<StepResult> {
        let all = std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner));
        let images = self.images.get().cloned().unwrap_or_default();
        let (mut stored, mut before) = (Vec::new(), None);
        let mut last = 0;
        for (step, kept) in all {
            // A step in between that is not here ran, and what it came to is not known.
            let same = if step == last + 1 { before.take() } else { None };
            // What was taken from the cache is in it, under the name of the job in which it ran.
            let is_news = !matches!(kept, Kept::There(_));
            before = match kept {
                Kept::Sent(sent) => sent.await.ok().flatten(),
                Kept::Same => same,
                Kept::There(result) => Some(result),
            };
            last = step;
            let news = before.clone().filter(|_| is_news);
            stored.extend(news.map(|result| StepResult { step, result, images: images.clone() }));
        }
        stored
    }

    fn put(&self, step: u32, kept: Kept) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(step, kept);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use super::*;

    fn done(patch: Vec<u8>) -> Done {
        let outputs = [("name".to_owned(), serde_json::json!([1, "two"]))].into();
        let said = Said { form: FORM, outputs, stdout: "a\nb".to_owned(), ..Said::default() };
        Done { patch, said }
    }

    #[test]
    fn a_result_reads_back() {
        for patch in [vec![], b"diff --git\n\0\xff\n".to_vec()] {
            let done = done(patch);
            assert_eq!(Done::decode(&done.clone().encode().unwrap().unwrap()).unwrap(), done);
        }
    }

    #[test]
    fn what_is_too_large_or_strange_is_none() {
        let most = usize::try_from(MOST_BYTES).unwrap();
        assert!(done(vec![b'x'; most]).encode().unwrap().is_none());
        let bomb = zstd::encode_all(&*vec![0; most + 2], 1).unwrap();
        let other = zstd::encode_all(&br#"{"form":2}"#[..], 1).unwrap();
        for strange in [&bomb[..], &other, b"", b"no zstd"] {
            assert!(Done::decode(strange).is_err());
        }
    }
}
