//! Reuse: which steps of a job need not run, by what the step cache has now.
//!
//! Owns the question alone: the scheduler asks it anew when it gives a job out, and the runner looks whether the images are
//! still those. Keys are made where the scheduler makes them, so that both find the same.

use std::collections::BTreeMap;

use events::git::Oid;
use events::id::ActionId;
use events::secret::SecretVersion;
use events::step_cache::CacheEntry;
use spec::{Context, Definition, JobFacts};

use super::{Answered, Commands};
use crate::fault::Fault;

impl Commands {
    /// The last step of a job that need not run, as those before it, and where they ran.
    pub(crate) async fn reuse(
        &self,
        answered: &Answered,
        context: &Context,
        base_oid: &Oid,
    ) -> Result<Option<(usize, CacheEntry)>, Fault> {
        let Answered { requested, definition, secrets, .. } = answered;
        let names = definition.cacheable_images(context);
        let images = self.broker.cached_images(definition.pool(), &names, BTreeMap::new()).await?;
        let files = requested.definition.files.as_ref().map(|files| &files.sha256);
        let keys = definition.job_keys(context, &JobFacts { base_oid, files, images: &images, secrets });
        Ok(self.broker.cached_step(&keys).await?)
    }

    /// The values that the steps of an action get: those of the narrowest scope in which a name is set.
    pub(super) async fn secret_versions(
        &self,
        action_name: &str,
        definition: &Definition,
    ) -> Result<Vec<SecretVersion>, Fault> {
        let action = ActionId::named(action_name);
        let mut versions = Vec::new();
        for name in definition.secrets() {
            versions.extend(self.set_version(action, name).await?);
        }
        Ok(versions)
    }
}
