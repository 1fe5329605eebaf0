//! Images: how a step's image comes to be on the engine.
//!
//! Owns pulling and building. Never removes an image that anybody has used. Invariant: whatever many jobs ask for at
//! once is inspected, pulled or built once, and a container is created from the id that was found, so that a tag which
//! moves meanwhile changes nothing.

mod build;
mod load;
mod pull;
mod size;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::query_parameters::RemoveImageOptions;
use events::image::{ImagePin, is_digest, is_same_repository};
use events::job::{Failure, FailureKind};

use super::shell::{self, Shell};
use super::trouble::is;
use super::{Engine, Grant, ImageSource, Trouble};

pub(crate) use load::Loader;
pub use pull::is_name;

/// For how long an image whose digest is known is believed to be there without asking again: an execution's many jobs ask
/// once.
const FRESH: Duration = Duration::from_secs(60);

/// How many sources are remembered; more than that many at once is no case to be fast in.
const REMEMBERED: usize = 1_000;

/// An image that the engine has. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its id, which is the digest of its configuration.
    pub(crate) id: Arc<str>,
    /// What registries call it: each `NAME@sha256:…`.
    repo_digests: Arc<[String]>,
    /// What it has to run scripts with.
    pub(super) shell: Option<Shell>,
}

impl Image {
    /// What a name that it was found by means, whatever becomes of the name.
    pub(crate) fn pin(&self, reference: String) -> ImagePin {
        let asked = reference.split_once('@').map_or("", |(_, digest)| digest);
        let known = self.repo_digests.iter().filter(|known| known.ends_with(asked));
        let digest = known.map(String::as_str).find(|known| is_same_repository(known, &reference));
        ImagePin { digest: digest.unwrap_or(&self.id).to_owned(), reference }
    }

    /// The shells, or the failure of an image that has none.
    pub(super) fn shell(&self) -> Result<Shell, Trouble> {
        self.shell.ok_or_else(|| {
            Trouble::image(
                "the image has no shell: neither /bin/bash nor /bin/sh is in it",
                "A step's script needs a shell. Use an image that has one, such as `alpine` or `debian`.",
            )
        })
    }
}

/// What is known of images.
#[derive(Default)]
pub(super) struct Images {
    slots: Mutex<HashMap<ImageSource, Arc<tokio::sync::Mutex<Slot>>>>,
    /// By image id.
    shells: Mutex<HashMap<Arc<str>, Option<Shell>>>,
}

/// Makes a failure the trouble of whom it belongs to.
type Whose = fn(Failure) -> Trouble;

/// What is known of one source. Whoever holds it finds out; the others wait.
#[derive(Default)]
struct Slot {
    ready: Option<(Image, Instant)>,
    /// Told to those who waited; whoever asks later tries again.
    failed: Option<(Failure, Whose, Instant)>,
}

impl Slot {
    fn failed(failure: &Failure, of: Whose) -> Self {
        Self { ready: None, failed: Some((failure.clone(), of, Instant::now())) }
    }
}

impl Images {
    fn slot(&self, source: &ImageSource) -> Arc<tokio::sync::Mutex<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= REMEMBERED && !slots.contains_key(source) {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        slots.entry(source.clone()).or_default().clone()
    }

    /// Forgets all images, because one that was believed to be there is not.
    pub(super) fn forget(&self) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn known_shell(&self, id: &str) -> Option<Option<Shell>> {
        self.shells.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }
}

