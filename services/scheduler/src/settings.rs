//! What is asked of runners and of the site: by a definition, and by whoever requested its execution.
//!
//! Owns the precedence of the two. What an execution was requested with is part of the definition from here on, so that nobody
//! else has to know of it.

use std::collections::BTreeSet;
use std::time::Duration;

use events::execution;
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
pub(crate) fn read(requested: &execution::Requested) -> Option<Definition> {
    let mut definition = spec::parse(&spec::Source::from(&requested.definition)).ok()?.definition;
    if let Some(pool) = &requested.pool {
        definition.settings.pool = Some(pool.clone());
    }
    Some(definition)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is the test's failure")]

    use events::action;
    use events::execution::{Reason, Requested};
    use events::id::ActionId;

    use super::*;

    #[test]
    fn a_request_says_another_pool_than_its_definition() {
        let source = "name: tidy\npatchwave:\n  pool: small\nsteps:\n  - run: echo 1\n    container: alpine\nchangesetTemplate:\n  title: Tidy\n  \
                      branch: tidy\n  commit:\n    message: Tidy\n";
        let requested = |pool: Option<&str>| Requested {
            action: ActionId::named("tidy"),
            action_name: "tidy".to_owned(),
            revision: 1,
            definition: action::Definition {
                file_name: "tidy.batch.yaml".to_owned(),
                source: source.to_owned(),
                given: action::Given::default(),
                files: None,
            },
            repositories: Vec::new(),
            reason: Reason::Manual,
            no_cache: false,
            pool: pool.map(str::to_owned),
        };
        for (pool, expected) in [(None, "small"), (Some("large"), "large")] {
            let definition = read(&requested(pool)).unwrap();
            assert_eq!(
                (Settings::of(Some(&definition)).pool.as_str(), definition.pool()),
                (expected, expected)
            );
        }
    }
}
