//! Scopes: from what is to be resolved to the places where jobs work and what gets none.
//!
//! Owns the way there, which is one for executions and previews: what a preview shows is what an execution would find.

use anyhow::{Context as _, Result};
use events::document::{Place, SkipReason, Skipped};
use events::envelope::Origin;
use events::git::BranchRef;
use events::id::RepositoryId;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use spec::Definition;

use crate::heads::Pin;
use crate::known::Source;
use crate::resolve::Catalog;
use crate::targets::{self, Request, Target, Targets};
use crate::trouble::{Skip, Trouble};
use crate::workspaces::{self, Commit};

/// How many repositories of one scope are under way at once: enough to wait for hosts and the broker side by side.
const IN_FLIGHT: usize = 64;

/// What a scope is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Jobs start from it: commits are packed, and what was seen of repositories goes into the log.
    Jobs,
    /// Somebody wants to know it: nothing is packed, and nothing is said of repositories.
    Preview,
}

/// A scope, in the order of the request.
#[derive(Default)]
pub(crate) struct Found {
    /// Where jobs work, with what is known of the commit.
    pub(crate) places: Vec<(Place, Source)>,
    pub(crate) skipped: Vec<Skipped>,
}

impl Catalog {
    /// Finds out where what is asked for is.
    pub(crate) async fn found(&self, request: Request, purpose: Purpose, origin: &Origin) -> Result<Found> {
        // Paths are made real, which may wait for a disk.
        let names = self.registry.all_names();
        let read = tokio::task::spawn_blocking(move || {
            let definition = targets::definition(&request)?;
            let targets = targets::targets(&request, &definition, |name| names.named(name));
            Ok((definition, targets))
        });
        let read = read.await.context("reading what was asked for")?;
        let (definition, Targets { targets, skipped }) = match read {
            Ok(read) => read,
            Err(skipped) => return Ok(Found { places: Vec::new(), skipped: vec![skipped] }),
        };
        let definition = &definition;
        // In any order, so that one that takes long holds up no other; then put back into the order of the request.
        let mut all: Vec<(usize, Found)> = stream::iter(targets.into_iter().enumerate())
            .map(|(place, target)| async move {
                anyhow::Ok((place, self.of_repository(&target, definition, purpose, origin).await?))
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await?;
        all.sort_by_key(|(place, _)| *place);
        let mut found = Found { places: Vec::new(), skipped };
        for (_, of_one) in all {
            found.places.extend(of_one.places);
            found.skipped.extend(of_one.skipped);
        }
        Ok(found)
    }

    async fn of_repository(
        &self,
        target: &Target,
        definition: &Definition,
        purpose: Purpose,
        origin: &Origin,
    ) -> Result<Found> {
        let mut found = Found::default();
        let rule = match workspaces::rule(definition, &target.name) {
            Ok(rule) => rule,
            Err(skip) => {
                found.skip(target, skip);
                return Ok(found);
            }
        };
        let id = RepositoryId::at(target.location.url());
        let _turn = self.sources.turn(id).await;
        let pinned = match self.sources.pin((id, &target.location), &target.branches, purpose).await {
            Ok(pinned) => pinned,
            Err(Trouble::Skip(skip)) => vec![Err(skip)],
            Err(Trouble::Ours(error)) => return Err(error.context(format!("the repository {}", target.name))),
        };
        let pins: Vec<Pin> =
            pinned.iter().filter_map(|pinned| pinned.as_ref().ok().map(|(pin, _)| pin.clone())).collect();
        if !pins.is_empty() && purpose == Purpose::Jobs {
            self.registry.record(&self.broker, origin, &target.location, &pins).await?;
        }
        for pinned in pinned {
            let (pin, source) = match pinned {
                Ok(((base_ref, _), Source::Ignored)) => {
                    found.skip(target, ignored(&base_ref));
                    continue;
                }
                Ok(pinned) => pinned,
                Err(skip) => {
                    found.skip(target, skip);
                    continue;
                }
            };
            let roots = match rule {
                None => vec![String::new()],
                Some(rule) => match self.sources.roots(id, &target.location, &pin, rule).await {
                    Ok(roots) => roots,
                    Err(Trouble::Skip(skip)) => {
                        found.skip(target, skip);
                        continue;
                    }
                    Err(Trouble::Ours(error)) => {
                        return Err(error.context(format!("the files of {}", target.name)));
                    }
                },
            };
            let commit = Commit { target, pin: &pin };
            for place in commit.places(definition, rule, roots) {
                match place {
                    Ok(place) => found.places.push((place, source.clone())),
                    Err(skip) => found.skip(target, skip),
                }
            }
        }
        Ok(found)
    }
}

impl Found {
    fn skip(&mut self, target: &Target, skip: Skip) {
        let Skip { reason, message } = skip;
        self.skipped.push(Skipped { repository: target.name.clone(), reason, message });
    }
}

fn ignored(base_ref: &BranchRef) -> Skip {
    let branch = base_ref.short();
    let message = format!(
        "A `.batchignore` at the root of `{branch}` keeps the repository out. Remove the file to let it in."
    );
    Skip::new(SkipReason::Ignored, message)
}
