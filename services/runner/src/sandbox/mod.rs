//! The sandbox: all that speaks to the container engine.
//!
//! Owns images, containers and the scripts that run in them. Never touches a workspace's files, and never decides what a
//! job's outcome is. Invariant: each container carries the labels of its runner and attempt, so that what a crash left
//! is found again, and what is not this runner's is never touched.

mod connection;
mod container;
mod engine;
mod image;
mod limits;
mod network;
mod process;
mod scripts;
mod shell;
mod spec;
#[cfg(test)]
mod tests;
mod traces;
mod trouble;

use std::path::{Path, PathBuf};

use broker::sealing::Plain;
use bytes::Bytes;
use events::beat::Running;
use events::id::ExecutionId;
use events::log::Stream;
use events::secret::SecretName;
use futures::future::BoxFuture;

use crate::limits::Limits;

pub(crate) use container::Container;
pub(crate) use engine::{Engine, EngineOptions};
pub use image::is_name as is_image_name;
pub(crate) use image::{Image, Loader};
pub(crate) use limits::Layer;
pub(crate) use scripts::Scripts;
pub(crate) use trouble::Trouble;

use crate::reach::Reach;

/// Where the workspace's files are in a container.
pub(crate) const WORK: &str = "/work";

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ImageSource {
    /// A name as `docker pull` takes it, with a tag or a digest.
    Reference(String),
    /// The text of a Dockerfile that needs no further files.
    Dockerfile(String),
}

/// Whose network is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// A slot of the runner, which no other job has now.
    pub(crate) slot: u32,
    /// What can be reached.
    pub(crate) reach: Reach,
}

/// A login for a registry of images.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// The host as names of images begin; `docker.io` is that of names without.
    pub(crate) host: String,
    /// Who logs in.
    pub(crate) username: String,
    /// The password, or a token in place of one.
    pub(crate) password: Plain,
    /// The secret that this is, for messages.
    pub(crate) secret: SecretName,
}

/// What whoever asks for an image may use: an image may have to be pulled with a login, or built, which runs code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant<'a> {
    /// Whose network it uses.
    pub(crate) place: Place,
    /// What it may use.
    pub(crate) limits: &'a Limits,
    /// The logins for registries.
    pub(crate) logins: &'a [Login],
}

/// A container for a run of steps.
pub(crate) struct ContainerSpec<'a> {
    /// The execution, for the label.
    pub(crate) execution: ExecutionId,
    /// The attempt, for the labels.
    pub(crate) attempt: &'a Running,
    /// Whose network it uses.
    pub(crate) place: Place,
    /// What it may use.
    pub(crate) limits: &'a Limits,
    /// What it runs on.
    pub(crate) image: &'a Image,
    /// The folder of the host that becomes [`WORK`]. It must be there, and may be empty until the start.
    pub(crate) files: &'a Path,
    /// A folder of the host, outside of `files` and this attempt's own, that outlives the container: scripts are put
    /// below it, where the container sees them read-only. It is made if it is not there.
    pub(crate) scratch: &'a Path,
    /// Where processes start: [`WORK`] or a folder below it.
    pub(crate) workdir: String,
    /// Folders of the host, which must be there, and where they are in the container, writable.
    pub(crate) cache_dirs: &'a [(PathBuf, String)],
    /// Files and folders of the host, which must be there and no links, and where they are in the container.
    pub(crate) read_only_files: &'a [(PathBuf, String)],
    /// What it runs.
    pub(crate) main: Main,
}

/// The main process of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Main {
    /// Nothing: [`Container::start`] it, then [`Container::run_script`] for each step.
    Idle,
    /// One script, with [`Container::run_main`]: for a run of one step the fastest way, because nothing else is started.
    Script {
        /// Its text.
        script: String,
        /// The step's variables.
        env: Vec<(String, String)>,
    },
    /// Scripts that are known before the first one runs and have the same variables, with [`Container::start_scripts`].
    Scripts {
        /// Their texts.
        scripts: Vec<String>,
        /// The variables of each.
        env: Vec<(String, String)>,
    },
    /// The image's own entrypoint, with [`Container::run_main`].
    Entrypoint {
        /// In place of the image's own arguments.
        args: Option<Vec<String>>,
        /// The step's variables.
        env: Vec<(String, String)>,
    },
    /// A command in place of the image's own, with [`Container::run_main`].
    Command {
        /// The program and its arguments.
        command: Vec<String>,
        /// The step's variables.
        env: Vec<(String, String)>,
    },
}

/// Takes what a step writes.
pub(crate) trait Output: Send {
    /// Takes the next bytes, never none. No more are read before this is done, and the step waits once the pipes are
    /// full. It should not take seconds: the engine waits no longer for the last bytes of a container that has ended.
    fn write(&mut self, stream: Stream, bytes: Bytes) -> BoxFuture<'_, ()>;
}
