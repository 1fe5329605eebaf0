//! Limits: how many jobs may run at once.
//!
//! Owns the numbers, which come from the site and from definitions. Invariant: a limit is at least one, so that none stops
//! everything for ever.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

/// How many jobs may run at once; absent: as many as there are slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobLimits {
    /// Of an execution whose definition says nothing.
    pub execution: Option<NonZeroU32>,
    /// Of a repository, over all executions.
    pub repository: Option<NonZeroU32>,
    /// Of the pools that have a limit.
    pub pools: BTreeMap<String, NonZeroU32>,
}

impl JobLimits {
    /// What holds for an execution that asks for so many.
    pub(super) fn of_execution(&self, asked: Option<u32>) -> u32 {
        number(asked.and_then(NonZeroU32::new).or(self.execution))
    }

    pub(super) fn of_repository(&self) -> u32 {
        number(self.repository)
    }

    pub(super) fn of_pool(&self, pool: &str) -> u32 {
        number(self.pools.get(pool).copied())
    }
}

const fn number(limit: Option<NonZeroU32>) -> u32 {
    match limit {
        Some(limit) => limit.get(),
        None => u32::MAX,
    }
}
