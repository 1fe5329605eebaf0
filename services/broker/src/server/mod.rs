//! The managed broker: a nats-server that `patchwave up` runs for itself.
//!
//! Owns where the program is found, its configuration and its process. Never used where an operator runs the broker.

mod config;
mod disk;
mod process;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use config::{Passwords, Rights, SERVICE_USERS, ServerConfig, Sync, render, runner_rights, runner_user};
pub use disk::disk_bytes;
pub use process::{Server, StartError};

use crate::connect::is_new_enough;

/// Where set-up keeps a nats-server of the project's own.
const CACHED: &str = ".tools/nats-server";

/// Why there is no nats-server to run.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// None was found.
    #[error(
        "no nats-server 2.14 or later was found: `make setup` fetches one, or give its path with --nats-server"
    )]
    NotFound,
    /// The one that was given does not run.
    #[error("{path} is not a nats-server that runs here")]
    NotRunning {
        /// The program.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The one that was given is too old.
    #[error(
        "{path} is nats-server {version}, which is too old: 2.14 or later is needed; `make setup` fetches one"
    )]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: String,
    },
}

/// Finds a nats-server that is new enough: the one that is given, or else the one that `NATS_SERVER` names, the one on
/// PATH, the one that set-up fetched.
///
/// # Errors
/// When the one that is given, or named, is of no use; or when there is none.
pub fn locate(given: Option<&Path>) -> Result<PathBuf, LocateError> {
    let named = std::env::var_os("NATS_SERVER").filter(|name| !name.is_empty()).map(PathBuf::from);
    if let Some(path) = given.map(Path::to_owned).or(named) {
        return check(&path).map(|()| path);
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| folder.join("nats-server"));
    let program = std::env::current_exe().ok();
    // Beside the current folder, and beside the build that runs: target/debug/patchwave stands three levels below.
    let beside = program
        .iter()
        .flat_map(|program| program.ancestors().skip(1).take(4))
        .map(|folder| folder.join(CACHED));
    let mut candidates = on_path.chain(std::iter::once(PathBuf::from(CACHED))).chain(beside);
    candidates.find(|path| path.is_file() && check(path).is_ok()).ok_or(LocateError::NotFound)
}

fn check(path: &Path) -> Result<(), LocateError> {
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|source| LocateError::NotRunning { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().last().unwrap_or_default().to_owned();
    if is_new_enough(&version) { Ok(()) } else { Err(LocateError::TooOld { path: path.to_owned(), version }) }
}
