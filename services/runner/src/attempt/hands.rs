//! The hands of an attempt: the containers that it holds, the images that they are made of, and the action's files that they
//! mount.
//!
//! Owns what has to be killed and removed when the work on an attempt is cut off. Invariants: a container that was created
//! is in here before anything runs in it; all steps that name one image get the same one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::mounted::Mounted;
use crate::sandbox::{Container, Image, ImageSource};

/// The containers of one attempt.
#[derive(Default)]
pub(super) struct Hands {
    containers: Mutex<Containers>,
    /// Held as long as the containers may be there.
    mounted: OnceCell<Mounted>,
    /// What each name meant when a step first asked for it.
    images: Mutex<HashMap<ImageSource, Image>>,
    stopping: CancellationToken,
}

#[derive(Default)]
struct Containers {
    all: Vec<Container>,
    /// The one in which a step runs right now.
    busy: Option<Container>,
    /// The last step that began, from 1; 0 before the first.
    step: u32,
}

impl Hands {
    /// Takes a new container.
    pub(super) fn take(&self, container: &Container) {
        self.lock().all.push(container.clone());
    }

    /// The image that an earlier step found under this name: a tag that moves meanwhile changes nothing.
    pub(super) fn image(&self, source: &ImageSource) -> Option<Image> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).get(source).cloned()
    }

    /// Keeps an image for later steps.
    pub(super) fn keep_image(&self, source: ImageSource, image: Image) {
        self.images.lock().unwrap_or_else(PoisonError::into_inner).insert(source, image);
    }

    /// The action's files, once a step mounts them.
    pub(super) fn mounted(&self) -> &OnceCell<Mounted> {
        &self.mounted
    }

    /// Notes that a step runs in a container.
    pub(super) fn begin_step(&self, container: &Container, step: u32) {
        let mut containers = self.lock();
        containers.busy = Some(container.clone());
        containers.step = step;
    }

    /// Notes that no step runs.
    pub(super) fn end_step(&self) {
        self.lock().busy = None;
    }

    /// The last step that began, if one did.
    pub(super) fn step(&self) -> Option<u32> {
        Some(self.lock().step).filter(|step| *step > 0)
    }

    /// All containers.
    pub(super) fn containers(&self) -> Vec<Container> {
        self.lock().all.clone()
    }

    /// Whether no further step may begin.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Lets no further step begin, and ends the one that runs; none if there is no such.
    pub(super) fn stop(&self, grace: Duration) -> Option<impl Future<Output = ()> + use<>> {
        self.stopping.cancel();
        let container = self.lock().busy.clone()?;
        Some(async move {
            if let Err(error) = container.kill(grace).await {
                tracing::warn!(error = format!("{error:#}"), "a step cannot be killed");
            }
        })
    }

    /// Removes all containers. What cannot be removed is left for a later sweep.
    pub(super) async fn let_go(&self) {
        let containers = std::mem::take(&mut *self.lock());
        for container in containers.all {
            if let Err(error) = container.remove().await {
                tracing::warn!(error = format!("{error:#}"), "a container cannot be removed yet");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Containers> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
