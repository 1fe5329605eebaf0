//! Where a running broker or gateway is: `broker.json` and `gateway.json`.
//!
//! Owns these files. A file is replaced in one step and says nothing about whether its writer still lives: its reader
//! finds out by connecting.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

/// What such a file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The process that wrote it.
    pub(crate) pid: u32,
    /// Where to connect.
    pub(crate) url: String,
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

    /// Says that this process serves there.
    pub(crate) fn write(&self, url: &str) -> anyhow::Result<()> {
        let endpoint = Endpoint { pid: std::process::id(), url: url.to_owned() };
        let text = serde_json::to_vec(&endpoint).context("an address cannot be written as JSON")?;
        let next = self.path.with_extension("next");
        let written = std::fs::File::create(&next)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| std::fs::rename(&next, &self.path));
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
    use super::*;

    #[test]
    fn it_reads_back_and_half_a_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = EndpointFile::new(folder.path().join("gateway.json"));
        assert_eq!(file.read(), None);
        file.write("http://127.0.0.1:1").unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text, format!(r#"{{"pid":{},"url":"http://127.0.0.1:1"}}"#, std::process::id()));
        assert_eq!(file.read().unwrap().url, "http://127.0.0.1:1");
        std::fs::write(file.path(), "{\"pid\":1").unwrap();
        assert_eq!(file.read(), None);
        file.remove();
        file.remove();
    }
}
