//! Resolving: from a requested execution to its scope, and from a preview to what that would be.
//!
//! Owns the one effect on both. It may be done again from the start at any point: sources are known by their content, and
//! what was noted first is what stands. An execution is tried until it works; a preview until nobody can be waiting for it
//! any more.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use broker::{Broker, DecideError};
use chrono::Utc;
use events::blob::BlobKind;
use events::document::{self, Scope, Skipped};
use events::envelope::{Actor, Origin, Recorded};
use events::execution::{self, Execution};
use events::id::CommandId;
use events::preview::{self, Preview};
use events::{Aggregate, Event, Rejection, Timestamp};
use futures::FutureExt as _;

use crate::fold::Wanted;
use crate::known::Source;
use crate::registry::Registry;
use crate::scope::{Found, Purpose};
use crate::sources::Sources;
use crate::targets::Request;

/// How long a preview is tried.
const PREVIEW_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// What all that is resolved shares.
pub(crate) struct Catalog {
    pub(crate) broker: Broker,
    pub(crate) registry: Registry,
    pub(crate) sources: Sources,
}

impl Catalog {
    /// Resolves something, trying again for as long as something of ours is in the way.
    pub(crate) async fn resolve(&self, wanted: Wanted) {
        let mut wait = Duration::from_secs(1);
        loop {
            // A fault in here must not take the others along.
            let tried = std::panic::AssertUnwindSafe(self.try_resolve(wanted)).catch_unwind().await;
            let error = match tried {
                Ok(Ok(())) => return,
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "a fault of the catalog, described above".to_owned(),
            };
            let again_in_s = wait.as_secs();
            tracing::warn!(scope.of = %wanted, error, again_in_s, "a scope cannot be resolved yet");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(Duration::from_secs(60));
        }
    }

    async fn try_resolve(&self, wanted: Wanted) -> Result<()> {
        let aggregate = wanted.aggregate();
        let history = self.broker.history(&aggregate).await.context("the history of what is resolved")?;
        let origin = Origin {
            command: CommandId::derived(&["resolve", &wanted.to_string()]),
            actor: Actor::service("catalog"),
            correlation: wanted.to_string(),
            causation: history.first().map(|event| event.id),
            trace_parent: None,
        };
        match wanted {
            Wanted::Execution(_) => self.execution(&aggregate, &history, &origin).await,
            Wanted::Preview(_) => self.preview(&aggregate, &history, &origin).await,
        }
    }

    async fn execution(&self, aggregate: &Aggregate, history: &[Recorded], origin: &Origin) -> Result<()> {
        let started = Instant::now();
        let Some(request) = unresolved(history) else { return Ok(()) };
        let Found { places, skipped } = self.found(request, Purpose::Jobs, origin).await?;
        let workspaces = places.into_iter().map(|(place, source)| match source {
            Source::Pack(source) => Ok(place.with(source)),
            Source::Ignored | Source::Unpacked => bail!("the commit {} was not packed", place.base_oid),
        });
        let scope = Scope { workspaces: workspaces.collect::<Result<_>>()?, skipped };
        let blob = self.broker.put_document(BlobKind::Scope, &scope).await.context("storing a scope")?;
        let (skipped, unreachable) = counts(&scope.skipped)?;
        let workspaces = u32::try_from(scope.workspaces.len())?;
        let resolved = execution::Resolved { scope: blob, workspaces, skipped, unreachable };
        self.note(aggregate, origin, |history| {
            let command = execution::Command::Resolve(resolved.clone());
            Ok(execution::decide(&fold(history), command)?.map(Event::Execution))
        })
        .await?;
        let duration_ms = duration_ms(started);
        tracing::info!(execution.id = %aggregate, workspaces, skipped, unreachable, duration_ms, "resolved");
        Ok(())
    }

