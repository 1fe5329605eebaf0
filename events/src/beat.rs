//! Heartbeats: who is alive now, and where the projector stands.
//!
//! Owns the shape of the BEATS stream, which holds the last beat of each sender and forgets the silent ones. A beat is
//! never a fact: the scheduler decides what a silence means.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::JobId;

/// How often a sender beats, in milliseconds.
pub const INTERVAL_MS: u64 = 1_000;

/// After how long a silence a runner's attempts are lost, in milliseconds: longer than a pause of five seconds that a
/// busy host or a stopped process may take, short enough that the next attempt starts within ten.
pub const LEASE_MS: u64 = 8_000;

/// A runner says that it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerBeat {
    /// Which start of the process this is: another one after each restart.
    pub incarnation: Uuid,
    /// How many jobs it runs at once: fewer than it could while memory or disk is short, none while it drains or its
    /// engine is away.
    pub slots: u32,
    /// What it works on.
    pub running: Vec<Running>,
    /// The pool that it belongs to.
    #[serde(default = "crate::runner::default_pool")]
    pub pool: String,
    /// Whether it takes jobs, ends, or has ended.
    #[serde(default)]
    pub stage: Stage,
    /// What its operator says of it: it gets the jobs that ask for nothing else.
    pub labels: BTreeMap<String, String>,
    /// The version of the runner.
    pub version: String,
    /// Why it takes fewer jobs than it could, in words for an operator; absent when all is well.
    pub trouble: Option<String>,
    /// The public key to which the secrets of its tickets are sealed, new at each start; absent for one that takes none.
    pub sealing_key: Option<String>,
}

/// Where a runner is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It takes jobs.
    #[default]
    Working,
    /// It finishes what it runs, gives back what it has not begun, and takes nothing new.
    Draining,
    /// All that it had is told, and it leaves.
    Leaving,
}

/// One attempt in the hands of a runner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Running {
    /// The job.
    pub job: JobId,
    /// The attempt.
    pub attempt: u32,
}

/// The projector says how far the projection is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProjectorBeat {
    /// The last sequence of EVENTS that is committed to the projection.
    pub sequence: u64,
}
