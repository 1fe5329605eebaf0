//! The data directory: where each part of a Patchwave keeps what is its own.
//!
//! Owns the names in it. Never looks into a role's folder; those are the roles' own.

mod endpoint;
mod enrolled;
mod lock;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use events::id::RunnerId;

pub(crate) use endpoint::{Endpoint, EndpointFile};
pub(crate) use enrolled::{Enrolled, EnrolledDir};
pub(crate) use lock::Lock;

use crate::failure::Complaint;

/// The runner that `patchwave up` starts.
pub(crate) const LOCAL_RUNNER: &str = "local";

/// Where the data is.
#[derive(Args, Clone, Debug)]
pub(crate) struct DataDirOption {
    /// Where everything is kept [default: /var/lib/patchwave for root, else ~/.local/share/patchwave]
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        help_heading = "Everywhere",
        env = "PATCHWAVE_DATA",
        hide_env_values = true
    )]
    data_dir: Option<PathBuf>,
}

impl DataDirOption {
    /// The folder that is given, or the user's own.
    pub(crate) fn resolve(&self) -> anyhow::Result<DataDir> {
        let path = match &self.data_dir {
            Some(path) => path.clone(),
            None => default_path(
                |name| std::env::var_os(name).map(PathBuf::from),
                rustix::process::geteuid().is_root(),
            )?,
        };
        let path = std::path::absolute(&path)
            .with_context(|| format!("{} cannot be made an absolute path", path.display()))?;
        Ok(DataDir { path })
    }
}

fn default_path(variable: impl Fn(&str) -> Option<PathBuf>, root: bool) -> Result<PathBuf, Complaint> {
    if root {
        return Ok(PathBuf::from("/var/lib/patchwave"));
    }
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    data.map(|data| data.join("patchwave")).ok_or_else(|| {
        Complaint::new("it is not known where the data is: HOME is not set", "give a folder with --data-dir")
    })
}

/// The data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the folder, for its owner alone, unless it is there.
    pub(crate) fn create(&self) -> anyhow::Result<()> {
        if let Some(parent) = self.path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| self.unusable(&error))?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.path.is_dir() => Ok(()),
            Err(error) => Err(self.unusable(&error).into()),
            Ok(()) => Ok(()),
        }
    }

    pub(crate) fn unusable(&self, error: &io::Error) -> Complaint {
        Complaint::new(
            format!("the data directory {} cannot be used: {error}", self.path.display()),
            "give a folder that you may write to with --data-dir, or PATCHWAVE_DATA",
        )
    }

    /// A role's folder.
    pub(crate) fn role(&self, role: &str) -> PathBuf {
        self.path.join(role)
    }

    /// The key that opens secrets, unless another file is given.
    pub(crate) fn secrets_key(&self, given: Option<&Path>) -> PathBuf {
        given.map_or_else(|| self.path.join("secrets.key"), Path::to_path_buf)
    }

    /// A runner's folder.
    pub(crate) fn runner(&self, runner: &RunnerId) -> PathBuf {
        match runner.as_str() {
            LOCAL_RUNNER => self.path.join("runner"),
            name => self.path.join(format!("runner-{name}")),
        }
    }

    /// What this machine keeps of its enrollments as a runner.
    pub(crate) fn enrolled(&self) -> EnrolledDir {
        EnrolledDir::new(self.path.join("enrolled"))
    }

    /// The managed broker's folder.
    pub(crate) fn broker(&self) -> PathBuf {
        self.path.join("broker")
    }

    /// Where the managed broker is said to be.
    pub(crate) fn broker_endpoint(&self) -> EndpointFile {
        EndpointFile::new(self.path.join("broker.json"))
    }

    /// Where the gateway is said to be.
    pub(crate) fn gateway_endpoint(&self) -> EndpointFile {
        EndpointFile::new(self.path.join("gateway.json"))
    }

    /// The projection in a file, unless another database is given.
    pub(crate) fn database_url(&self, given: Option<&str>) -> String {
        given.map_or_else(|| sqlite_url(&self.path.join("projection.sqlite")), str::to_owned)
    }
}

/// A file as a database URL. What means something in a URL is encoded.
fn sqlite_url(path: &Path) -> String {
    let mut url = String::from("sqlite://");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                url.push(char::from(*byte))
            }
            other => url.push_str(&format!("%{other:02X}")),
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_folder_is_the_users_own() {
        let home = |name: &str| (name == "HOME").then(|| PathBuf::from("/home/anna"));
        assert_eq!(default_path(home, false).unwrap(), Path::new("/home/anna/.local/share/patchwave"));
        assert_eq!(default_path(home, true).unwrap(), Path::new("/var/lib/patchwave"));
        let data = |name: &str| (name == "XDG_DATA_HOME").then(|| PathBuf::from("/data"));
        assert_eq!(default_path(data, false).unwrap(), Path::new("/data/patchwave"));
        assert!(default_path(|_| None, false).is_err());
    }

    #[test]
    fn nobody_else_can_look_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir { path: folder.path().join("a/b") };
        data.create().unwrap();
        data.create().unwrap();
        assert_eq!(std::fs::metadata(data.path()).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(DataDir { path: folder.path().join("file") }.create().is_err());
    }

    #[test]
    fn a_path_survives_its_url() {
        assert_eq!(sqlite_url(Path::new("/a b/c?d%#.sqlite")), "sqlite:///a%20b/c%3Fd%25%23.sqlite");
    }

    #[test]
    fn each_runner_has_a_folder() {
        let data = DataDir { path: "/data".into() };
        assert_eq!(data.runner(&"local".parse().unwrap()), Path::new("/data/runner"));
        assert_eq!(data.runner(&"north".parse().unwrap()), Path::new("/data/runner-north"));
    }
}
