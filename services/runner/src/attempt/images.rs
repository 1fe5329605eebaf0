//! The images of an attempt: what their names mean.
//!
//! Owns that the jobs of an execution run on the same images: what the ticket pins is used and nothing else; of what it does
//! not pin, the runner tells what it found. Invariant: a name whose tag moves changes nothing for an execution that has
//! begun.

use anyhow::Context as _;
use events::image::ImagePin;
use events::job::Failure;
use events::report::What;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use spec::{Decision, Definition};

use super::ready::Setup;
use super::runs::number;
use super::story::Story;
use super::work::{Broken, of_step};
use crate::outbox::Outbox;
use crate::reach::Reach;
use crate::sandbox::{Engine, Grant, Image, ImageSource, Place, Trouble};

/// How many images are looked for at once.
const AT_ONCE: usize = 4;

/// An image whose name is known before anything runs.
struct Named {
    reference: String,
    /// The first step that uses it.
    step: u32,
    /// Whether a step that uses it will run, whatever those before it do.
    is_certain: bool,
}

impl Setup<'_> {
    /// Finds all images whose names are known before anything runs, and tells what those are that the ticket does not pin.
    /// Returns what it tells.
    pub(super) async fn find_images(
        &self,
        definition: &Definition,
        story: &Story,
        outbox: &mut Outbox,
    ) -> Result<Vec<ImagePin>, Broken> {
        let (named, engine, place) = (named(definition, story), self.engine()?, self.place(definition));
        let find = |named| self.find(&engine, named, place);
        let found: Vec<Option<ImagePin>> =
            stream::iter(named).map(find).buffered(AT_ONCE).try_collect().await?;
        let images: Vec<ImagePin> =
            found.into_iter().flatten().filter(|pin| self.pinned(&pin.reference).is_none()).collect();
        if !images.is_empty() {
            outbox.push(What::Images { images: images.clone() });
            self.results.ran_on(images.clone());
        }
        Ok(images)
    }

    /// What an image is; none if it cannot be had and may not be needed.
    async fn find(&self, engine: &Engine, named: Named, place: Place) -> Result<Option<ImagePin>, Broken> {
        let Named { reference, step, is_certain } = named;
        match self.image(engine, ImageSource::Reference(reference.clone()), place).await {
            // An engine whose ids are no digests pins nothing.
            Ok(image) => Ok(Some(image.pin(reference)).filter(ImagePin::is_sound)),
            // The step says so itself once it is its turn.
            Err(Trouble::User(_) | Trouble::Registry(_)) if !is_certain => Ok(None),
            Err(trouble) => Err(of_step(trouble, step)),
        }
    }

    /// The image that a source means for this attempt.
    pub(super) async fn image(
        &self,
        engine: &Engine,
        source: ImageSource,
        place: Place,
    ) -> Result<Image, Trouble> {
        if let Some(image) = self.hands.image(&source) {
            return Ok(image);
        }
        let grant = Grant { place, limits: self.limits, logins: self.logins };
        let mut note = |line: String| self.log.mention(&line);
        let image = match &source {
            ImageSource::Reference(reference) if let Some(pin) = self.pinned(reference) => {
                let pinned = ImageSource::Reference(pin.digest.clone());
                engine.image(&pinned, grant, &mut note).await.map_err(|trouble| elsewhere(trouble, pin))?
            }
            _ => engine.image(&source, grant, &mut note).await?,
        };
        self.hands.keep_image(source, image.clone());
        Ok(image)
    }

    pub(super) fn pinned(&self, reference: &str) -> Option<&ImagePin> {
        self.begun.ticket.images.iter().find(|pin| pin.reference == reference)
    }

    pub(super) fn engine(&self) -> anyhow::Result<Engine> {
        let state = self.shared.health.watch().borrow().clone();
        state.engine.context("the container engine is away")
    }

    pub(super) fn place(&self, definition: &Definition) -> Place {
        Place { slot: self.slot, reach: Reach::granted(definition.settings.network, self.shared.most) }
    }
}

/// Each once, in the order of the steps.
fn named(definition: &Definition, story: &Story) -> Vec<Named> {
    let mut all: Vec<Named> = Vec::new();
    for position in definition.steps_in(story.context()) {
        let step = &definition.steps[position];
        let Some(reference) = step.image_statically(story.context()) else { continue };
        let is_certain = step.runs_statically(story.context()) == Decision::Decided(true);
        match all.iter_mut().find(|named| named.reference == reference) {
            Some(named) => named.is_certain |= is_certain,
            None => all.push(Named { reference, step: number(position), is_certain }),
        }
    }
    all
}

/// Whoever pinned the image had it, so another runner may have it too.
fn elsewhere(trouble: Trouble, pin: &ImagePin) -> Trouble {
    match trouble {
        Trouble::User(failure) | Trouble::Registry(failure) => {
            let message =
                format!("`{}` is {} for this execution: {}", pin.reference, pin.digest, failure.message);
            Trouble::Registry(Failure { message, ..failure })
        }
        Trouble::Engine(error) => Trouble::Engine(error),
    }
}
