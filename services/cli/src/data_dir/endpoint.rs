//! Where a running broker or gateway is: `broker.json` and `gateway.json`.
//!
//! Owns these files. A file is replaced in one step and says nothing about whether its writer still lives: its reader
//! finds out by connecting. The gateway's holds a token that opens it, so that nobody but its owner may read it.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde::{Deserialize, Serialize};

use crate::private_file;

/// What such a file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The process that wrote it.
    pub(crate) pid: u32,
    /// Where to connect.
    pub(crate) url: String,
    /// What makes whoever shows it the administrator `local`, as long as that process lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

impl Endpoint {
    /// Whether the process lives that wrote it. Once that is gone, its address may be a stranger's.
    pub(crate) fn lives(&self) -> bool {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        // A process of somebody else cannot be asked, and is there.
        pid.is_some_and(|pid| matches!(test_kill_process(pid), Ok(()) | Err(Errno::PERM)))
    }
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct EndpointFile {
    path: PathBuf,
}

impl EndpointFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The file itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads it; nothing if it is not there or makes no sense.
    pub(crate) fn read(&self) -> Option<Endpoint> {
        serde_json::from_slice(&std::fs::read(&self.path).ok()?).ok()
    }

    /// Says that this process serves there, and by which token it knows whoever may read that.
    pub(crate) fn write(&self, url: &str, token: Option<&str>) -> anyhow::Result<()> {
        let token = token.map(str::to_owned);
        let endpoint = Endpoint { pid: std::process::id(), url: url.to_owned(), token };
        let text = serde_json::to_vec(&endpoint).context("an address cannot be written as JSON")?;
        let written = private_file::write(&self.path, &text);
        written.with_context(|| format!("{} cannot be written", self.path.display()))
    }

    /// Takes it away, whoever wrote it.
    pub(crate) fn remove(&self) {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.path.display(), %error, "a file that says where we are cannot be removed");
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn whoever_wrote_it_may_be_gone() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let of = |pid| Endpoint { pid, url: String::new(), token: None };
        // A process that has ended and was not waited for is still there.
        assert!([std::process::id(), child.id(), 1].into_iter().all(|pid| of(pid).lives()));
        child.wait().unwrap();
        assert!(![child.id(), 0, u32::MAX].into_iter().any(|pid| of(pid).lives()));
    }

    #[test]
    fn it_reads_back_and_half_a_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = EndpointFile::new(folder.path().join("gateway.json"));
        assert_eq!(file.read(), None);
        file.write("http://127.0.0.1:1", None).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, format!(r#"{{"pid":{},"url":"http://127.0.0.1:1"}}"#, std::process::id()));
        assert_eq!(file.read().unwrap().url, "http://127.0.0.1:1");
        file.write("http://127.0.0.1:1", Some("pw_1")).unwrap();
        assert_eq!(file.read().unwrap().token.as_deref(), Some("pw_1"));
        let mode = std::fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(file.path(), "{\"pid\":1").unwrap();
        assert_eq!(file.read(), None);
        file.remove();
        file.remove();
    }
}
