//! How much the step cache keeps, for whoever makes the streams.

use std::time::Duration;

use broker::CacheLimits;
use clap::Args;

/// The limits of the step cache.
#[derive(Args, Clone, Debug)]
pub(crate) struct StepCacheOptions {
    /// How long what a step came to is kept for later jobs, two minutes at least
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = crate::duration::parse)]
    step_cache_age: Duration,

    /// The most bytes that the step cache keeps, 1048576 at least, and a tenth of the disk: the oldest make room
    #[arg(long, value_name = "BYTES", default_value_t = CacheLimits::default().bytes)]
    step_cache_bytes: u64,
}

impl StepCacheOptions {
    pub(crate) const fn limits(&self) -> CacheLimits {
        CacheLimits { age: self.step_cache_age, bytes: self.step_cache_bytes }
    }
}
