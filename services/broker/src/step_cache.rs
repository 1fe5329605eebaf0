//! The step cache: what is known of keys, for as long as there is room.
//!
//! Owns the entries; the results that they name are blobs of kind `result` in the same stream. Only the scheduler writes
//! entries. Nothing waits for the cache: what cannot be written or read is done once more some day.

use std::collections::BTreeMap;

use bytes::Bytes;
use events::blob::Sha256;
use events::image::ImagePin;
use events::step_cache::CacheEntry;
use events::subject;
use futures::future::try_join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Digest as _;

use crate::Broker;
use crate::append::ReadError;
use crate::streams::CACHE;

impl Broker {
    /// The last of a job's steps of which the cache knows what it came to. `keys` has the steps in their order, each with its
    /// number from 1.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn cached_step(
        &self,
        keys: &[(usize, Sha256)],
    ) -> Result<Option<(usize, CacheEntry)>, ReadError> {
        let subjects: Vec<String> = keys.iter().map(|(_, key)| subject::cached_step(key)).collect();
        let entries = try_join_all(subjects.iter().map(|subject| self.cached(subject))).await?;
        let mut latest = keys.iter().map(|(step, _)| *step).zip(entries).rev();
        Ok(latest.find_map(|(step, entry)| Some((step, entry?))))
    }

    /// Keeps what steps came to, in place of what was kept under the key.
    pub async fn cache_step(&self, key: &Sha256, entry: &CacheEntry) {
        self.cache(subject::cached_step(key), entry).await;
    }

    /// Adds to what is known of images what their names stood for when the runners of a pool last looked, up to the first of
    /// which nobody knows.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn cached_images(
        &self,
        pool: &str,
        names: &[String],
        mut known: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, ReadError> {
        for reference in names {
            if known.contains_key(reference) {
                continue;
            }
            let pin: Option<ImagePin> = self.cached(&subject::cached_image(&name(pool, reference))).await?;
            let Some(pin) = pin.filter(|pin| pin.reference == *reference) else { break };
            known.insert(pin.reference, pin.digest);
        }
        Ok(known)
    }

    /// Keeps what an image's name stands for.
    pub async fn cache_image(&self, pool: &str, pin: &ImagePin) {
        self.cache(subject::cached_image(&name(pool, &pin.reference)), pin).await;
    }

    async fn cached<T: DeserializeOwned>(&self, subject: &str) -> Result<Option<T>, ReadError> {
        let message = self.get_last(CACHE, subject).await?;
        // One that another build wrote in another form is as good as none.
        Ok(message.and_then(|message| serde_json::from_slice(&message.payload).ok()))
    }

    async fn cache(&self, subject: String, value: &impl Serialize) {
        let sent = async {
            let payload = Bytes::from(serde_json::to_vec(value)?);
            self.jetstream.publish(subject, payload).await?.await?;
            anyhow::Ok(())
        };
        if let Err(error) = sent.await {
            tracing::warn!(error = format!("{error:#}"), "the step cache does not keep what steps came to");
        }
    }
}

/// The name under which an image's is kept: what it may hold is no subject.
fn name(pool: &str, reference: &str) -> Sha256 {
    let digest = sha2::Sha256::new().chain_update(pool).chain_update("\n").chain_update(reference);
    Sha256::from_bytes(&digest.finalize().into())
}
