//! What a machine keeps of its enrollments: for each runner that it is, a key and where the broker is.
//!
//! Owns the folder. The key is made here and leaves it never; a runner counts as enrolled once the broker's address is
//! written down, which is the last step.

use std::io;
use std::path::{Path, PathBuf};

use broker::MachineKey;
use events::id::RunnerId;
use serde::{Deserialize, Serialize};

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct EnrolledDir(PathBuf);

/// A runner that this machine is.
#[derive(Debug)]
pub(crate) struct Enrolled {
    /// Its key.
    pub(crate) key: MachineKey,
    /// The broker that knows it.
    pub(crate) broker_url: String,
}

#[derive(Deserialize, Serialize)]
struct Place {
    broker_url: String,
}

impl EnrolledDir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The key of a runner, made if there is none.
    pub(crate) fn key(&self, runner: &RunnerId) -> io::Result<MachineKey> {
        MachineKey::load_or_create(&self.0.join(format!("{runner}.key")))
    }

    /// Notes that the broker knows the key.
    pub(crate) fn complete(&self, runner: &RunnerId, broker_url: &str) -> io::Result<()> {
        let text = serde_json::to_vec(&Place { broker_url: broker_url.to_owned() })?;
        let next = self.0.join(format!("{runner}.next"));
        std::fs::write(&next, text)?;
        std::fs::rename(next, self.place(runner))
    }

    /// What this machine knows of a runner, if it was enrolled here.
    pub(crate) fn find(&self, runner: &RunnerId) -> io::Result<Option<Enrolled>> {
        let text = match std::fs::read(self.place(runner)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let Place { broker_url } = serde_json::from_slice(&text)?;
        Ok(Some(Enrolled { key: self.key(runner)?, broker_url }))
    }

    /// The one runner that was enrolled here; none if there are several or none.
    pub(crate) fn only(&self) -> Option<RunnerId> {
        let names = std::fs::read_dir(&self.0).ok()?.filter_map(|entry| {
            entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.parse::<RunnerId>().ok()
        });
        let names: Vec<RunnerId> = names.collect();
        match names.as_slice() {
            [name] => Some(name.clone()),
            _ => None,
        }
    }

    fn place(&self, runner: &RunnerId) -> PathBuf {
        self.0.join(format!("{runner}.json"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_runner_counts_once_its_broker_is_noted_and_keeps_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let enrolled = EnrolledDir::new(folder.path().join("enrolled"));
        let north: RunnerId = "north".parse().unwrap();
        let key = enrolled.key(&north).unwrap();
        assert!(enrolled.find(&north).unwrap().is_none() && enrolled.only().is_none());
        enrolled.complete(&north, "nats://broker:4222").unwrap();
        let found = enrolled.find(&north).unwrap().unwrap();
        assert_eq!((found.key, found.broker_url.as_str()), (key, "nats://broker:4222"));
        assert_eq!(enrolled.only(), Some(north));
        let mode = std::fs::metadata(enrolled.path().join("north.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
