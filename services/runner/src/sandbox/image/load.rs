//! Loading images that come from a file, not from a registry.
//!
//! Owns the engine's side of an import. Needs no runner: whoever keeps a host does it before one is there, or beside it.

use std::io;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bollard::query_parameters::{ImportImageOptions, TagImageOptionsBuilder};
use bollard::{Docker, body_try_stream};
use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};

use super::super::engine;
use super::super::trouble::explain;

/// How long the engine may take: it unpacks what it is given before it answers.
const PATIENCE: Duration = Duration::from_secs(6 * 60 * 60);

/// What the engine says of each image that it took, before its name or its id.
const LOADED: [&str; 2] = ["Loaded image: ", "Loaded image ID: "];

/// The engine of this host.
pub(crate) struct Loader {
    docker: Docker,
    address: String,
}

impl Loader {
    /// Connects to it, as a runner does.
    pub(crate) async fn connect(host: Option<String>) -> Result<Self> {
        let (address, docker) = engine::connect(host).await?;
        Ok(Self { docker: docker.with_timeout(PATIENCE), address })
    }

    /// The processor that it runs on, in the words of images.
    pub(crate) async fn architecture(&self) -> Result<String> {
        let version = self.docker.version().await;
        let version = version.map_err(|error| self.explain("ask for the processor of the engine", error))?;
        version.arch.context("the engine does not say which processor it runs on")
    }

    /// Gives it an archive as `docker save` writes one, and returns the names and ids of what was in it.
    pub(crate) async fn load(
        &self,
        archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<Vec<String>> {
        let said = self.docker.import_image(ImportImageOptions::default(), body_try_stream(archive), None);
        let said: Vec<_> = said.try_collect().await.map_err(|error| self.explain("load the image", error))?;
        let text: String = said.into_iter().filter_map(|line| line.stream).collect();
        let loaded = text.lines().filter_map(|line| LOADED.iter().find_map(|word| line.strip_prefix(word)));
        Ok(loaded.map(|name| name.trim().to_owned()).collect())
    }

    /// Gives an image one more name.
    pub(crate) async fn tag(&self, image: &str, name: &str) -> Result<()> {
        let (_, last) = name.rsplit_once('/').unwrap_or(("", name));
        let (repository, tag) = match last.rsplit_once(':') {
            Some((_, tag)) => (&name[..name.len() - tag.len() - 1], tag),
            None => (name, "latest"),
        };
        let options = TagImageOptionsBuilder::new().repo(repository).tag(tag).build();
        let tagged = self.docker.tag_image(image, Some(options)).await;
        tagged.map_err(|error| self.explain(&format!("name the image `{name}`"), error))
    }

    /// The id of an image, and how many bytes it has.
    pub(crate) async fn look(&self, image: &str) -> Result<(String, u64)> {
        let found = self.docker.inspect_image(image).await;
        let found = found.map_err(|error| self.explain(&format!("inspect the image `{image}`"), error))?;
        let bytes = found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        Ok((found.id.with_context(|| format!("the engine does not say what the image `{image}` is"))?, bytes))
    }

    fn explain(&self, doing: &str, error: bollard::errors::Error) -> anyhow::Error {
        explain(&self.address, doing, error)
    }
}
