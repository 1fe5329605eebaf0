//! The registrar's keys: with one it takes its post at the door, with the other it signs who is let in.
//!
//! Owns two files with seeds that only their owner can read. The broker knows the public halves and nothing else.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nkeys::KeyPair;
use serde_json::{Value, json};

use super::token;
use crate::MachineKey;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum DoorKeysError {
    /// A file cannot be read or written.
    #[error("the registrar's key {path} cannot be read or written")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else.
    #[error(
        "the registrar's key {path} is none: restore it, or remove it and start the broker and the registrar anew"
    )]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: nkeys::error::Error,
    },
    /// A key does not sign.
    #[error("the registrar's key does not sign")]
    Sign(#[source] nkeys::error::Error),
}

/// The keys.
#[derive(Debug)]
pub struct DoorKeys {
    issuer: KeyPair,
    /// With it the registrar connects. A server that knows no key at all would ask nobody to prove his.
    pub(super) own: MachineKey,
}

impl DoorKeys {
    /// Reads the keys from their files in a folder, or makes them.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub fn load_or_create(folder: &Path) -> Result<Self, DoorKeysError> {
        let path = folder.join("issuer");
        let seed = key_file(&path, KeyPair::new_account)
            .map_err(|source| DoorKeysError::Io { path: path.clone(), source })?;
        let issuer =
            KeyPair::from_seed(seed.trim()).map_err(|source| DoorKeysError::Invalid { path, source })?;
        let path = folder.join("door");
        let own = MachineKey::load_or_create(&path).map_err(|source| DoorKeysError::Io { path, source })?;
        Ok(Self { issuer, own })
    }

    /// The public halves, as the variables of nats.conf.
    pub fn variables(&self) -> [(&'static str, String); 2] {
        [("ISSUER", self.issuer.public_key()), ("DOOR", self.own.public_key.clone())]
    }

    pub(super) fn sign(&self, mut claims: Value) -> Result<String, DoorKeysError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        claims["iss"] = json!(self.issuer.public_key());
        claims["iat"] = json!(now);
        claims["jti"] = json!(uuid::Uuid::new_v4().simple().to_string());
        let text = token::unsigned(&claims);
        let signature = self.issuer.sign(text.as_bytes()).map_err(DoorKeysError::Sign)?;
        Ok(token::signed(&text, &signature))
    }
}

/// The seed in a file that only its owner can read; a new one if there is none. Two who make it at once get the same.
pub(crate) fn key_file(path: &Path, make: impl FnOnce() -> KeyPair) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let seed = make().seed().map_err(io::Error::other)?;
    let next = path.with_extension(format!("{}.next", uuid::Uuid::new_v4().simple()));
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&next)?;
    file.write_all(seed.as_bytes())?;
    file.sync_all()?;
    // Whole or not at all, and never over another's.
    let linked = std::fs::hard_link(&next, path);
    std::fs::remove_file(&next)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => std::fs::read_to_string(path),
    }
}