    async fn preview(&self, aggregate: &Aggregate, history: &[Recorded], origin: &Origin) -> Result<()> {
        let started = Instant::now();
        let Some((request, time)) = unanswered(history) else { return Ok(()) };
        let age = Utc::now().signed_duration_since(time).to_std().unwrap_or_default();
        let find = self.found(request, Purpose::Preview, origin);
        let command = match tokio::time::timeout(PREVIEW_PATIENCE.saturating_sub(age), find).await {
            Ok(found) => preview::Command::Resolve(self.keep(found?).await?),
            Err(_) => preview::Command::Fail(too_late()),
        };
        self.note(aggregate, origin, |history| {
            Ok(preview::decide(&fold_preview(history), command.clone())?.map(Event::Preview))
        })
        .await?;
        let duration_ms = duration_ms(started);
        match command {
            preview::Command::Resolve(preview::Resolved { workspaces, skipped, unreachable, .. }) => {
                tracing::info!(preview.id = %aggregate, workspaces, skipped, unreachable, duration_ms, "resolved");
            }
            _ => tracing::warn!(preview.id = %aggregate, duration_ms, "a preview is given up"),
        }
        Ok(())
    }

    /// Stores what a preview found.
    async fn keep(&self, Found { places, skipped }: Found) -> Result<preview::Resolved> {
        let places = places.into_iter().map(|(place, _)| place).collect();
        let found = document::Preview { places, skipped };
        let scope = self.broker.put_document(BlobKind::Scope, &found).await.context("storing a preview")?;
        let repositories: BTreeSet<&str> = found.places.iter().map(|place| place.url.as_str()).collect();
        let (skipped, unreachable) = counts(&found.skipped)?;
        Ok(preview::Resolved {
            scope,
            repositories: u32::try_from(repositories.len())?,
            workspaces: u32::try_from(found.places.len())?,
            skipped,
            unreachable,
        })
    }

    /// Appends the end of what was resolved, unless it has one.
    async fn note(
        &self,
        aggregate: &Aggregate,
        origin: &Origin,
        decide: impl FnMut(&[Recorded]) -> Result<Option<Event>, Rejection>,
    ) -> Result<()> {
        match self.broker.decide(aggregate, origin, Utc::now(), decide).await {
            Ok(_) => Ok(()),
            Err(DecideError::Rejected(rejection)) => bail!("{rejection}"),
            Err(error) => Err(error).context("noting what was resolved"),
        }
    }
}

fn duration_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// How many are left out for nobody's fault, and how many count as failed.
fn counts(skipped: &[Skipped]) -> Result<(u32, u32)> {
    let failed = skipped.iter().filter(|skipped| skipped.reason.is_failure()).count();
    Ok((u32::try_from(skipped.len() - failed)?, u32::try_from(failed)?))
}

fn too_late() -> preview::Failed {
    let minutes = PREVIEW_PATIENCE.as_secs() / 60;
    preview::Failed {
        message: format!("the repositories could not all be looked at within {minutes} minutes"),
        hint: "Ask again, for fewer repositories at once if a host is slow; the catalog's log says what was in the way."
            .to_owned(),
    }
}

fn fold(history: &[Recorded]) -> Execution {
    history.iter().fold(Execution::default(), |execution, recorded| match &recorded.event {
        Event::Execution(event) => execution::evolve(execution, event),
        _ => execution,
    })
}

fn fold_preview(history: &[Recorded]) -> Preview {
    history.iter().fold(Preview::default(), |preview, recorded| match &recorded.event {
        Event::Preview(event) => preview::evolve(preview, event),
        _ => preview,
    })
}

/// What an execution was asked for, if it is still to be found out where that is.
fn unresolved(history: &[Recorded]) -> Option<Request> {
    let execution = fold(history);
    if execution.resolved.is_some() || execution.cancel_requested || execution.completed.is_some() {
        return None;
    }
    let execution::Requested { definition, repositories, .. } = execution.requested?;
    Some(Request { definition, repositories })
}

/// What a preview was asked for and when, if there is no answer yet.
fn unanswered(history: &[Recorded]) -> Option<(Request, Timestamp)> {
    let Preview { requested: Some(requested), end: None } = fold_preview(history) else { return None };
    let preview::Requested { definition, repositories, .. } = requested;
    Some((Request { definition, repositories }, history.first()?.time))
}
