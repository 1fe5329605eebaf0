//! What a definition says of an execution's jobs.
//!
//! Owns the reading of a definition for the scheduler. It is read once, when the execution is requested, and kept; what the site
//! says where the definition says nothing is looked up when it is needed.

use std::collections::BTreeSet;
use std::time::Duration;

use events::execution::Requested;
use events::runner::DEFAULT_POOL;
use events::secret::SecretName;
use serde::{Deserialize, Serialize};
use spec::{Container, Definition};

/// What a definition says that matters to the scheduler, read once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The pool of runners that its jobs ask for.
    pub(crate) pool: String,
    /// The labels that such a runner must have.
    #[serde(default)]
    pub(crate) labels: BTreeSet<String>,
    pub(crate) max_jobs: Option<u32>,
    /// How long a job may wait for a runner.
    pub(crate) queue_timeout: Option<Duration>,
    /// How long a job may take by the wall clock.
    pub(crate) timeout: Option<Duration>,
    /// The secrets that its steps ask for.
    #[serde(default)]
    pub(crate) secrets: Vec<SecretName>,
    /// Whether its steps name images.
    #[serde(default)]
    pub(crate) names_images: bool,
}

impl Settings {
    /// What a definition says. One that can no longer be read says nothing.
    pub(crate) fn of(definition: Option<&Definition>) -> Self {
        let Some(definition) = definition else {
            return Self { pool: DEFAULT_POOL.to_owned(), ..Self::default() };
        };
        let secrets = definition.secrets().into_iter().cloned().collect();
        let names_images = definition.steps.iter().any(|step| matches!(step.container, Container::Image(_)));
        let settings = definition.settings.clone();
        Self {
            pool: definition.pool().to_owned(),
            labels: settings.labels,
            max_jobs: settings.max_jobs,
            queue_timeout: settings.queue_timeout,
            timeout: settings.timeout,
            secrets,
            names_images,
        }
    }
}

/// What is to be done in an execution. Where that can no longer be read, its runner says why.
pub(crate) fn definition(requested: &Requested) -> Option<Definition> {
    spec::parse(&spec::Source::from(&requested.definition)).ok().map(|parsed| parsed.definition)
}
