//! Resolving: from a requested execution to its scope.
//!
//! Owns the one effect on executions. It may be done again from the start at any point: sources are known by their content,
//! and the first `execution.resolved` is the one that stands.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use broker::{Broker, DecideError};
use chrono::Utc;
use events::blob::BlobKind;
use events::document::{Scope, SkipReason, Skipped};
use events::envelope::{Actor, Origin, Recorded};
use events::execution::{self, Command, Execution, Requested, Resolved};
use events::id::{CommandId, ExecutionId, RepositoryId};
use events::ticket::Workspace;
use events::{Aggregate, Event};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::heads::Pin;
use crate::known::Source;
use crate::registry::Registry;
use crate::sources::{Pinned, Sources};
use crate::targets::{Target, Targets, targets};
use crate::trouble::{Skip, Trouble};

/// How many repositories of one execution are under way at once: enough to wait for hosts and the broker side by side.
const IN_FLIGHT: usize = 64;

/// What all executions share.
pub(crate) struct Catalog {
    pub(crate) broker: Broker,
    pub(crate) registry: Registry,
    pub(crate) sources: Sources,
}

/// What came of one repository.
#[derive(Default)]
struct Outcome {
    workspaces: Vec<Workspace>,
    skipped: Vec<Skipped>,
}

impl Catalog {
    /// Resolves an execution, trying again for as long as something of ours is in the way.
    pub(crate) async fn resolve(&self, id: ExecutionId) {
        let mut wait = Duration::from_secs(1);
        loop {
            // A fault in here must not take the other executions along.
            let tried = std::panic::AssertUnwindSafe(self.try_resolve(id)).catch_unwind().await;
            let error = match tried {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "a fault of the catalog, described above".to_owned(),
            };
            let again_in_s = wait.as_secs();
            tracing::warn!(execution.id = %id, error, again_in_s, "an execution cannot be resolved yet");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(60));
        }
    }

    async fn try_resolve(&self, id: ExecutionId) -> Result<()> {
        let started = Instant::now();
        let aggregate = Aggregate::Execution(id);
        let history = self.broker.history(&aggregate).await.context("the history of an execution")?;
        let Some(requested) = unresolved(&history) else { return Ok(()) };
        let origin = Origin {
            command: CommandId::derived(&["resolve", &id.to_string()]),
            actor: Actor::service("catalog"),
            correlation: id.to_string(),
            causation: history.first().map(|event| event.id),
            trace_parent: None,
        };
        let scope = self.scope(requested, &origin).await?;
        let resolved = self.store(&scope).await?;
        let (workspaces, skipped, unreachable) =
            (resolved.workspaces, resolved.skipped, resolved.unreachable);
        let decided = self.broker.decide(&aggregate, &origin, Utc::now(), |history| {
            let decided = execution::decide(&fold(history), Command::Resolve(resolved.clone()))?;
            Ok(decided.map(Event::Execution))
        });
        match decided.await {
            Ok(_) => {}
            Err(DecideError::Rejected(rejection)) => bail!("{rejection}"),
            Err(error) => return Err(error).context("noting that an execution is resolved"),
        }
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(execution.id = %id, workspaces, skipped, unreachable, duration_ms, "resolved");
        Ok(())
    }

    async fn scope(&self, requested: Requested, origin: &Origin) -> Result<Scope> {
        // Paths are made real, which may wait for a disk.
        let names = self.registry.all_names();
        let read = tokio::task::spawn_blocking(move || targets(&requested, |name| names.named(name)));
        let Targets { targets, skipped } = read.await.context("reading what was asked for")?;
        // In any order, so that one that takes long holds up no other; then put back into the order of the request.
        let mut outcomes: Vec<(usize, Outcome)> = stream::iter(targets.into_iter().enumerate())
            .map(|(place, target)| async move { anyhow::Ok((place, self.outcome(&target, origin).await?)) })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await?;
        outcomes.sort_by_key(|(place, _)| *place);
        let mut scope = Scope { workspaces: Vec::new(), skipped };
        for (_, outcome) in outcomes {
            scope.workspaces.extend(outcome.workspaces);
            scope.skipped.extend(outcome.skipped);
        }
        Ok(scope)
    }

    async fn outcome(&self, target: &Target, origin: &Origin) -> Result<Outcome> {
        let id = RepositoryId::at(target.location.url());
        let _turn = self.sources.turn(id).await;
        let pinned = match self.sources.pin(id, &target.location, &target.branches).await {
            Ok(pinned) => pinned,
            Err(Trouble::Skip(skip)) => vec![Err(skip)],
            Err(Trouble::Ours(error)) => return Err(error.context(format!("the repository {}", target.name))),
        };
        let pins: Vec<Pin> =
            pinned.iter().filter_map(|pinned| pinned.as_ref().ok().map(|(pin, _)| pin.clone())).collect();
        if !pins.is_empty() {
            self.registry.record(&self.broker, origin, &target.location, &pins).await?;
        }
        let mut outcome = Outcome::default();
        for pinned in pinned {
            outcome.add(target, pinned);
        }
        Ok(outcome)
    }

    async fn store(&self, scope: &Scope) -> Result<Resolved> {
        let blob = self.broker.put_document(BlobKind::Scope, scope).await.context("storing a scope")?;
        let unreachable = scope.skipped.iter().filter(|skipped| skipped.reason.is_failure()).count();
        Ok(Resolved {
            scope: blob,
            workspaces: u32::try_from(scope.workspaces.len())?,
            skipped: u32::try_from(scope.skipped.len() - unreachable)?,
            unreachable: u32::try_from(unreachable)?,
        })
    }
}

impl Outcome {
    fn add(&mut self, target: &Target, pinned: Pinned) {
        let skip = match pinned {
            Ok(((base_ref, base_oid), Source::Pack(source))) => {
                let (repository, url) = (target.name.clone(), target.location.url().to_owned());
                self.workspaces.push(Workspace {
                    repository,
                    url,
                    base_ref,
                    base_oid,
                    path: String::new(),
                    source,
                });
                return;
            }
            Ok(((base_ref, _), Source::Ignored)) => {
                let message = format!(
                    "A `.batchignore` at the root of `{}` keeps the repository out. Remove the file to let it in.",
                    base_ref.short()
                );
                Skip::new(SkipReason::Ignored, message)
            }
            Err(skip) => skip,
        };
        let (reason, message) = (skip.reason, skip.message);
        self.skipped.push(Skipped { repository: target.name.clone(), reason, message });
    }
}

fn fold(history: &[Recorded]) -> Execution {
    history.iter().fold(Execution::default(), |execution, recorded| match &recorded.event {
        Event::Execution(event) => execution::evolve(execution, event),
        _ => execution,
    })
}

/// What was asked for, if it is still to be found out where that is.
fn unresolved(history: &[Recorded]) -> Option<Requested> {
    let execution = fold(history);
    if execution.resolved.is_some() || execution.cancel_requested || execution.completed.is_some() {
        return None;
    }
    execution.requested
}
