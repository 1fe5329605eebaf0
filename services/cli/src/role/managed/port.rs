//! The managed broker's port, kept over restarts.
//!
//! Owns the file `port` in the broker's folder. Roles in processes of their own look for a broker that was restarted where
//! it was before, so it goes back there unless somebody else took the place.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The port of last time.
pub(super) struct Kept {
    path: PathBuf,
}

impl Kept {
    pub(super) fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("port") }
    }

    /// The port of last time, if it is free.
    pub(super) fn free_port(&self) -> Option<u16> {
        let port = std::fs::read_to_string(&self.path).ok()?.trim().parse().ok().filter(|port| *port != 0)?;
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    }

    /// Notes the port of this time.
    pub(super) fn remember(&self, url: &str) -> anyhow::Result<()> {
        let port = url.rsplit(':').next().unwrap_or_default();
        std::fs::write(&self.path, port).with_context(|| format!("{} cannot be written", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_used_again_unless_it_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::in_folder(folder.path());
        assert_eq!(kept.free_port(), None);
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        kept.remember(&format!("nats://127.0.0.1:{port}")).unwrap();
        assert_eq!(kept.free_port(), None);
        drop(taken);
        assert_eq!(kept.free_port(), Some(port));
    }
}
