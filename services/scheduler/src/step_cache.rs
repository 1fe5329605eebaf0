//! The step cache: which steps a job need not run, and what is kept of those that it did.
//!
//! Owns the keys. They are made from what the log says of a job and its execution and of nothing that a runner says, so that
//! a result is kept only for a job that ran its key. What the cache has is an offer: a job that gets none, or one that is
//! gone by the time its runner wants it, runs all its steps.

use std::collections::{BTreeMap, HashMap};

use broker::ReadError;
use events::blob::Sha256;
use events::id::{ExecutionId, JobId, RunnerId};
use events::image::ImagePin;
use events::job::Job;
use events::report::{Report, What};
use events::step_cache::{CacheEntry, Reuse, StepResult};
use events::ticket::Ticket;
use futures::{StreamExt as _, stream};
use spec::{Context, Definition, JobFacts};

use crate::facts::IN_FLIGHT;
use crate::service::Service;

impl Service {
    /// Adds to tickets which steps need not run.
    pub(crate) async fn with_reuse(&mut self, due: Vec<(RunnerId, Ticket)>) -> Vec<(RunnerId, Ticket)> {
        for (_, ticket) in &due {
            self.fold.read_definition(ticket.execution);
        }
        let this = &*self;
        stream::iter(due)
            .map(|(runner, mut ticket)| async move {
                ticket.reuse = this.reuse((ticket.execution, ticket.job)).await;
                (runner, ticket)
            })
            .buffered(IN_FLIGHT)
            .collect()
            .await
    }

    /// Keeps what later jobs may use of what runners told, now that it is a fact: what the steps of jobs came to, and what the
    /// names of images mean.
    pub(crate) async fn keep(&mut self, told: &[&Report]) {
        let (mut steps, mut images) = (Vec::new(), Vec::new());
        for report in told {
            match &report.what {
                What::Images { .. } => images.extend(self.pins(report)),
                what if !what.results().is_empty() => {
                    self.fold.read_definition(report.execution);
                    steps.extend(self.results(report));
                }
                _ => {}
            }
        }
        let broker = &self.broker;
        let steps = stream::iter(steps)
            .map(|(key, entry)| async move { broker.cache_step(&key, &entry).await })
            .buffer_unordered(IN_FLIGHT);
        let images = stream::iter(images)
            .map(|(pool, pin)| async move { broker.cache_image(&pool, &pin).await })
            .buffer_unordered(IN_FLIGHT);
        tokio::join!(steps.count(), images.count());
    }

    /// What the steps of a job came to, by their keys.
    fn results(&self, end: &Report) -> Vec<(Sha256, CacheEntry)> {
        let (execution, job) = (end.execution, end.job);
        let Some(known) = self.fold.executions.get(&execution) else { return Vec::new() };
        let images = &known.own.state.images;
        let keys: HashMap<usize, Sha256> =
            self.keys((execution, job), images).unwrap_or_default().into_iter().collect();
        let stands = |pin: &ImagePin| images.get(&pin.reference) == Some(&pin.digest);
        let of = |kept: &StepResult| {
            if !kept.images.iter().all(stands) {
                return None;
            }
            let entry = CacheEntry { result: kept.result.clone(), execution, job };
            Some((keys.get(&(kept.step as usize))?.clone(), entry))
        };
        end.what.results().iter().filter_map(of).collect()
    }

    /// What the images are that a report told of, and the pool whose runners found them.
    fn pins(&self, report: &Report) -> Vec<(String, ImagePin)> {
        let What::Images { images } = &report.what else { return Vec::new() };
        let Some(execution) = self.fold.executions.get(&report.execution) else { return Vec::new() };
        let told =
            execution.own.state.pins().filter(|pin| images.iter().any(|one| one.reference == pin.reference));
        told.map(|pin| (execution.settings.pool.clone(), pin)).collect()
    }

    /// The last step that need not run, with those before it.
    async fn reuse(&self, id: (ExecutionId, JobId)) -> Option<Reuse> {
        let execution = self.fold.executions.get(&id.0)?;
        let job = &execution.jobs.get(&id.1)?.state;
        if execution.own.state.requested.as_ref()?.no_cache || job.anew {
            return None;
        }
        let definition = self.fold.index.definitions.get(&id.0)?.as_ref()?;
        let names = definition.cacheable_images(&context(definition, job)?);
        let pinned = execution.own.state.images.clone();
        let found = async {
            // What is not pinned is taken for what it was when somebody last looked; the runner looks into that.
            let images = self.broker.cached_images(definition.pool(), &names, pinned).await?;
            let keys = self.keys(id, &images).unwrap_or_default();
            Ok::<_, ReadError>((self.broker.cached_step(&keys).await?, images))
        };
        let (found, images) =
            found.await.inspect_err(|error| tracing::debug!(%error, "the step cache cannot be read")).ok()?;
        let (step, CacheEntry { result, execution, job }) = found?;
        let images = images.into_iter().map(|(reference, digest)| ImagePin { reference, digest }).collect();
        Some(Reuse { step: u32::try_from(step).ok()?, result, execution, job, images })
    }

    /// The keys of a job's steps, each with the step's number from 1, as far as the images are known.
    fn keys(
        &self,
        id: (ExecutionId, JobId),
        images: &BTreeMap<String, String>,
    ) -> Option<Vec<(usize, Sha256)>> {
        let definition = self.fold.index.definitions.get(&id.0)?.as_ref()?;
        let execution = self.fold.executions.get(&id.0)?;
        let requested = execution.own.state.requested.as_ref()?;
        let job = &execution.jobs.get(&id.1)?.state;
        let facts = JobFacts {
            base_oid: &job.workspace.as_ref()?.base_oid,
            files: requested.definition.files.as_ref().map(|files| &files.sha256),
            images,
            secrets: &job.secrets,
        };
        Some(definition.job_keys(&context(definition, job)?, &facts))
    }
}

fn context(definition: &Definition, job: &Job) -> Option<Context> {
    let place = job.workspace.as_ref()?;
    Some(Context::of(definition, &place.repository, &place.base_ref, &place.path))
}