impl Engine {
    /// Makes an image ready: present, pulled, or built within what is granted. `note` is told of the progress, a line at a
    /// time.
    pub(crate) async fn image(
        &self,
        source: &ImageSource,
        grant: Grant<'_>,
        note: &mut (dyn FnMut(String) + Send),
    ) -> Result<Image, Trouble> {
        let asked = Instant::now();
        let slot = self.images().slot(source);
        let mut slot = match slot.try_lock() {
            Ok(slot) => slot,
            Err(_) => slot.lock().await,
        };
        if let Some((image, at)) = &slot.ready
            && (*at >= asked || (!may_move(source) && at.elapsed() < FRESH))
        {
            return Ok(image.clone());
        }
        // Whoever has a login may have more luck.
        if let Some((failure, of, at)) = &slot.failed
            && *at >= asked
            && grant.logins.is_empty()
        {
            return Err(of(failure.clone()));
        }
        let found = self.find_image(source, grant, note).await;
        *slot = match &found {
            Ok(image) => Slot { ready: Some((image.clone(), Instant::now())), failed: None },
            // Whoever waited may have more to use.
            Err(Trouble::User(Failure { kind: FailureKind::OutOfMemory | FailureKind::Limit, .. })) => {
                Slot::default()
            }
            Err(Trouble::User(_)) if !grant.logins.is_empty() => Slot::default(),
            Err(Trouble::User(failure)) => Slot::failed(failure, Trouble::User),
            Err(Trouble::Registry(failure)) => Slot::failed(failure, Trouble::Registry),
            Err(Trouble::Engine(_)) => Slot::default(),
        };
        found
    }

    async fn find_image(
        &self,
        source: &ImageSource,
        grant: Grant<'_>,
        note: &mut (dyn FnMut(String) + Send),
    ) -> Result<Image, Trouble> {
        let name = match source {
            ImageSource::Reference(reference) => {
                pull::validate(reference)?;
                reference.clone()
            }
            ImageSource::Dockerfile(text) => build::name(text),
        };
        let (id, repo_digests) = match self.present(&name).await? {
            Some(found) => found,
            None if is_digest(&name) => return Err(self.lacks(&name)),
            None => {
                match source {
                    ImageSource::Reference(reference) => {
                        pull::pull(self, (reference, grant.logins), note).await?;
                    }
                    ImageSource::Dockerfile(text) => {
                        build::build(self, grant, (&name, text), note).await?;
                    }
                }
                self.present(&name).await?.ok_or_else(|| {
                    Trouble::Engine(anyhow::anyhow!("the image `{name}` was removed right after it came"))
                })?
            }
        };
        let shell = match self.images().known_shell(&id) {
            Some(shell) => shell,
            None => {
                let shell = shell::find(self, &id).await?;
                let mut shells = self.images().shells.lock().unwrap_or_else(PoisonError::into_inner);
                shells.insert(id.clone(), shell);
                shell
            }
        };
        Ok(Image { id, repo_digests, shell })
    }

    /// What is said where an image is absent that no registry can be asked for.
    fn lacks(&self, id: &str) -> Trouble {
        let runner = self.runner();
        let trouble = Trouble::image(
            format!(
                "the host of the runner `{runner}` does not have the image `{id}`, which came from no registry"
            ),
            "Put it on the host of each runner with `patchwave image import`, or into a registry that all of them reach.",
        );
        match trouble {
            Trouble::User(failure) => Trouble::Registry(failure),
            other => other,
        }
    }

    /// Removes an image; one that is not there is no error.
    async fn remove_image(&self, name: &str) -> anyhow::Result<()> {
        match self.docker().remove_image(name, None::<RemoveImageOptions>, None).await {
            Err(error) if !is(&error, 404) => Err(self.explain(&format!("remove the image `{name}`"), error)),
            _ => Ok(()),
        }
    }

    /// The id of an image that the engine has, and what registries call it.
    async fn present(&self, name: &str) -> Result<Option<(Arc<str>, Arc<[String]>)>, Trouble> {
        match self.docker().inspect_image(name).await {
            Ok(found) => Ok(found.id.map(|id| (id.into(), found.repo_digests.unwrap_or_default().into()))),
            Err(error) if is(&error, 404) => Ok(None),
            Err(error) if is(&error, 400) => Err(pull::invalid(name)),
            Err(error) => Err(Trouble::Engine(self.explain(&format!("inspect the image `{name}`"), error))),
        }
    }
}

/// Whether a source may mean another image the next time.
fn may_move(source: &ImageSource) -> bool {
    match source {
        ImageSource::Reference(reference) => !reference.contains('@') && !is_digest(reference),
        ImageSource::Dockerfile(_) => false,
    }
}

#[cfg(test)]
impl Engine {
    /// Whether the engine has the image of a Dockerfile.
    pub(super) async fn has_built(&self, text: &str) -> Result<bool, Trouble> {
        Ok(self.present(&build::name(text)).await?.is_some())
    }
}
