//! Logins: which Patchwave somebody signed in to, and the token that came of it.
//!
//! Owns one file in the user's configuration, which nobody else may read; it is replaced in one step.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::failure::Complaint;
use crate::private_file;

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct LoginFile(PathBuf);

/// What it says.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Logins {
    /// Where somebody signed in last.
    pub(crate) newest: Option<String>,
    /// Tokens by address.
    pub(crate) tokens: BTreeMap<String, String>,
}

impl LoginFile {
    /// The user's own; nothing: it is not known where that would be.
    pub(crate) fn of_user() -> Option<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?;
        Some(Self(folder.join("patchwave").join("login.json")))
    }

    /// The same, for whoever cannot do without.
    pub(crate) fn needed() -> Result<Self, Complaint> {
        let hint = "set HOME, or give a token in PATCHWAVE_TOKEN instead";
        Self::of_user().ok_or_else(|| Complaint::new("it is not known where logins are kept", hint))
    }

    /// Reads it; empty if it is not there or makes no sense.
    pub(crate) fn read(&self) -> Logins {
        let text = std::fs::read(&self.0).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    /// Keeps a token.
    pub(crate) fn remember(&self, server: &str, token: &str) -> anyhow::Result<()> {
        let mut logins = self.read();
        logins.newest = Some(server.to_owned());
        logins.tokens.insert(server.to_owned(), token.to_owned());
        self.write(&logins)
    }

    /// Forgets a token; says which it was.
    pub(crate) fn forget(&self, server: &str) -> anyhow::Result<Option<String>> {
        let mut logins = self.read();
        let forgotten = logins.tokens.remove(server);
        if forgotten.is_some() {
            if logins.newest.as_deref() == Some(server) {
                logins.newest = None;
            }
            self.write(&logins)?;
        }
        Ok(forgotten)
    }

    fn write(&self, logins: &Logins) -> anyhow::Result<()> {
        let text = serde_json::to_vec(logins).context("a login cannot be written as JSON")?;
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let written = made.and_then(|()| private_file::write(&self.0, &text));
        written.with_context(|| format!("{} cannot be written", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_login_is_kept_for_its_user_alone_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let file = LoginFile(folder.path().join("patchwave/login.json"));
        assert!(file.read().tokens.is_empty());
        file.remember("http://one", "pw_1").unwrap();
        file.remember("http://two", "pw_2").unwrap();
        let mode = std::fs::metadata(&file.0).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let logins = file.read();
        assert_eq!((logins.newest.as_deref(), logins.tokens.len()), (Some("http://two"), 2));
        assert_eq!(file.forget("http://two").unwrap().as_deref(), Some("pw_2"));
        assert_eq!(file.forget("http://two").unwrap(), None);
        assert_eq!(file.read().newest, None);
        assert_eq!(file.read().tokens["http://one"], "pw_1");
    }
}
